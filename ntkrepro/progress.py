"""Progress of a long loop: a bar in a terminal or notebook, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

COMPILING = "compiling"  # until the first step is made
EVERY = 15.0  # seconds between two lines where there is no terminal

Tick = Callable[..., None]  # tick(step) about every second; tick(step, loss=..., rmse=...)
Say = Callable[[str], None]  # say(line), for the user


@contextmanager
def progress(title: str, total: int) -> Iterator[Tick]:
    """Yields tick(step, **values): what it is told is shown until the block ends, on stderr or in
    the notebook's cell."""
    console = Console(stderr=True)
    if console.is_jupyter:
        showing = cell(title, total)
    elif console.is_terminal:
        showing = bar(title, total, console)
    else:
        showing = lines(title, total)
    with showing as tick:
        yield tick


@contextmanager
def bar(title: str, total: int, console: Console) -> Iterator[Tick]:
    columns = (  # a title is a user's words: neither a format nor markup
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[shown]}", markup=False),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True) as live:
        task, shown = live.add_task(title, total=total, shown=COMPILING), ""

        def tick(step: int, **values: float) -> None:
            nonlocal shown
            shown = text(values) if values else shown
            live.update(task, completed=step, shown=shown if step else f"{shown} {COMPILING}")

        yield tick


@contextmanager
def cell(title: str, total: int) -> Iterator[Tick]:
    """A browser's own bar; rich's needs widgets, which not every notebook has."""
    from IPython.display import HTML, display

    shown = COMPILING
    handle = display(HTML(""), display_id=True)

    def tick(step: int, **values: float) -> None:
        nonlocal shown
        shown = text(values) if values else shown
        told = escape(f"{title} {step}/{total} {shown}")
        handle.update(HTML(f'<progress value="{step}" max="{total}"></progress> {told}'))

    tick(0)
    try:
        yield tick
    finally:
        handle.update(HTML(""))


@contextmanager
def lines(title: str, total: int) -> Iterator[Tick]:
    last, shown = time.monotonic(), ""
    first: tuple[int, float] | None = None  # what came before is compiling, or another process

    def tick(step: int, **values: float) -> None:
        nonlocal first, last, shown
        shown, now = text(values) if values else shown, time.monotonic()
        if not step:
            return
        done, began = first = first or (step, now)
        if now - last >= EVERY:
            last = now
            left = (now - began) / (step - done) * (total - step) if step > done else None
            ending = "" if left is None else f"{left:.0f} s left"
            line = f"{title} step {step}/{total} {shown} {ending}"
            print(line.rstrip(), file=sys.stderr, flush=True)

    yield tick


def text(values: dict[str, float]) -> str:
    return " ".join(f"{name} {value:.3g}" for name, value in values.items())
