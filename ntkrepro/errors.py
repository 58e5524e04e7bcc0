"""What the user is told instead of a traceback."""

import sys
from functools import cache


class UserError(Exception):
    """Bad input: the message names the key, the value and the mend. Exit code 2."""

    exit_code = 2


class RunFailed(UserError):
    """A run that started and could not finish: divergence, a full disk. Exit code 1."""

    exit_code = 1


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


warn_once = cache(warn)  # what would be told of every run


def nearest(word: str, known: list[str]) -> str:
    """'did you mean ...' from what is valid."""
    import difflib  # half of the time of `ntkrepro --help`

    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"valid: {', '.join(known)}"


def first_line(error: Exception) -> str:
    """An error's own words without their context lines, and those of its cause."""
    chain = [error, error.__cause__] if error.__cause__ else [error]
    heads = [str(link).strip().splitlines()[0] for link in chain if str(link).strip()]
    return ": ".join(heads) or type(error).__name__
