"""What stacks of matrices and their rest have in common: they are dealt out to owners."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax


@dataclasses.dataclass(frozen=True)
class Member:
    """Matrices of one piece: a leaf, or a part of one, as a stack of its matrices."""

    piece: int
    start: int
    stop: int

    @property
    def count(self) -> int:
        """How many matrices these are."""
        return self.stop - self.start

    def of(self, pieces: Sequence[jax.Array]) -> jax.Array:
        """The matrices."""
        return self.rows(pieces[self.piece])

    def rows(self, x: jax.Array) -> jax.Array:
        """What belongs to these matrices, out of what a piece has for each."""
        return x if self.count == len(x) else x[self.start : self.stop]


@dataclasses.dataclass(frozen=True)
class Step:
    """The law of one matrix, `(g, slots, p, factors) -> (u, slots)`, from arrays that are the same for all owners."""

    made: Callable[[Sequence[jax.Array]], Callable[[Any], Any]]
    arrays: list[jax.Array]


class Deal(Protocol):
    """Matrices that are dealt out to owners. Those of a member are a stack, and so are their slots."""

    @property
    def members(self) -> Sequence[Member]:
        """Whose matrices these are."""
        ...

    def begun(self, pieces: Sequence[jax.Array], init: Callable[[jax.Array], Any]) -> Any:
        """The first slots, with their owners; `init` makes those of one matrix."""
        ...

    def stepped(self, gs: Any, ps: Any, olds: Any, factors: Sequence[dict[str, Any]], step: Step) -> Any:
        """The updates of each member, in the layout of the member, and the new slots.

        Args:
            gs: all pieces of the updates.
            ps: all pieces of the parameters; None where the rule does not read these.
            olds: the slots by name.
            factors: what the numbers of the rule are multiplied by for each member.
            step: the law.
        """
        ...

    def held(self, slot: str, columns: Sequence[jax.Array | None]) -> jax.Array | None:
        """A slot with its owners, from that of each member; None where no matrix has it."""
        ...

    def collected(self, slot: str, x: jax.Array) -> Sequence[jax.Array | None]:
        """A slot of each member, whole on each device."""
        ...
