"""Whatever is typed: no traceback, an exit code as documented, and a refusal before any work."""

import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper

import pytest
from hypothesis import HealthCheck, given, settings

from ntkrepro import cli
from ntkrepro.config.compose import compose, expand
from tests.fuzz import COMMAND_LINES

SECONDS = 3  # of CPU


def answer(words):
    """The exit code of a command, what it printed, and its seconds of CPU."""
    out, began = TextIOWrapper(BytesIO(), encoding="ascii"), time.process_time()
    argv, code = sys.argv, 0
    sys.argv = ["ntkrepro", *words]
    try:
        with redirect_stdout(out), redirect_stderr(out):
            cli.main()
    except SystemExit as error:
        code = error.code or 0
    finally:
        sys.argv = argv
    out.flush()
    return code, out.buffer.getvalue().decode(), time.process_time() - began


def refused_or_composed(words):
    """In place of what computes: the runs that the words mean."""
    for run in words if isinstance(words, list) else [words]:
        assert run.id


def without_work(monkeypatch, folder):
    """Everything but what follows when the words have become runs."""
    monkeypatch.chdir(folder)
    walked = lambda runs, *_: refused_or_composed(runs) or {}  # noqa: E731
    monkeypatch.setattr("ntkrepro.sweep.walk.walk", walked)
    monkeypatch.setattr("ntkrepro.sweep.walk.refuse_missing", lambda *_: None)
    monkeypatch.setattr("ntkrepro.cli.launch", lambda *_: None)
    monkeypatch.setattr(cli.COMMANDS["plan"], "call", lambda words, **_: expand(words))
    monkeypatch.setattr(cli.COMMANDS["report"], "call", lambda words: compose(words))
    monkeypatch.setattr("ntkrepro.config.catalog.OWN", [])


def check(words):
    """Raises where a command line ends in anything but an answer or an error line."""
    code, told, seconds = answer(words)
    assert code in (0, 1, 2), (words, code)
    assert "Traceback" not in told, words
    assert "hydra.cc" not in told, (words, told)
    assert "Exception" not in told, (words, told)
    if code == 2:
        assert "error: " in told, (words, told)
        if words[0] != "status":  # which composes every experiment
            assert seconds < SECONDS, (words, seconds)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(words=COMMAND_LINES)
def test_no_command_line_ends_in_a_traceback(monkeypatch, tmp_path, words):
    with monkeypatch.context() as patch:
        without_work(patch, tmp_path)
        check(words)


def test_a_traceback_would_be_seen(monkeypatch, tmp_path):
    without_work(monkeypatch, tmp_path)
    monkeypatch.setattr("ntkrepro.config.words.refuse_unknown", lambda key: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        check(["run", "seed=3"])
