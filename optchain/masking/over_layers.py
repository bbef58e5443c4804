"""Scanned models: what looks across a parameter looks at one layer at a time."""

from collections.abc import Mapping, Sequence

import optax

from optchain.core.declare import declared
from optchain.core.layers import Layers
from optchain.core.lift import technique
from optchain.core.numbers import whole
from optchain.core.transform import Transform
from optchain.stepsize.scale import scale


@technique(tx=scale(-0.1), layers={})
def over_layers(tx: optax.GradientTransformation, layers: Layers) -> Transform:
    """Declares which leading axes of which parameters count layers, so that stacked layers are updated as single ones.

    A scanned model (`nn.scan`, `nnx.scan`) keeps the parameters of all its layers in one array. What looks across a
    parameter, such as a norm by leaf or a matrix method, would mix the layers, or refuse the extra axis; here every
    technique in `tx`, wrappers and groups included, is mapped over the declared axes. Elementwise techniques and what
    looks across all parameters, such as the global norm, are the same either way.

    The result is `tx` with the declaration in each of its links: nothing is wrapped, and the state's structure stays.
    It does not reach into transformations of optax's, which see the stacked arrays.

    Args:
        tx: any transformation.
        layers: a pattern on paths or several, for one layer axis; a table from patterns to the number of axes, of which
            the first pattern that matches decides (`{"blocks/experts/*": 2, "blocks/*": 1}`); or a function of
            (path, leaf) that returns the number.

    Shapes and dtypes: any; a slot that holds one number for a parameter has the shape of the layer axes.

    Raises:
        ValueError: something else than patterns, or a number of axes that is none; at `init` and `update`, a pattern
            that matches no parameter, or more axes than a parameter has.

    >>> import optchain as oc
    >>> tx = oc.over_layers(oc.chain(oc.clip_by_leaf_norm(1.0), oc.adamw(1e-3)), "blocks/*")
    """
    if not isinstance(tx, optax.GradientTransformation):
        raise ValueError(f"over_layers: tx must be a gradient transformation, got {tx!r}")
    if isinstance(layers, Mapping):
        for pattern, axes in layers.items():
            whole("over_layers", f"the number of layer axes of {pattern!r}", axes, 0)
    elif not callable(layers) and not (isinstance(layers, (str, Sequence)) and all(isinstance(x, str) for x in layers)):
        raise ValueError(f"over_layers: layers must be patterns, a table or a function of (path, leaf), got {layers!r}")
    return declared(tx, layers=layers)
