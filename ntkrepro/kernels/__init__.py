"""Tangent kernels: of a network at hand (empirical.py) and of infinite width (analytic.py)."""
