"""What a step costs by the compiler's own counts, which do not depend on the machine's load."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from tiers import one_of_each

import optchain as oc
from experiments.benchmarks import trees
from experiments.benchmarks.counts import chained, count, counts, donated, floor, plain
from experiments.benchmarks.twins import LINE_SEARCHES, pairs, techniques

TREES = {"leaf": trees.leaf(2**20), "tree": trees.gpt(layers=2, width=256, vocabulary=512, context=64)}

# XLA:CPU makes one pass for each result, and a pass reads again what another one has read. Measured bytes for each
# parameter, over the floor, where they exceed it by more than 1.45.
ABOVE_FLOOR = dict.fromkeys(
    # Of the passes of two slots and the parameter, one reads two new slots or the gradient besides.
    ["scale_by_stddev", "scale_by_nadam", "nadam", "nadamw", "scale_by_belief", "adabelief", "scale_by_rprop", "rprop"]
    + ["scale_by_simplified_ademamix", "simplified_ademamix"],
    44 / 28,
)
ABOVE_FLOOR |= dict.fromkeys(["scale_by_adadelta", "adadelta"], 48 / 28)  # two of them do
ABOVE_FLOOR |= dict.fromkeys(["scale_by_ademamix", "ademamix"], 56 / 36)  # the parameter's pass reads three new slots
ABOVE_FLOOR |= dict.fromkeys(["scale_by_adan", "adan"], 80 / 44)
ABOVE_FLOOR |= dict.fromkeys(["scale_by_optimistic_gradient", "optimistic_gradient_descent"], 32 / 20)
ABOVE_FLOOR |= {"reduce_variance": 32 / 20}
ABOVE_FLOOR |= dict.fromkeys(["scale_by_acprop", "acprop"], 52 / 28)

# Bytes for each parameter: the last gradient is read by others than the pass that overwrites it, so XLA copies it.
COPIED = dict.fromkeys(["scale_by_adan", "adan", "scale_by_optimistic_gradient", "optimistic_gradient_descent"], 4)
COPIED |= dict.fromkeys(["reduce_variance"], 4)
COPIED |= dict.fromkeys(["scale_by_acprop", "acprop"], 4)  # it divides by the old mean square
# Its sum z reads the old parameter and the old sum of squares, while the parameter is made of the new ones.
ABOVE_FLOOR |= {"ftrl": 72 / 28}
COPIED |= {"ftrl": 8}
# The reward and the parameter read each other's old value, for XLA computes the reward again in the parameter's pass.
ABOVE_FLOOR |= {"scale_by_cocob": 104 / 52, "cocob": 116 / 52}
COPIED |= {"scale_by_cocob": 6, "cocob": 6}

PARTIAL_SUMS = 0.04  # bytes for each parameter of a small tree: XLA adds a norm's squares in windows, in float64


def rules(link: Any) -> list[Any]:
    """The rules of a link, or of all links of a chain."""
    if hasattr(link, "links"):
        return [found for _, tx in link.links for found in rules(tx.link)]
    return [link.rule] if hasattr(link, "rule") else []


def elementwise() -> list[Any]:
    """All exported techniques and presets whose rules look at no other entry."""
    found = []
    for name, technique in techniques():
        tx = technique.make(**technique.example)
        if name not in LINE_SEARCHES and rules(tx.link) and all(rule.core_ndim == 0 for rule in rules(tx.link)):
            found.append(pytest.param(name, tx, id=name))
    return found


def clipped_adamw(clip: bool = True, **numbers: Any) -> Any:
    links = {"clip": oc.clip_by_global_norm(1.0)} if clip else {}
    return oc.chain(
        **links,
        adam=oc.scale_by_adam(b1=numbers.get("b1", 0.9)),
        decay=oc.add_decayed_weights(1e-4),
        lr=oc.scale_by_learning_rate(numbers.get("learning_rate", 1e-3)),
    )


@pytest.mark.parametrize("tree", one_of_each(TREES))
@pytest.mark.parametrize("name,tx", elementwise())
def test_an_elementwise_technique_reads_and_writes_hardly_more_than_it_must(name, tx, tree):
    params = TREES[tree]
    found = count(chained(tx), tx, params)
    assert found.temporary <= COPIED.get(name, 0) + (0.02 if tree == "tree" else 0.001)
    assert found.accessed <= max(1.45, ABOVE_FLOOR.get(name, 0)) * floor(tx, params) + 0.01


@pytest.mark.parametrize("name,ours,theirs", [pytest.param(*pair, id=pair[0]) for pair in pairs()])
def test_no_technique_moves_more_bytes_than_its_twin_in_optax(name, ours, theirs):
    params = TREES["leaf"]
    own, twin = count(chained(ours), ours, params), count(plain(theirs), theirs, params)
    assert own.accessed <= twin.accessed + 0.01
    assert own.temporary <= twin.temporary + 0.001


@pytest.mark.parametrize("tree", TREES)
def test_clipped_adamw_meets_its_goals(tree):
    tx = clipped_adamw()
    found = count(chained(tx), tx, TREES[tree])
    assert found.accessed <= 44.5
    assert found.temporary <= (PARTIAL_SUMS if tree == "tree" else 0.001)


@pytest.mark.parametrize("make", [oc.clip_by_global_norm, oc.clip_by_leaf_norm])
@pytest.mark.parametrize("tree", TREES)
def test_a_norm_clip_costs_one_more_reading_of_the_gradient(make, tree):
    tx = make(1.0)
    found = count(chained(tx), tx, TREES[tree])
    assert found.accessed <= 16.1
    assert found.temporary <= (PARTIAL_SUMS if tree == "tree" else 0.001)


ONE_MORE_READING = {  # of the gradient, and of the parameter where the law reads it: bytes for each parameter
    "adagc": (oc.clip_by_adagc(), 16.1),
    "zscore": (oc.clip_by_zscore(), 16.1),
    "centralize": (oc.centralize(), 16.1),
    "agc": (oc.adaptive_grad_clip(0.01), 20.1),
    "trust ratio": (oc.scale_by_trust_ratio(), 20.1),
    "fromage": (oc.fromage(0.01), 20.1),
    "floor": (oc.floor_update_ratio(0.1), 20.1),
    "norm": (oc.keep_params_norm(), 20.1),
    "max norm": (oc.keep_params_max_norm(1.0), 20.1),
}


@pytest.mark.parametrize("name", ONE_MORE_READING)
def test_what_scales_a_leaf_by_its_norms_stores_no_second_leaf(name):
    tx, accessed = ONE_MORE_READING[name]
    found = count(chained(tx), tx, {"w": jnp.ones((1024, 1024))})
    assert found.accessed <= accessed
    assert found.temporary <= 0.02


def test_metrics_cost_some_scalars_and_watching_a_norm_costs_a_pass():
    params, tx = TREES["leaf"], clipped_adamw()

    def silent(params, state, grads):
        params, state = oc.apply(tx, grads, oc.with_metrics(state, tx.init(params)), params)
        return params, oc.without_metrics(state)

    state = oc.without_metrics(jax.eval_shape(tx.init, params))
    without = donated(silent).lower(params, state, params).compile().cost_analysis()["bytes accessed"]
    default = count(chained(tx), tx, params).accessed * trees.size(params)
    assert without < default <= without + 200

    watched = oc.chain(watch=["adam"], **dict(tx.link.links))
    assert count(chained(watched), watched, params).accessed * trees.size(params) >= default + 4 * trees.size(params)


def test_a_chain_makes_as_many_passes_as_a_hand_written_function():
    params = TREES["leaf"]

    def adamw(params, state, grads):
        p, g, (mu, nu, t) = params["w"], grads["w"], state
        t, mu, nu = t + 1, 0.9 * mu + 0.1 * g, 0.999 * nu + 0.001 * g**2
        u = mu / (1 - 0.9**t) / (jnp.sqrt(nu / (1 - 0.999**t)) + 1e-8) + 1e-4 * p
        return {"w": p - 1e-3 * u}, (mu, nu, t)

    by_hand = optax.GradientTransformation(
        lambda params: (jnp.zeros_like(params["w"]), jnp.zeros_like(params["w"]), jnp.zeros(())),
        optax.identity().update,
    )
    written, tx = count(adamw, by_hand, params), clipped_adamw(clip=False)
    found = count(chained(tx), tx, params)
    assert written.passes == 3
    assert found.passes == written.passes
    assert found.accessed == pytest.approx(written.accessed, abs=0.01)


@pytest.mark.full
@pytest.mark.parametrize("tree", TREES)
def test_sparing_the_code_generator_hardly_changes_the_counts(tree):
    """The flags of these tests leave the passes that decide what is counted, but for sums over many leaves."""
    tx, params = oc.guard(clipped_adamw()), TREES[tree]
    lowered = donated(chained(tx)).lower(params, jax.eval_shape(tx.init, params), params)
    optimizing = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}
    spared, full = (counts(lowered.compile(options), params) for options in (None, optimizing))
    assert spared.accessed == pytest.approx(full.accessed, rel=1e-3)
    assert (spared.temporary, spared.passes) == (full.temporary, full.passes)


def test_overriding_numbers_traces_once():
    tx, params = clipped_adamw(), {"w": jnp.ones(8)}

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(params, state, rate, b1):
        return oc.apply(tx, params, state, params, hyper={"lr.learning_rate": rate, "adam.b1": b1})

    state = tx.init(params)
    for i in range(20):
        params, state = step(params, state, 1e-3 * i, 0.04 * i)
        chex.assert_trees_all_close(oc.metrics(state)["lr.learning_rate"], jnp.float32(1e-3 * i))


def test_a_chain_built_from_traced_numbers_traces_once():
    params = {"w": jnp.ones(8)}

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(params, state, rate, b1):
        return oc.apply(clipped_adamw(learning_rate=rate, b1=b1), params, state, params)

    state = clipped_adamw().init(params)
    for i in range(20):
        params, state = step(params, state, 1e-3 * i, 0.04 * i)
        chex.assert_trees_all_close(oc.metrics(state)["adam.b1"], jnp.float32(0.04 * i))


def test_donating_in_another_order_than_that_of_the_results_copies_every_slot():
    params, tx = TREES["leaf"], oc.adamw(1e-3)
    step = functools.partial(oc.apply, tx)
    compiled = jax.jit(step, donate_argnums=(1, 2)).lower(params, jax.eval_shape(tx.init, params), params).compile()
    assert compiled.memory_analysis().temp_size_in_bytes >= 4 * trees.size(params)
    assert count(chained(tx), tx, params).temporary < 0.001


WRAPPED = {  # bytes accessed and temporary for each parameter; bare AdamW accesses 40
    "guard": (lambda tx: oc.guard(tx), 44.1, 0),
    "guard of outputs": (lambda tx: oc.guard(tx, check_outputs=True), 62.2, 1.01),
    "accumulation": (lambda tx: oc.accumulate(tx, 4), 56.1, 0),
    "accumulation of a guard": (lambda tx: oc.accumulate(oc.guard(tx), 4), 60.2, 0),
}


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_store_no_second_tree(name, tree):
    wrap, accessed, temporary = WRAPPED[name]
    tx = wrap(oc.adamw(1e-3))
    found = count(chained(tx), tx, TREES[tree])
    assert found.accessed <= accessed
    assert found.temporary <= temporary + PARTIAL_SUMS
