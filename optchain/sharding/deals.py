"""What stacks of matrices and their rest have in common: they are dealt out to owners."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax

Law = Callable[[Any], Any]
Numbers = Mapping[str, jax.Array]  # by name a number for each matrix


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
    """The law of one matrix, `(g, slots, p, numbers) -> (u, slots)`, and of several that are stacked, from arrays that
    are the same for all owners."""

    made: Callable[[Sequence[jax.Array]], tuple[Law, Law]]
    arrays: list[jax.Array]


class Deal(Protocol):
    """Matrices that are dealt out to owners. Those of a member are a stack, and so are their slots.

    A slot in a code is two of them here, `mu/codes` and `mu/scales`.
    """

    @property
    def members(self) -> Sequence[Member]:
        """Whose matrices these are."""
        ...

    def begun(self, pieces: Sequence[jax.Array], numbers: Sequence[Numbers], init: Law) -> Any:
        """The first slots, with their owners; `init` makes those of one matrix, from it and its numbers."""
        ...

    def stepped(self, gs: Any, ps: Any, olds: Any, numbers: Sequence[Numbers], step: Step) -> Any:
        """The updates of each member, in the layout of the member, and the new slots.

        Args:
            gs: all pieces of the updates.
            ps: all pieces of the parameters; None where the rule does not read these.
            olds: the slots by name.
            numbers: what the law is told of the matrices of each member, under the same names for all.
            step: the law.
        """
        ...

    def held(self, slot: str, columns: Sequence[jax.Array | None]) -> jax.Array | None:
        """A slot with its owners, from that of each member; None where no matrix has it."""
        ...

    def collected(self, slot: str, x: jax.Array) -> Sequence[jax.Array | None]:
        """A slot of each member, whole on each device."""
        ...
