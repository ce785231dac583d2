"""The alpha-Hessian's extreme eigenvalues, which every search records."""
