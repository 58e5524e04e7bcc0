import numpy as np
import pytest

from ntkrepro.claims import bound


@pytest.mark.parametrize("decay", [0.0, 1e-9, 0.7, 40.0])
def test_the_integrals_of_the_bound(decay):
    """Against a fine trapezoidal rule, h straight between its points."""
    t, h = np.array([0.0, 1.0, 2.0, 5.0]), np.array([1.0, 3.0, 2.0, 0.5])
    fine = np.linspace(0, 5, 200_001)
    exact = np.trapezoid(np.exp(decay * (fine - 5)) * np.interp(fine, t, h), fine)
    assert bound._integral(h, t, decay)[-1] == pytest.approx(exact, rel=1e-6)
