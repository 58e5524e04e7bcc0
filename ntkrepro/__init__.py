"""Does this network train like its linearization? Experiments of Lee et al. 2019, and yours.

Shapes in docstrings: `n` train points, `m` test points, `k` outputs, `d` inputs, `p` parameters,
`t` logged steps. Equations (Eq. 6, Eq. S33, ...) are those of Lee et al. 2019. `lr` is the paper's
learning rate eta; steps are gradient steps, `time` is lr * step. Losses are means (losses.py).
"""
