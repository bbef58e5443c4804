"""What of the privacy of those behind the data is spent, by the accountant of the package dp-accounting."""

import importlib

# Of Renyi's divergence. Below 2 the sums of the accountant converge slowly, for no epsilon of use.
ORDERS = [*(2 + i / 10 for i in range(80)), *range(10, 64), 80, 96, 128, 256, 512, 1024]


def privacy_spent(
    noise_multiplier: float, *, sampled: int, of: int, steps: int, delta: float, poisson: bool = False
) -> float:
    r"""Epsilon: a bound on what steps with noise tell of each one client, or example, at a given delta.

    After steps with `client_private_mean`, each by the updates of `sampled` of all clients, no outcome is more than
    :math:`e^\varepsilon` times as likely with the data of one client as with other data in its place, except with a
    probability of :math:`\delta`. With `differentially_private_aggregate` the same holds for examples, if each batch is
    drawn from all of them, not in epochs. The bound is by Renyi differential privacy.

    Args:
        noise_multiplier: of the technique, the deviation of the noise over the bound on norms, > 0.
        sampled: how many take part in a step; with `poisson` on average.
        of: how many there are, from whom they are drawn again for each step.
        steps: how many.
        delta: in (0, 1), far below 1 / `of`.
        poisson: each is drawn by itself, with the probability `sampled` / `of`; the technique must then divide by the
            expected number (`clients` or `batch_size`). It hides whether a client has taken part at all, which changes
            a sum of clipped updates by the bound. Otherwise the same number is drawn each time, without replacement: it
            hides which data a client has, and other data change the sum by up to twice the bound.

    Raises:
        ImportError: the package is not installed.
        ValueError: numbers out of their ranges.

    References:
        Mironov et al., 2019. https://arxiv.org/abs/1908.10530
        Wang et al., 2018, Theorem 27. https://arxiv.org/abs/1808.00087
    """
    noise = noise_multiplier
    if not noise > 0 or not 0 < delta < 1 or not 1 <= sampled <= of or steps < 0:
        found = f"noise_multiplier = {noise}, sampled = {sampled}, of = {of}, steps = {steps}, delta = {delta}"
        expected = "noise_multiplier > 0, sampled from 1 to of, steps from 0 on, delta in (0, 1)"
        raise ValueError(f"privacy_spent: got {found}; expected {expected}")
    try:
        dp_accounting = importlib.import_module("dp_accounting")
    except ImportError as error:
        cure = "pip install 'optchain[privacy]'"
        raise ImportError(f"privacy_spent needs the package dp-accounting: {cure}") from error
    if steps == 0:
        return 0.0
    relations = dp_accounting.NeighboringRelation
    if poisson:
        relation = relations.ADD_OR_REMOVE_ONE
        one = dp_accounting.PoissonSampledDpEvent(sampled / of, dp_accounting.GaussianDpEvent(noise))
    else:
        # Over the most by which the sum changes: from an update to the opposite one.
        relation, hidden = relations.REPLACE_ONE, dp_accounting.GaussianDpEvent(noise / 2)
        one = dp_accounting.SampledWithoutReplacementDpEvent(of, sampled, hidden)
    accountant = dp_accounting.rdp.RdpAccountant(ORDERS, relation)
    return float(accountant.compose(dp_accounting.SelfComposedDpEvent(one, steps)).get_epsilon(delta))
