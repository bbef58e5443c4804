"""The pieces of a run, each the local steps of one difference: which are made, given away, or to be given again."""

from collections.abc import Iterable


class Pieces:
    """The pieces of a run by their numbers from 0, of which each is handed in once.

    Those that were given and are not back by the end of the worker, or by that of the server, are given again first.
    """

    def __init__(self, count: int, together: int, done: int, again: Iterable[int] = ()) -> None:
        """
        Args:
            count: of the whole run.
            together: how many make one step of the server; if several they begin from the same parameters.
            done: how many are made.
            again: the numbers of those that had been given and were not back.
        """
        self.count, self.together, self.done = count, together, done
        self.again = sorted(again)
        self.next = done + len(self.again)
        self.out: dict[int, int] = {}  # the number of the piece that each worker has

    @property
    def open(self) -> list[int]:
        """The numbers of those that were given and are not back."""
        return sorted([*self.again, *self.out.values()])

    @property
    def all_made(self) -> bool:
        """Whether nothing is left."""
        return self.done == self.count

    def give(self, worker: int) -> int | None:
        """The number of a piece for a worker; None if there is none for the parameters as they are now."""
        if self.again:
            number = self.again.pop(0)
        elif self.next < self._end():
            number, self.next = self.next, self.next + 1
        else:
            return None
        self.out[worker] = number
        return number

    def take(self, worker: int) -> None:
        """Count the piece of a worker as made."""
        del self.out[worker]
        self.done += 1

    def lose(self, worker: int) -> int | None:
        """Let what a worker has be given again; the number of its piece, if it has one."""
        number = self.out.pop(worker, None)
        if number is not None:
            self.again = sorted([*self.again, number])
        return number

    def _end(self) -> int:
        """The number after that of the last piece that may begin now."""
        if self.together == 1:
            return self.count
        return min(self.count, (self.done // self.together + 1) * self.together)
