"""The one-cycle schedule."""

import jax.numpy as jnp

from optchain.core.numbers import Decay, Positive, Rate
from optchain.core.schedule import schedule
from optchain.schedules.cosine import fall
from optchain.schedules.linear import mix, ramp


@schedule(example={"peak": 0.1, "total": 30})
def one_cycle(
    step,
    peak: Rate,
    total: Positive,
    warmup_fraction: Decay = 0.3,
    div: Positive = 25.0,
    final_div: Positive = 1e4,
):
    r"""Up to the peak and down to almost nothing, both along half a cosine.

    .. math::
        \eta_t = \begin{cases}
        \eta + \tfrac{1}{2} (\eta / d - \eta) (1 + \cos(\pi t / w)) & t < w = f T \\
        \eta_T + \tfrac{1}{2} (\eta - \eta_T) (1 + \cos(\pi \min((t - w) / (T - w), 1))) & t \ge w
        \end{cases}, \qquad \eta_T = \frac{\eta}{d\, d_T}

    Args:
        peak: :math:`\eta`, reached at step `warmup_fraction * total`, any finite number.
        total: :math:`T`, the step at which the last value is reached, positive; the value is held from there on.
        warmup_fraction: :math:`f`, the part of `total` in which the value rises, in [0, 1).
        div: :math:`d`, the peak over the first value, positive.
        final_div: :math:`d_T`, the first value over the last, positive.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: two phases along a cosine instead of three linear ones, as is usual in practice. The peak
    may lie between two whole steps: optax takes the whole step below it; torch ends its phases one step earlier, at
    `warmup_fraction * total - 1` and `total - 1`.

    References:
        Smith and Topin, 2017. https://arxiv.org/abs/1708.07120

    >>> import optchain as oc
    >>> [round(float(oc.one_cycle(1.0, total=10)(step)), 4) for step in (0, 3, 10)]
    [0.04, 1.0, 0.0]
    """
    warmup = warmup_fraction * total
    first = peak / div
    up = mix(peak, first, fall(ramp(step, warmup)))
    down = mix(first / final_div, peak, fall(ramp(step - warmup, total - warmup)))
    return jnp.where(step < warmup, up, down)
