"""The file by which a run is controlled while it goes on."""

import dataclasses
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optchain.lab.base import processes
from optchain.lab.settings.load import flat

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Orders:
    """What the file says: numbers of the chain for those of the configuration, and whether to stop."""

    hyper: dict[str, float]
    stop: bool = False


class Control:
    """`control.toml` in the folder of a run, which need not be there.

    Its keys are the dotted names of the chain's numbers, `"lr.learning_rate" = 1e-4` or `lr.learning_rate = 1e-4`, and
    `stop = true`, which ends the run. Where a key is removed, the number of the configuration is back.
    """

    def __init__(self, folder: Path, check: Callable[[dict[str, float]], None], say: Say) -> None:
        """Args:
        folder: that of the run.
        check: raises ValueError where the chain has no such numbers.
        say: told what is wrong, once for each version of the file.
        """
        self.path, self.check, self.say = folder / "control.toml", check, say
        self.content: bytes | str | None = None  # that was read last

    def read(self) -> Orders | None:
        """What the file says to the first process; None if it says what it said before, or what cannot be done."""
        orders = processes.of_first(lambda: (orders := self._read()) and dataclasses.asdict(orders))
        return None if orders is None else Orders(**orders)

    def _read(self) -> Orders | None:
        content = self._content()
        if content == self.content:
            return None
        self.content = content
        try:
            if isinstance(content, str):
                raise OSError(content)
            orders = parse(content.decode())
            self.check(orders.hyper)
        except (OSError, ValueError) as error:
            self.say(f"{self.path}: {error}; the run goes on as before")
            return None
        return orders

    def _content(self) -> bytes | str:
        """What is in the file, nothing if there is none; or why it cannot be read."""
        try:
            return self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            return error.strerror or str(error)


def parse(text: str) -> Orders:
    """The orders of a file.

    Raises:
        ValueError: no TOML, or a value that is no number.
    """
    try:
        values: dict[str, Any] = flat(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"no TOML: {error}") from None
    stop = values.pop("stop", False)
    if not isinstance(stop, bool):
        raise ValueError(f"stop: got {stop!r}; expected true or false")
    for name, value in values.items():
        if type(value) not in (int, float):
            raise ValueError(f"{name}: got {value!r}; expected a number")
    return Orders({name: float(value) for name, value in values.items()}, stop)
