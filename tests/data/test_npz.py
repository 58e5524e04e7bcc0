import numpy as np
import pytest

from ntkrepro.data import npz
from ntkrepro.errors import UserError
from tests.own import ARRAYS, LABELS, PIXELS


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"y_test": None}, "has no y_test; it needs x_train, y_train, x_test, y_test"),
        ({"x_train": PIXELS[:39]}, "x_train has 39 examples and y_train 40"),
        ({"x_train": PIXELS[:40, :3]}, r"x_train is .*3, 4, 1\] and x_test .*4, 4, 1\]"),
        ({"x_train": PIXELS[:40].astype(np.uint8)}, "x_train is uint8 .* must be alike"),
        ({"x_test": PIXELS[40:] * np.nan}, "x_test has values that are not finite"),
        ({"x_test": PIXELS[40:, 0, 0, 0]}, r"x_test is float64 \[20\]: must be \[n, d\]"),
        ({"y_train": LABELS[:40] / 2}, r"y_train is float64 \[40\]: must be integers \[n\]"),
        ({"y_train": LABELS[:40].astype(str)}, "y_train is <U.*: must be of numbers"),
        ({"y_train": LABELS[:40].astype(object)}, "is no .npz file of numbers .*allow_pickle"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(here, change, told):
    arrays = {name: a for name, a in (ARRAYS | change).items() if a is not None}
    np.savez("own.npz", **arrays)
    with pytest.raises(UserError, match=f"data.path=own.npz: {told}"):
        npz.read("own.npz")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04"])
def test_a_file_that_is_no_npz_is_refused(here, content):
    (here / "own.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"data\.path=own\.npz: is no \.npz file"):
        npz.read("own.npz")
