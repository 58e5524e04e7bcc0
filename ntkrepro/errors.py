"""What the user is told instead of a traceback."""


class UserError(Exception):
    """Bad input: the message names the key, the value and the mend. Exit code 2."""

    exit_code = 2


class RunFailed(UserError):
    """A run that started and could not finish: divergence, a full disk. Exit code 1."""

    exit_code = 1
