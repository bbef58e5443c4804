"""What a check finds, and how it is written."""

import dataclasses
import textwrap
from collections.abc import Iterable

SEVERITIES = ("error", "warning", "note")
# The way out where masks overlap.
APART = "let each parameter be in one mask: mask=oc.Without(None, other_mask) for the rest"
SHOWN = 3  # names before "and n more"
WIDTH = 120


@dataclasses.dataclass(frozen=True)
class Finding:
    """What is probably a mistake.

    Fields:
        check: the name of the check.
        severity: "error" where training cannot work as it stands, "warning" where it is probably not what is meant,
            "note" where it is worth a look.
        where: the dotted names of links, or the paths of parameters.
        says: what is the matter, and why.
        cure: a way out.
    """

    check: str
    severity: str
    where: tuple[str, ...]
    says: str
    cure: str

    @property
    def line(self) -> str:
        """All of it in one line."""
        return f"{self.severity} {self.check} at {shortened(self.where)}: {self.says}; {self.cure}"

    def __str__(self) -> str:
        return textwrap.fill(self.line, WIDTH, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False)


class Lint(tuple[Finding, ...]):
    """The findings of `lint`, worst first; empty, and therefore false, where there are none. Its text is a list.

    Args:
        iterable: of findings.
    """

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self)) if self else "nothing found"


def shortened(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
