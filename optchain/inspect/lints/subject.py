"""What checks look at: the links of a transformation, what they do, and what that makes of them."""

import dataclasses

import jax
import optax

from optchain.inspect.lints import roles
from optchain.inspect.lints.links import Link
from optchain.inspect.lints.measure import Moved, attempt
from optchain.inspect.lints.structure import RATES
from optchain.inspect.lints.trials import Trials


@dataclasses.dataclass(frozen=True, eq=False)
class Subject(Trials):
    """What links are: by the room of their technique, or where that is not known by what they do."""

    def factor(self, link: Link, path: str) -> float | None:
        """The number by which a link multiplies the update of a parameter; None where it does something else."""
        if (link.where, "step_size") in self.peaks and link.definition is None:
            return self.peaks[link.where, "step_size"]
        found = self.alone.get(link.where, {}).get(path)
        if found is None or found[0].factor is None or found[1].factor is None or found[2].top:
            return None
        small, large = found[0].factor, found[1].factor
        return small if abs(small - large) <= 1e-4 * abs(small) else None

    def decay(self, link: Link, path: str) -> float:
        """The part of a parameter that a link adds where there is no gradient."""
        found = self.alone.get(link.where, {}).get(path)
        return 0.0 if found is None else found[2].growth or 0.0

    def is_rate(self, link: Link, path: str) -> bool:
        """Whether a link has a learning rate: a factor that is not just a sign, or a rate within."""
        if any(name in link.numbers for name in RATES) and link.technique not in roles.MULTIPLIERS:
            return True
        if link.is_opaque:
            found = self.alone.get(link.where, {}).get(path)
            return found is not None and _is_normalized(found) and found[0].rms <= 0.05
        factor = self.factor(link, path) if link.technique in roles.MULTIPLIERS else None
        if factor is None or abs(factor) in (0.0, 1.0):
            return False
        # A positive factor before all moments takes the scale of the loss out of gradients.
        line = self.lines[path]
        made = any(x.is_opaque or x.room in ("moments", "matrices", "stepsize") for x in line[: line.index(link)])
        return made or factor < 0 or link.technique == "scale_by_learning_rate"

    def is_adaptive(self, link: Link, path: str) -> bool:
        """Whether a link divides by the size of the gradients that it has seen."""
        if not link.is_opaque:
            return roles.is_adaptive(link.technique)
        found = self.alone.get(link.where, {}).get(path)
        if found is None or not _is_normalized(found):
            return False
        state = attempt(lambda: jax.eval_shape(link.tx.init, link.params))
        return state is not None and bool(optax.tree.get_all_with_path(state, "nu"))

    def have_masks(self, names: tuple[str, ...]) -> bool:
        """Whether each of some links leaves parameters out, so that where they meet their masks overlap."""
        return all(len(link.paths) < len(self.shapes) for link in self.links if link.where in names)

    def is_normalized(self, path: str) -> bool:
        """Whether whole steps of a parameter move it, by the same size for gradients of any size."""
        small, large = (max((x.rms for x in run.get(path, ())), default=0.0) for run in (self.small, self.large))
        return 0 < small and large < 2 * small


def _is_normalized(found: tuple[Moved, Moved, Moved]) -> bool:
    """Whether updates have the same size for gradients of any size."""
    small, large, _ = found
    return bool(small.top) and large.rms < 2 * small.rms
