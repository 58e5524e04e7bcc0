import shutil

import pytest

from ntkrepro import config, kept, listing

WORDS = ["experiment=digits", "scale=paper"]


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """A copy of the configs that a test may change, and an empty cache folder."""
    folder = tmp_path / "configs"
    shutil.copytree(listing.configs_dir(), folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for module in (config, kept):
        monkeypatch.setattr(module, "configs_dir", lambda: folder)
    kept.digest.cache_clear()
    yield folder
    kept.digest.cache_clear()


def refuse(words):
    raise AssertionError(f"composed again: {words}")


def test_a_composed_config_is_kept(configs, monkeypatch):
    first = config.compose(WORDS)
    monkeypatch.setattr(config, "_composed_by_hydra", refuse)
    assert config.compose(WORDS) == first


def test_an_edit_of_any_config_is_seen(configs):
    before = config.compose(WORDS)
    path = configs / "experiment" / "digits.yaml"
    path.write_text(path.read_text().replace("width: ", "width: 1", 1))
    kept.digest.cache_clear()  # as in the next process
    after = config.compose(WORDS)
    assert after.model.width == int(f"1{before.model.width}")


def test_without_a_folder_to_write_it_is_composed_all_the_same(configs, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert config.compose(WORDS) == config.compose(["scale=paper", "experiment=digits"])
