import pytest
from ruamel.yaml import YAML

from ntkrepro.config.catalog import experiments
from ntkrepro.config.compose import expand
from ntkrepro.config.identity import as_dict
from ntkrepro.figures.catalog import figure
from ntkrepro.report import marks, page


@pytest.mark.parametrize("name", experiments())
def test_marks_stand_beside_the_values_that_the_papers_scale_uses(name):
    configs = [as_dict(run.experiment) for run in expand([f"experiment={name}", "scale=paper"])]
    for choice in marks.choices(name):
        if "${" not in choice.value:
            values = set(marks.used(configs, choice.key).split(", "))
            assert set(choice.value.split(", ")) <= values, choice


def test_every_experiment_of_the_paper_has_marks_and_those_of_its_base():
    shown = [figure(name) for name in page.NAMES if name[-1].isdigit()]
    assert all(marks.choices(e) for own in shown for e in own.experiments)
    base, own = ({c.key for c in marks.choices(e)} for e in ("fc_cifar", "fc_cifar_standard"))
    assert base < own


@pytest.mark.parametrize("note", ["S", "S: |D|", "S: an A in its text"])
def test_what_the_paper_states_is_not_open(note):
    assert not marks.Choice("key", "1", note).open()


@pytest.mark.parametrize("note", ["A", "S: k = 10; I: 0 and 1", "S, P"])
def test_what_the_paper_does_not_state_is_open(note):
    assert marks.Choice("key", "1", note).open()


def test_marks_hold_for_every_key_of_their_line():
    text = "optimizer: { lr: 0.4, steps: [16, 256] } # A\nmodel:\n  depth: 4 # S\n  width: 8\n"
    assert list(marks.marked(YAML().load(text))) == [
        ("optimizer.lr", "0.4", "A"),
        ("optimizer.steps", "16, 256", "A"),
        ("model.depth", "4", "S"),
    ]
