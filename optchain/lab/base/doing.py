"""What a command is doing, in a line before anything that may take seconds."""

import sys


def say(what: str) -> None:
    """Say on the standard error what is being done."""
    print(what, file=sys.stderr, flush=True)
