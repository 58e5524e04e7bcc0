"""What a user sees of a grid: what is there, what each new run found, what failed and why."""

import sys

from ntkrepro import signals
from ntkrepro.config.identity import Run
from ntkrepro.errors import RunFailed, UserError
from ntkrepro.records import store
from ntkrepro.records.summary import summary
from ntkrepro.sweep import status
from ntkrepro.sweep.attempt import Attempt

Failed = dict[str, UserError]  # by the run's id


def walk(runs: list[Run], attempt: Attempt) -> Failed:
    """Compute the runs that have no record yet, and tell what each holds.

    Returns why those failed that this process tried, or waited for.
    """
    signals.install()
    labels, readable = status.labels(runs), store.is_done if len(runs) > 1 else store.read
    there = [run for run in runs if attempt.is_done(run) and readable(run.path)]
    settled, failed = {run.id for run in there}, Failed()

    def tell(run: Run, outcome: object) -> None:
        label = labels[run.id]
        settled.add(run.id)
        if isinstance(outcome, UserError):
            failed[run.id] = outcome
            if len(runs) > 1:
                print(f"error: {outcome} ({label})", file=sys.stderr)
            return
        print(f"wrote {run.path}{': ' if label else ''}{label}\n{found(run)}", flush=True)

    tell_there(runs, there, "there already")
    if len(there) < len(runs):
        from ntkrepro.sweep.grid import compute_missing  # JAX

        compute_missing(runs, tell, attempt)
    others = [run for run in runs if run.id not in settled]
    tell_there(
        runs, [run for run in others if attempt.is_done(run)], "there now, of another process"
    )
    status.tidy(runs)
    return failed | of_others(others, attempt)


def tell_there(runs: list[Run], there: list[Run], how: str) -> None:
    """What this process didn't compute: of one run what it found, of several how many."""
    if there and len(runs) == 1:
        print(f"{there[0].path} is {how} (same config)\n{found(there[0])}", flush=True)
    elif there:
        print(f"{len(there)} of {len(runs)} points are {how}", flush=True)


def found(run: Run) -> str:
    record = store.read(run.path)
    return summary(record) if record else "and can't be read"


def of_others(runs: list[Run], attempt: Attempt) -> Failed:
    """What failed in other processes since this attempt began."""
    errors = {run.id: note.error() for run in runs if (note := attempt.failure(run))}
    whose = "another process failed at it"
    return {name: type(error)(f"{whose}: {error}") for name, error in errors.items()}


def refuse_missing(runs: list[Run], attempt: Attempt, told: Failed) -> None:
    """Raises UserError that names every run without a record, and why it has none; RunFailed if one
    of them began."""
    labels, wrong = status.labels(runs), []
    for run in runs:
        if not attempt.is_done(run):
            note = attempt.failure(run)
            error = told.get(run.id) or (note and note.error()) or RunFailed("no process ended")
            wrong.append((labels[run.id] or run.experiment.name, error))
    if wrong:
        began = any(isinstance(error, RunFailed) for _, error in wrong)
        head = f"{len(wrong)} of {len(runs)} points failed; run again to retry them"
        lines = [head, *(f"{label}: {error}" for label, error in wrong)]
        raise (RunFailed if began else UserError)("\n  ".join(lines))
