"""What the user can mend."""

from typing import ClassVar


class InputError(Exception):
    """Bad input: printed as one readable message, without a traceback, and the exit code is 2."""


class LostError(Exception):
    """What the work needs went away while it went on, such as a database: printed as one readable message, without a
    traceback, and the exit code is 5."""

    code: ClassVar[int] = 5


def first_line(error: BaseException) -> str:
    """The first line of what an error says; that of a library may say pages."""
    first, *_ = str(error).splitlines() or [""]
    return first
