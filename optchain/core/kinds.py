"""What a slot is a kind of, which says how few bits it bears where it is stored in a code (`precision`)."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of slot.

    A rule declares the kinds of its slots in `kinds`. What is not declared is never stored in a code: bases, factors,
    scalars, copies that are compared or divided by, signed curvature, and what the state's readers read.
    """

    word: str
    least: int  # the fewest bits that it bears
    decay: str = ""  # of a mean, the name of the number that is its decay

    def __str__(self) -> str:
        return self.word


# A running mean of squares, and a sum or maximum of them: never negative, and divided by, so that what is positive must
# stay so.
SQUARE = Kind("square", 4)
SUM = Kind("sum", 8)
# A signed sum, or a mean of a decay near 1: errors add up over thousands of steps.
DRIFT = Kind("drift", 16)


def mean(decay: str, least: int = 4) -> Kind:
    """A signed running mean, or decaying sum.

    Args:
        decay: the name of the number that is its decay, above 0.99 of which it is a drift.
        least: the fewest bits that it bears: 8 where the update is orthogonalized, or the sign of the mean.
    """
    return Kind("mean", least, decay)
