"""The constant schedule."""

from optchain.core.numbers import Rate
from optchain.core.schedule import schedule


@schedule(example={"value": 0.1})
def constant(step, value: Rate):
    r"""The same value at every step.

    .. math::
        \eta_t = \eta

    Args:
        value: :math:`\eta`, any finite number.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> float(oc.constant(0.5)(1000))
    0.5
    """
    return value
