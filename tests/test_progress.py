"""What a long run tells where there is no terminal."""

import io
import sys
import time
from contextlib import suppress
from types import ModuleType, SimpleNamespace

import pytest
from rich.console import Console

from ntkrepro import progress


def test_the_time_left_leaves_out_what_came_before_the_first_step(monkeypatch, capsys):
    """Compiling, or the steps of the process that was cut off."""
    clock = iter([0.0, 1.0, 101.0, 105.0, 121.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.lines("run", 11) as tick:
        tick(0, loss=2.0)
        tick(1, loss=1.0)
        tick(2)
        tick(3, loss=0.5)
    told = capsys.readouterr().err.splitlines()
    assert told == ["run step 1/11 loss 1", "run step 3/11 loss 0.5 80 s left"]


def terminal() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=True, width=200), file


@pytest.mark.parametrize("title", ["it[/red]", "a{0}", "{task}", "[bold]b", "{"])
def test_a_title_is_shown_as_it_was_typed(title):
    """On a terminal: neither as rich's markup nor as a format."""
    console, file = terminal()
    with progress.bar(title, 2, console) as tick:
        tick(1, **{title: 1.0})
    assert f"{title} " in file.getvalue()
    assert f"{title} 1" in file.getvalue()


def test_a_bar_says_that_it_compiles_until_the_first_step():
    console, file = terminal()

    def shown() -> str:
        file.truncate(0)
        time.sleep(0.3)  # three times the time between two pictures
        return file.getvalue()

    with progress.bar("run", 8, console) as tick:
        assert "compiling" in shown()
        tick(0, loss=2.0)
        assert "loss 2 compiling" in shown()
        tick(1)
        assert "loss 2 " in (after := shown())
        assert "compiling" not in after


def test_a_notebook_shows_a_bar_and_then_nothing(monkeypatch):
    """As its title was typed, again."""
    told = []

    class Cell:
        def update(self, html):
            told.append(html)

    shows = ModuleType("IPython.display")
    shows.HTML, shows.display = str, lambda html, display_id: Cell()
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", shows)
    monkeypatch.setattr(progress, "Console", lambda stderr: SimpleNamespace(is_jupyter=True))
    with suppress(KeyError), progress.progress("<b>", 8) as tick:
        tick(0, loss=2.0)
        tick(3)
        raise KeyError
    assert told == [
        '<progress value="0" max="8"></progress> &lt;b&gt; 0/8 compiling',
        '<progress value="0" max="8"></progress> &lt;b&gt; 0/8 loss 2',
        '<progress value="3" max="8"></progress> &lt;b&gt; 3/8 loss 2',
        "",
    ]
