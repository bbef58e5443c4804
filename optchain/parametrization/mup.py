"""Maximal update parametrization: learning rates that follow from the shapes of a smaller model."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import optax

from optchain.core.around import Around
from optchain.core.holes import is_hole
from optchain.core.layers import Layers
from optchain.core.lift import technique
from optchain.core.numbers import Range, checked
from optchain.core.paths import matches, names_of, nearest
from optchain.core.routing import Given
from optchain.core.transform import Transform, transform
from optchain.core.views import Views
from optchain.parametrization.base import Base, base_of, patterns, require_used
from optchain.parametrization.families import ADAM, KINDS, Column, Factors, Scales
from optchain.parametrization.growth import Growth
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class Mup(Around):
    """Runs `inner` with learning rates, decays and eps of each leaf's own.

    State: `{"mup": {}, "inner": state, "metrics": {name: f32[]}}`.
    """

    base: Base
    kind: str | None
    query: tuple[str, ...]
    branch: tuple[str, ...]
    alpha: float | None
    scale_eps: bool
    layers: Layers | None = None
    views: Views = dataclasses.field(default_factory=dict)

    name = "mup"
    mixes = True  # what multiplies an entry depends on the whole shape
    on_shards = True

    def begin(self, params: Any) -> dict[str, Any]:
        self.factors(params)  # a base model that does not fit is an error before the first step
        return {}

    def modify(self, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, dict[str, Any]]:
        given = routed[""]
        factors = {name: dict(by_leaf) for name, by_leaf in given.factors.items()}
        for name, by_leaf in self.factors(updates).items():
            around = factors.setdefault(name, {})
            factors[name] = around | {leaf: around.get(leaf, 1.0) * x for leaf, x in by_leaf.items()}
        routed = routed | {"": dataclasses.replace(given, factors=factors)}
        new, inner = self.inner_step(updates, state, params, routed)
        return new, {self.name: state[self.name], "inner": inner}

    @functools.cached_property
    def column(self) -> Column:
        """Where the numbers of `inner` stand in the table."""
        return Column(self.inner, self.kind, self.scale_eps)

    def factors(self, tree: Any) -> Factors:
        """What multiplies which numbers of `inner`, for each leaf of a tree like the parameters."""
        growths = self.growths(tree)
        kinds = self.column.kinds(tree, list(growths))
        return self.column.factors(tree, {path: self.scales(kinds[path], path, x) for path, x in growths.items()})

    def growths(self, tree: Any) -> dict[str, Growth]:
        """How much each leaf of a tree like the parameters has grown, by its name."""
        growths = self.base.growths(tree, self.layers, self.views)
        paths = names_of(tree, is_hole)
        require_used("query", self.query, paths)
        require_used("branch", self.branch, paths)
        if self.alpha is None:
            for path, grown in growths.items():
                if grown.depth != 1:
                    problem = f"leaf {path!r} belongs to {grown.depth:g} times the layers that the base model has"
                    cure = "say how residual branches scale (alpha=0.5 or 1), or give a base model of this depth"
                    raise ValueError(f"mup: {problem}; {cure}")
        return growths

    def multiplier(self, path: str, grown: Growth) -> float:
        """What a leaf carries of the model's multipliers: a smaller initial value and a smaller step say the same."""
        query = grown.last**-0.5 if _chosen(self.query, path) else 1.0
        return query * (grown.depth ** -(self.alpha or 0.0) if _chosen(self.branch, path) else 1.0)

    def scales(self, kind: str, path: str, grown: Growth) -> Scales:
        """The column of the table for one leaf."""
        carried, alpha = self.multiplier(path, grown), self.alpha or 0.0
        gradient = grown.depth**-alpha / (grown.fan_out * carried)
        if kind == ADAM:
            deeper = grown.depth ** (alpha - 1) if self.alpha else 1.0
            return Scales(carried * deeper / grown.fan_in, gradient)
        deeper = grown.depth ** (2 * alpha - 1) if self.alpha else 1.0
        return Scales(carried**2 * deeper * grown.fan_out / grown.fan_in, gradient)

    def initial(self, path: str, grown: Growth) -> float:
        """The root mean square of a leaf's initial value over that in the base model."""
        smaller = 1.0 if grown.fan_in == 1 else grown.fan_in ** (-0.5 if grown.fan_out != 1 else -1.0)
        return smaller * self.multiplier(path, grown)


@technique(tx=scale(-0.1), base={"*": "same"})
def mup(
    tx: optax.GradientTransformation,
    base: Any,
    *,
    kind: str | None = None,
    query: str | Sequence[str] | None = None,
    branch: str | Sequence[str] | None = None,
    blocks: str | Sequence[str] | None = None,
    alpha: float | None = None,
    scale_eps: bool = True,
) -> Transform:
    r"""Scales rates, decays and eps leaf by leaf, so that the best ones of a narrow model are those of a wide one.

    With :math:`m_{in}` and :math:`m_{out}` the fan-in and the fan-out of a leaf over those in the base model, whose
    numbers are those of `tx`:

    =========  ========================  ====================  ========================  ==============================
    leaf       grows in                  :math:`\eta` (Adam)   :math:`\eta` (SGD)        initial RMS (`oc.mup_init`)
    =========  ========================  ====================  ========================  ==============================
    input      fan-out                   1                     :math:`m_{out}`           that of the base model
    vector     its length                1                     :math:`m_{out}`           that of the base model
    hidden     both                      :math:`1 / m_{in}`    :math:`m_{out} / m_{in}`  :math:`m_{in}^{-1/2}` of that
    output     fan-in                    :math:`1 / m_{in}`    :math:`1 / m_{in}`        :math:`m_{in}^{-1}` of that
    fixed      nothing                   1                     1                         that of the base model
    =========  ========================  ====================  ========================  ==============================

    This is Table 3 of the paper, the form without multipliers in the model; its other forms (Tables 8 and 9) train the
    same functions. Which axes grow is found by comparing shapes. The last axis of a kernel counts as its outputs, all
    others as inputs; biases and scales are vectors, known by their names (see `oc.is_kernel`), regardless of their
    axes; kernels of attention with an axis for heads are known by `query`, `key`, `value` and `out`; others with three
    axes or more by `oc.as_matrices(oc.mup(...), views)`.

    The column is found leaf by leaf from the techniques of `tx`: "adam" where one of them divides each entry by its own
    size (Adam, RMSProp, Lion, ...), "sgd" where none does. :math:`\eta \lambda` stays as it is, and so decay is
    multiplied by what the rate is divided by. What is added to gradients (`eps`) follows their size,
    :math:`1 / m_{out}`. Techniques with rates of another kind (Muon, LAMB, Prodigy) or thresholds in the units of
    gradients (`clip_by_global_norm`) are refused, and stand outside, `oc.chain(oc.clip_by_global_norm(1.0),
    oc.mup(tx, base))`, if their numbers are to be the same at every width.

    The model's own business: logits of attention divided by the size of a head, not by its root, which `query` does
    instead; and, where one array is embedding and readout, a multiplier :math:`1 / m_{in}` of the logits, for an array
    has one rate. Depth is scaled where `alpha` is given, for residual branches that the model multiplies by
    :math:`L^{-\alpha}`, or whose last leaves carry that (`branch`): rates of all leaves of the blocks are multiplied by
    :math:`m_L^{\alpha - 1}` (Adam) or :math:`m_L^{2 \alpha - 1}` (SGD). Layers are the axes that
    `oc.over_layers(oc.mup(...), layers)` declares, or `blocks`.

    Args:
        tx: techniques and chains of them, with their learning rate. Wrappers stand outside: `guard(mup(tx, base))`.
        base: the parameters of the base model or their shapes (`jax.eval_shape`), as a tree with the same names; or a
            table from paths, or patterns on them, to lists of sizes, and `"same"` for leaves that do not grow.
        kind: "adam" or "sgd" for all leaves, whatever `tx` consists of; then numbers called `learning_rate` and
            `weight_decay` are scaled, and no other.
        query: patterns on the kernels and biases that make queries, for a model that divides logits by the root of the
            size d of a head: these leaves carry the rest of the division by d. Their last axis is d, or all heads side
            by side if their number stays the same.
        branch: patterns on the last leaves of residual branches, which carry :math:`m_L^{-\alpha}`; None where the
            model multiplies its branches itself.
        blocks: patterns on the key of a block that is repeated, such as `"layer_*"`; the base model may have fewer.
        alpha: in [0.5, 1]: 0.5 for depth-muP, 1 for CompleteP; None where the depth is that of the base model.
        scale_eps: False leaves `eps` as it is.

    Shapes and dtypes: any; the state is that of `tx`.

    Differs from the paper: where fan-in and fan-out of a hidden leaf grow unequally, SGD's rate follows their ratio, as
    in the authors' package; `eps` is scaled, as in 2407.05872. Accumulators that begin above 0 (Adagrad, Yogi) do not
    follow the size of gradients. For depth both papers have blocks of one layer or of transformers before which the
    stream is normalized; other models are not covered by them.

    Raises:
        ValueError: a technique without a known rule or without a learning rate, an argument of another form; at `init`
            and `update`, a leaf that the base model lacks or that has another number of axes there, axes that grow and
            shrink in one leaf, axes of which it is not known whether they are inputs, more layers without `alpha`.

    References:
        Yang et al., 2022, Table 3, Appendix D.1. https://arxiv.org/abs/2203.03466
        Everett et al., 2024 (eps). https://arxiv.org/abs/2407.05872
        Yang et al., 2023 (depth, alpha = 0.5). https://arxiv.org/abs/2310.02244
        Dey et al., 2025 (depth, alpha = 1). https://arxiv.org/abs/2505.01618

    >>> import jax
    >>> import optchain as oc
    >>> params = {"in": {"kernel": jax.numpy.ones((8, 64))}, "out": {"kernel": jax.numpy.ones((64, 2))}}
    >>> tx = oc.mup(oc.adamw(1e-2), base={"in/kernel": [8, 16], "out/kernel": [16, 2]})
    >>> print(oc.mup_table(tx, params))
    path        shape    base     leaf    column  learning rate  initial RMS
    ------------------------------------------------------------------------
    in/kernel   (8, 64)  (8, 16)  input   adam    1              1
    out/kernel  (64, 2)  (16, 2)  output  adam    0.25           0.25
    """
    if not isinstance(tx, optax.GradientTransformation):
        raise ValueError(f"mup: tx must be a gradient transformation, got {tx!r}")
    if kind is not None and kind not in KINDS:
        raise ValueError(f"mup: there is no kind {kind!r}; {nearest(str(kind), KINDS)}")
    if alpha is not None:
        alpha = checked("mup", "alpha", alpha, Range("[0.5, 1]"))
        if not isinstance(alpha, float):
            raise ValueError(f"mup: alpha must be a constant, got {alpha!r}")
    elif branch is not None or blocks is not None:
        name = "blocks" if branch is None else "branch"
        raise ValueError(f"mup: {name} is said of residual branches; say how they scale (alpha=0.5 or 1)")
    queries, branches, repeated = patterns("query", query), patterns("branch", branch), patterns("blocks", blocks)
    made = Mup(tx, base_of(base, repeated), kind, queries, branches, alpha, bool(scale_eps))
    Column(tx, kind, made.scale_eps)  # what has no known rule is an error here
    return transform(made)


def _chosen(chosen: tuple[str, ...], path: str) -> bool:
    return any(matches(path, pattern) for pattern in chosen)
