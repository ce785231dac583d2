"""optnas: a laboratory for optimizer pairs in differentiable architecture search."""
