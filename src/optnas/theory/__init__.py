"""The theory behind the comparison, tested: a convergence bound, and the noise of gradients."""
