"""What a user sees of a grid: what is there, what each new run found, what failed and why."""

import sys
from collections.abc import Sequence

from ntkrepro import signals
from ntkrepro.config.identity import Run
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.records import store
from ntkrepro.records.summary import summary
from ntkrepro.sweep import status


def walk(
    runs: list[Run], since: float, command: Sequence[str] | None = None
) -> dict[str, UserError]:
    """Compute the runs that have no record yet, and tell what each holds.

    Returns, by id, why those failed that this process tried.
    """
    signals.install()
    labels, failed = status.labels(runs), {}

    def tell(run: Run, outcome: object) -> None:
        label = labels[run.id]
        if isinstance(outcome, UserError):
            failed[run.id] = outcome
            if len(runs) > 1:
                print(f"error: {outcome} ({label})", file=sys.stderr)
            return
        record = store.read(run.path)
        assert record
        print(f"wrote {run.path}{': ' if label else ''}{label}\n{summary(record)}", flush=True)

    there = [run for run in runs if store.is_done(run.path)]
    if len(runs) == 1 and there and (record := store.read(there[0].path)):
        print(f"{there[0].path} is there already (same config)\n{summary(record)}")
    elif there:
        print(f"{len(there)} of {len(runs)} points are there already", flush=True)
    if not all(run.path.is_file() for run in runs):
        from ntkrepro.sweep.grid import compute_missing  # JAX

        compute_missing(runs, tell, since, command)
    status.tidy(runs)
    return failed


def refuse_missing(runs: list[Run], told: dict[str, UserError]) -> None:
    """Raises UserError that names every run without a record, and why it has none."""
    labels, lines = status.labels(runs), []
    for run in runs:
        if not run.path.is_file():
            failure = status.failure(run)
            why = told.get(run.id) or (failure and failure.why) or "no process ended"
            lines.append(f"{labels[run.id] or run.experiment.name}: {why}")
    if lines:
        first = next(iter(told.values()), RunFailed())
        head = f"{len(lines)} of {len(runs)} points failed; run again to retry them"
        raise type(first)("\n  ".join([head, *lines]))
