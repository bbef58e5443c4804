"""What the user can mend."""


class InputError(Exception):
    """Bad input: printed as one readable message, without a traceback, and the exit code is 2."""
