"""Initial parameters for maximal update parametrization, and the table of what it makes of each leaf."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.describe import aligned, shown
from optchain.core.door import is_floating
from optchain.core.numerics import wide
from optchain.core.paths import matches, named_leaves, nearest
from optchain.core.walk import definitions
from optchain.parametrization.base import patterns, require_used, whole_shape
from optchain.parametrization.mup import Mup


def mup_init(tx: Any, params: Any, base: Any, *, zero: str | Sequence[str] | None = None) -> Any:
    r"""The initial parameters with the sizes that maximal update parametrization asks for.

    Each leaf that has grown is multiplied by one number, so that its root mean square is that of the base model's leaf
    times the factor of its row in the table of `oc.mup`, regardless of the initializers:

    .. math::
        p \leftarrow p \, f \, \frac{\mathrm{rms}(p_{base})}{\mathrm{rms}(p)}

    Args:
        tx: `oc.mup(...)`, or a chain or wrapper that holds one.
        params: the initial parameters of the model.
        base: those of the base model: arrays, drawn by the same initializers.
        zero: patterns on leaves that begin at 0, such as the readout and the queries (Appendix D.2 of the paper), which
            spares wide and narrow models the differences between their initial functions.

    Shapes and dtypes: any; sums are taken in float32 or wider, and each product is rounded once. It may be compiled.

    Raises:
        ValueError: no `mup` in `tx`, or more than one; a base model of shapes alone, or one that does not fit.

    References:
        Yang et al., 2022, Table 3, Appendix D.2. https://arxiv.org/abs/2203.03466

    >>> import jax
    >>> import optchain as oc
    >>> draw = lambda width: {"out": {"kernel": jax.random.normal(jax.random.key(width), (width, 2)) / width**0.5}}
    >>> tx = oc.mup(oc.adam(1e-2), draw(16))
    >>> ratio = lambda x: float(jax.numpy.std(oc.mup_init(tx, draw(64), draw(16))["out"]["kernel"]) / x.std())
    >>> round(ratio(draw(16)["out"]["kernel"]), 1)
    0.2
    """
    link, zeros = _mup_of(tx, "mup_init"), patterns("zero", zero)
    arrays, growths = dict(named_leaves(base)), link.growths(params)
    require_used("zero", zeros, list(growths))
    for path, x in arrays.items():
        if not isinstance(x, (jax.Array, np.ndarray)):
            cure = "give its initial parameters, such as Model(width=32).init(key, x)['params']"
            raise ValueError(f"mup_init: the base model has {x!r} at {path!r}, and its values are needed; {cure}")
    leaves, treedef = jax.tree.flatten(params)
    new = []
    for (path, p), grown in zip(named_leaves(params), growths.values(), strict=True):
        factor = link.initial(path, grown)
        if any(matches(path, pattern) for pattern in zeros):
            p = jnp.zeros_like(p)
        elif is_floating(p) and (factor != 1 or grown.role != "fixed"):
            size, own = _rms(_twin(link, path, arrays)), _rms(p)
            ratio = jnp.where(own > 0, factor * size / jnp.where(own > 0, own, 1), 1)
            p = (wide(p) * ratio).astype(p.dtype)
        new.append(p)
    return treedef.unflatten(new)


def mup_table(tx: Any, params: Any) -> str:
    """A plain text table: what `oc.mup` finds each parameter to be, and what it multiplies for it.

    The columns are the shapes here and in the base model, the kind of leaf and the column of the paper's table, the
    factor of the learning rate, and the root mean square of the initial value over that in the base model.

    Args:
        tx: `oc.mup(...)`, or a chain or wrapper that holds one.
        params: the parameters, arrays or `jax.ShapeDtypeStruct`s.

    Raises:
        ValueError: no `mup` in `tx`, or more than one; a base model that does not fit.

    >>> import jax
    >>> import optchain as oc
    >>> tx = oc.mup(oc.sgd(0.1), {"bias": [8]})
    >>> print(oc.mup_table(tx, {"bias": jax.numpy.ones(32)}))
    path  shape  base  leaf    column  learning rate  initial RMS
    -------------------------------------------------------------
    bias  (32,)  (8,)  vector  sgd     4              1
    """
    link = _mup_of(tx, "mup_table")
    growths = link.growths(params)
    kinds = link.column.kinds(params, list(growths))
    rows = [("path", "shape", "base", "leaf", "column", "learning rate", "initial RMS")]
    for path, p in named_leaves(params):
        grown, shape = growths[path], whole_shape(path, p)
        rate = link.scales(kinds[path], path, grown).rate
        base = link.base.shape_of(path) or shape
        numbers = shown(rate), shown(link.initial(path, grown))
        rows.append((path, str(shape), str(base), grown.role, kinds[path], *numbers))
    return aligned(rows)


def _mup_of(tx: Any, owner: str) -> Mup:
    links = [link for _, link in definitions(tx) if isinstance(link, Mup)]
    if len(links) != 1:
        raise ValueError(f"{owner}: expected a transformation with one `mup` in it, got {len(links)} in {tx!r}")
    return links[0]


def _twin(link: Mup, path: str, arrays: dict[str, Any]) -> Any:
    """The leaf of the base model that a leaf is compared with."""
    twin = link.base.twin(path, arrays)
    if twin not in arrays:
        raise ValueError(f"mup_init: the base model has no leaf {twin!r}; {nearest(twin, arrays)}")
    return arrays[twin]


def _rms(x: Any) -> Any:
    return jnp.sqrt(jnp.mean(jnp.square(wide(jnp.asarray(x)))))
