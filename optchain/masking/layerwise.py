"""Layer-wise decay of the learning rate."""

from collections.abc import Sequence
from typing import Any

from optchain.core.numbers import Range, checked


def layerwise_decay(
    factor: float, layers: Sequence[str | Sequence[str]], number: str = "learning_rate"
) -> dict[Any, dict[str, Any]]:
    r"""Rules for `groups` that let the learning rate fall from the last layer to the first.

    .. math::
        \eta_l = \eta \, f^{L - l}, \qquad l = 1 \dots L

    Args:
        factor: f, in (0, 1]; about 0.65 to 0.95 where a trained model is tuned on.
        layers: patterns on paths, from the first layer to the last; several patterns are one layer.
        number: the number to multiply, by name.

    Raises:
        ValueError: a factor out of its range, layers that are no sequence, or the same layer twice.

    Differs from the paper: the last layer has the whole rate; any factor is taken, where the paper has 1 / 2.6.

    References:
        Howard and Ruder, 2018, section 3.2 (discriminative fine-tuning). https://arxiv.org/abs/1801.06146

    >>> import optchain as oc
    >>> rules = oc.layerwise_decay(0.5, ["embed/*", "block_0/*", ("block_1/*", "head/*")])
    >>> {pattern: x["learning_rate"] for pattern, x in rules.items()}
    {'embed/*': 0.25, 'block_0/*': 0.5, ('block_1/*', 'head/*'): 1.0}
    """
    factor = checked("layerwise_decay", "factor", factor, Range("(0, 1]"))
    if callable(factor) or isinstance(layers, str) or not isinstance(layers, Sequence) or not layers:
        raise ValueError(
            f"layerwise_decay: expected a constant factor and a list of patterns, got {factor!r}, {layers!r}"
        )
    keys = [layer if isinstance(layer, str) else tuple(layer) for layer in layers]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"layerwise_decay: the layer {key!r} is there {keys.count(key)} times")
    return {key: {number: factor ** (len(keys) - 1 - i)} for i, key in enumerate(keys)}
