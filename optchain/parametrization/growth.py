"""How much wider a leaf is than in the base model: the fan-in and the fan-out of its shape, over those of the base."""

import dataclasses
import math

from optchain.core.mask import NO_KERNELS
from optchain.core.views import View, view

# The keys of modules that project to queries, keys and values: their kernels are (inputs, heads, size of a head).
TO_HEADS = {f"{name}{end}" for name in ("query", "key", "value", "q", "k", "v", "qkv", "kv") for end in ("", "_proj")}
FROM_HEADS = {"out", "o", "out_proj", "o_proj"}  # these are (heads, size of a head, outputs)


@dataclasses.dataclass(frozen=True)
class Growth:
    """A leaf against the same leaf of the base model.

    Attributes:
        fan_in: the inputs of a unit over those in the base model; 1 for what is no matrix.
        fan_out: the outputs over those in the base model; of a vector its length.
        last: the last axis over that in the base model, which is the size of a head in a projection to queries.
        depth: the layers of the stack or of the blocks that it belongs to over those in the base model.
        is_vector: whether it is a bias, a scale or a scalar, regardless of its axes.
    """

    fan_in: float = 1.0
    fan_out: float = 1.0
    last: float = 1.0
    depth: float = 1.0
    is_vector: bool = False

    @property
    def role(self) -> str:
        """What the paper calls such a leaf."""
        if self.fan_in == 1:
            return "fixed" if self.fan_out == 1 else "vector" if self.is_vector else "input"
        return "output" if self.fan_out == 1 else "hidden"


def growth(
    path: str, shape: tuple[int, ...], base: tuple[int, ...], layers: int = 0, text: str | None = None
) -> Growth:
    """The growth of one leaf.

    Args:
        path: its name.
        shape: its shape.
        base: its shape in the base model.
        layers: how many leading axes count layers.
        text: its view as a matrix, if one is declared.

    Raises:
        ValueError: another rank, axes of which one grows and another shrinks, or axes of which it is not known whether
            they are inputs or outputs; the message names the leaf.
    """
    said = f"mup: leaf {path!r} has shape {shape}, and {base} in the base model"
    if len(shape) != len(base):
        raise ValueError(f"{said}: {len(shape)} axes instead of {len(base)}; a base model differs in sizes alone")
    if 0 in base:
        raise ValueError(f"{said}, which has no entries; give the shape of a model that can be trained")
    depth = math.prod(shape[:layers]) / math.prod(base[:layers])
    shape, base = shape[layers:], base[layers:]
    ratios = [n / m for n, m in zip(shape, base, strict=True)]
    if ratios and min(ratios) < 1 < max(ratios):
        grown, shrunk = ratios.index(max(ratios)) + layers, ratios.index(min(ratios)) + layers
        problem = f"axis {grown} is longer than in the base model and axis {shrunk} is shorter"
        raise ValueError(f"{said}: {problem}; give a base model that is no wider in any axis")
    last = ratios[-1] if ratios else 1.0
    key = path.rpartition("/")[2].lower()
    if len(shape) < 2 or key in NO_KERNELS or key.endswith(tuple(f"_{name}" for name in NO_KERNELS)):
        return Growth(1.0, math.prod(ratios), last, depth, is_vector=True)
    if text is not None:
        (rows, columns), (base_rows, base_columns) = (_shown(path, text, x) for x in (shape, base))
        return Growth(rows / base_rows, columns / base_columns, last, depth)
    split = _inputs(path, ratios, said)
    return Growth(math.prod(ratios[:split]), math.prod(ratios[split:]), last, depth)


def _inputs(path: str, ratios: list[float], said: str) -> int:
    """How many of the axes are inputs: all but the last, or the first alone where heads follow."""
    if len(ratios) == 2:
        return 1
    module = path.split("/")[-2].lower() if "/" in path else ""
    if module in TO_HEADS:
        return 1
    end = len(ratios) - 1
    grown = [i for i, ratio in enumerate(ratios) if ratio != 1]
    # A kernel of a convolution has its inputs along the last axis but one, (heads, size, outputs) along all but one.
    if module in FROM_HEADS or len(grown) < 2 or grown[0] >= end - 1 or grown == [0, end]:
        return end
    cure = "say which are inputs, with oc.as_matrices and a view such as {'*/query/kernel': 'd h k -> d (h k)'}"
    raise ValueError(f"{said}: the axes {grown} differ, and nothing says which are inputs and which outputs; {cure}")


def _shown(path: str, text: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of the matrix that a view shows."""
    try:
        seen = view(text, shape)
    except ValueError as error:
        raise ValueError(f"leaf {path!r}: {error}") from None
    if isinstance(seen, View):
        return seen.shown[-2], seen.shown[-1]
    return sum(x[-2] for x in seen.shown), sum(x[-1] for x in seen.shown)
