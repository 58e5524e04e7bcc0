"""The content of a user's files names a record: of data, and of a network's source."""

import os
import shutil
import sys

import numpy as np
import pytest

from ntkrepro.config.compose import compose
from ntkrepro.config.identity import as_dict
from ntkrepro.errors import UserError
from tests.own import ARRAYS, NETS, npz, words


def own_id(*overrides):
    return compose(words("Pair", *npz(), *overrides)).id


def test_the_content_of_the_files_names_the_record_not_their_place(here):
    before = own_id()
    shutil.copy("own.npz", "copy.npz")
    assert own_id("data.path=copy.npz") == before
    np.savez("own.npz", **{**ARRAYS, "x_train": 2 * ARRAYS["x_train"]})
    assert own_id() != before
    assert own_id("data.path=copy.npz") == before
    (here / "nets.py").write_text(NETS + "# edited\n")
    assert own_id("data.path=copy.npz") != before


PACKAGE = {  # mine.nets imports a neighbour by a relative name, and that a third
    "mine/nets.py": "from .blocks import Linear",
    "mine/blocks.py": "import helper\nfrom nets import Linear",
    "helper.py": "import numpy",
    "unused.py": "a = 1",
}


@pytest.mark.parametrize("name", ["mine/nets.py", "mine/blocks.py", "helper.py", "nets.py"])
def test_whatever_the_network_imports_from_beside_it_names_the_record(here, name):
    (here / "mine").mkdir()
    for path, text in PACKAGE.items():
        (here / path).write_text(text)
    asked = words("Pair", "model.factory=mine.nets:Linear")
    before = compose(asked).id
    (here / "unused.py").write_text("a = 2")
    assert compose(asked).id == before
    with (here / name).open("a") as file:
        file.write("\nb = 2\n")
    assert compose(asked).id != before
    assert not {"mine", "helper", "nets"} & set(sys.modules)  # by reading alone


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (words("Pair", "model.factory=nets"), "model.factory=nets: must be MODULE:NAME"),
        (words("Pair", "model.factory=nowhere:f"), "model.factory=nowhere:f: no module nowhere"),
        (words("Pair", "model.factory=__main__:f"), "model.factory=__main__:f: no module __main__"),
        (words("Pair", "model.factory=broken:f"), "broken.py is no Python"),
        (words("Pair", "model.digest=0123"), "model.digest='?0?123'?: must be left out, or be"),
        (["data=npz", "data.path=no.npz"], "data.path=no.npz: No such file"),
    ],
)
def test_a_file_that_cannot_be_read_or_is_another_is_told(here, overrides, told):
    (here / "broken.py").write_text("def f(:")
    with pytest.raises(UserError, match=told):
        compose(overrides)


def test_what_a_network_reads_names_the_record_by_its_content(here):
    for name, text in (("weights.npz", "1"), ("copy.npz", "1"), ("vocabulary.txt", "2")):
        (here / name).write_text(text)

    def composed(*files):
        return compose(words("Pair", f"model.files=[{','.join(map(str, files))}]"))

    plain, one, both = composed(), composed("weights.npz"), composed("weights.npz,vocabulary.txt")
    assert plain.id == compose(words("Pair")).id
    assert len({plain.id, one.id, both.id}) == 3
    assert composed("copy.npz").id == composed(here / "weights.npz").id == one.id
    assert "weights.npz" not in str(as_dict(one.experiment))
    (here / "weights.npz").write_text("3")
    assert composed("weights.npz").id != one.id


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("none.npz", "No such file or directory; give the path of a file"),
        (".", "must be a regular file"),
        ("/dev/zero", "must be a regular file"),
        ("pipe", "must be a regular file"),
    ],
)
def test_what_a_network_cannot_have_read_is_refused(here, path, told):
    os.mkfifo(here / "pipe")
    with pytest.raises(UserError, match=f"model.files={path}: {told}"):
        compose(words("Pair", f"model.files=[{path}]"))
    with pytest.raises(UserError, match=r"model\.files=.*: must be \[\], or left out: it is for"):
        compose([f"model.files=[{path}]"])
