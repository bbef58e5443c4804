"""States of optax go on in chains of ours: the next steps are those that optax makes."""

import io

import chex
import flax.serialization
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from tiers import one_of_each

import optchain as oc

# Optax computes 1 - b**t in float32, which is off by 1e-5 after six steps of 0.999: one of .9 is compared.
ADAM = {"b1": 0.8, "b2": 0.9}
SCHEDULES = optax.linear_schedule(1e-2, 1e-3, 20), oc.linear(1e-2, 1e-3, 20)
LABELS = {"body": {"kernel": "a", "bias": "b"}, "head": {"kernel": "a"}}
TOLERANCE = 1e-6  # of the largest entry of a leaf


def params_of(seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    return {
        "body": {"kernel": jax.random.normal(keys[0], (4, 3)), "bias": jax.random.normal(keys[1], (3,))},
        "head": {"kernel": jax.random.normal(keys[2], (3, 2))},
    }


def scheduled(made, **links):
    """Links of ours and a scheduled rate."""
    return oc.chain(**{"main": made} | links | {"lr": oc.scale_by_learning_rate(SCHEDULES[1])})


# What optax runs, and what goes on with its state.
OPTAX, OURS = SCHEDULES
PRESETS = {
    "adam": (optax.adam(OPTAX, **ADAM), oc.adam(OURS, **ADAM)),
    "adamw": (optax.adamw(OPTAX, **ADAM, weight_decay=0.1), oc.adamw(OURS, **ADAM, weight_decay=0.1)),
    "sgd": (optax.sgd(OPTAX), oc.sgd(OURS)),
    "momentum": (optax.sgd(OPTAX, momentum=0.9), oc.momentum(OURS)),
    "nesterov": (optax.sgd(0.1, momentum=0.9, nesterov=True), oc.nesterov(0.1)),
    "rmsprop": (optax.rmsprop(OPTAX), oc.rmsprop(OURS)),
    "rmsprop without a count": (optax.rmsprop(0.1), oc.rmsprop(0.1)),
    "rmsprop, debiased": (
        optax.rmsprop(OPTAX, bias_correction=True),
        scheduled(oc.scale_by_rms(0.9, bias_correction=True)),
    ),
    "rmsprop, momentum": (
        optax.rmsprop(OPTAX, momentum=0.9),
        oc.chain(rms=oc.scale_by_rms(), lr=oc.scale_by_learning_rate(OURS), momentum=oc.trace(0.9)),
    ),
    "rmsprop, centered": (optax.rmsprop(OPTAX, centered=True), scheduled(oc.scale_by_stddev())),
    "lion": (optax.lion(OPTAX), oc.lion(OURS)),
    "adafactor": (
        optax.adafactor(OPTAX, min_dim_size_to_factor=3),
        oc.adafactor(OURS, min_dim_size_to_factor=3),
    ),
    "nadam": (optax.nadam(OPTAX, **ADAM), oc.nadam(OURS, **ADAM)),
    "nadamw": (optax.nadamw(OPTAX, **ADAM), oc.nadamw(OURS, **ADAM)),
    "adagrad": (optax.adagrad(0.1), oc.adagrad(0.1)),
    "amsgrad": (optax.amsgrad(OPTAX, **ADAM), oc.amsgrad(OURS, **ADAM)),
    "adabelief": (optax.adabelief(OPTAX, **ADAM), oc.adabelief(OURS, **ADAM)),
    "adamax": (optax.adamax(OPTAX, **ADAM), oc.adamax(OURS, **ADAM)),
    "adamaxw": (optax.adamaxw(OPTAX, **ADAM), oc.adamaxw(OURS, **ADAM)),
    "yogi": (optax.yogi(OPTAX, **ADAM), oc.yogi(OURS, **ADAM)),
    "radam": (optax.radam(OPTAX, **ADAM), oc.radam(OURS, **ADAM)),
    "adadelta": (optax.adadelta(0.1), oc.adadelta(0.1)),
    "novograd": (optax.novograd(OPTAX), oc.novograd(OURS)),
    "signum": (optax.signum(OPTAX), oc.signum(OURS)),
    "lamb": (optax.lamb(OPTAX, **ADAM), oc.lamb(OURS, **ADAM)),
    "lars": (optax.lars(OPTAX), oc.lars(OURS)),
    "optimistic gradient": (optax.optimistic_gradient_descent(0.1), oc.optimistic_gradient_descent(0.1)),
}
MADE = {
    "one transformation": (optax.scale_by_adam(**ADAM), oc.scale_by_adam(**ADAM)),
    "one without a count": (optax.trace(0.9), oc.trace(0.9)),
    "one with other fields": (
        optax.scale_by_factored_rms(min_dim_size_to_factor=3),
        oc.scale_by_factored_rms(min_dim_size_to_factor=3),
    ),
    "a mean": (optax.ema(0.9), oc.ema(0.9)),
    "two of a kind, in the order of steps": (
        optax.chain(optax.trace(0.9), optax.scale(0.5), optax.trace(0.5), optax.scale(-0.1)),
        oc.chain(z=oc.trace(0.9), half=oc.scale(0.5), a=oc.trace(0.5), lr=oc.scale(-0.1)),
    ),
    "a chain in a chain": (
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(OPTAX, **ADAM), optax.trace(0.5)),
        oc.chain(clip=oc.clip_by_global_norm(1.0), adam=oc.adam(OURS, **ADAM), trace=oc.trace(0.5)),
    ),
    "a named chain": (
        optax.named_chain(("first", optax.adam(OPTAX, **ADAM)), ("second", optax.trace(0.5))),
        oc.chain(adam=oc.adam(OURS, **ADAM), trace=oc.trace(0.5)),
    ),
    "a link of optax's stays one": (
        optax.chain(optax.trace(0.5), optax.adam(OPTAX, **ADAM)),
        oc.chain(trace=optax.trace(0.5), adam=oc.scale_by_adam(**ADAM), lr=oc.scale_by_learning_rate(OURS)),
    ),
    "masked": (
        optax.chain(optax.masked(optax.adam(OPTAX, **ADAM), {"body": True, "head": False})),
        oc.chain(adam=oc.scale_by_adam(**ADAM, mask="body/*"), lr=oc.scale_by_learning_rate(OURS, mask="body/*")),
    ),
    "labels of one link": (
        optax.partition({"a": optax.adam(OPTAX, **ADAM), "b": optax.adam(OPTAX, **ADAM)}, LABELS),
        oc.adam(OURS, **ADAM),
    ),
    "labels as groups": (
        optax.multi_transform({"a": optax.adam(OPTAX, **ADAM), "b": optax.sgd(OPTAX, momentum=0.9)}, LABELS),
        oc.groups(oc.adam(OURS, **ADAM), {"*/bias": oc.momentum(OURS), "*": {}}),
    ),
    "a frozen label": (
        optax.partition({"a": optax.adam(OPTAX, **ADAM), "b": optax.set_to_zero()}, LABELS),
        oc.groups(oc.adam(OURS, **ADAM), {"*/bias": oc.FROZEN, "*": {}}),
    ),
    "inject_hyperparams": (
        optax.inject_hyperparams(optax.adam)(learning_rate=OPTAX, **ADAM),
        oc.adam(OURS, **ADAM),
    ),
    "MultiSteps": (optax.MultiSteps(optax.adam(OPTAX, **ADAM), 3), oc.accumulate(oc.adam(OURS, **ADAM), 3)),
    "MultiSteps around a schedule": (optax.MultiSteps(optax.sgd(OPTAX), 3), oc.accumulate(oc.sgd(OURS), 3)),
    "MultiSteps, within which optax goes on": (
        optax.MultiSteps(optax.adam(OPTAX, **ADAM), 3),
        oc.accumulate(optax.adam(OPTAX, **ADAM), 3),
    ),
    "apply_if_finite": (optax.apply_if_finite(optax.adam(OPTAX, **ADAM), 3), oc.guard(oc.adam(OURS, **ADAM))),
    "all at once": (
        optax.MultiSteps(
            optax.chain(
                optax.clip_by_global_norm(1.0),
                optax.apply_if_finite(optax.inject_hyperparams(optax.adamw)(OPTAX, **ADAM, weight_decay=0.1), 3),
            ),
            2,
        ),
        oc.accumulate(
            oc.chain(clip=oc.clip_by_global_norm(1.0), adamw=oc.guard(oc.adamw(OURS, **ADAM, weight_decay=0.1))), 2
        ),
    ),
}
CASES = PRESETS | MADE
MANY_KINDS = ("adafactor", "two of a kind, in the order of steps", "labels as groups", "all at once")


def trained(tx, steps=3):
    """Parameters and state after some steps of optax."""
    params = params_of()
    state = tx.init(params)
    for seed in range(1, steps + 1):
        updates, state = tx.update(params_of(seed), state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def require_same_steps(old, new, params, state, migrated, steps=2):
    """The next updates of both, on the parameters of optax."""
    for seed in range(10, 10 + steps):
        expected, state = old.update(params_of(seed), state, params)
        updates, migrated = new.update(params_of(seed), migrated, params)
        for x, y in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
            assert np.abs(x - y).max() <= TOLERANCE * np.abs(y).max()
        params = optax.apply_updates(params, expected)
    return expected


@pytest.mark.parametrize("name", one_of_each(CASES, lambda name: name if name in MANY_KINDS else None))
def test_the_next_steps_are_those_of_optax(name):
    old, new = CASES[name]
    params, state = trained(old)
    migrated, report = oc.migrate_state(state, new, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(migrated, new.init(params))
    require_same_steps(old, new, params, state, migrated, steps=4 if "MultiSteps" in name else 2)
    assert not report.dropped, str(report)


def test_a_long_run_of_adam_continues_closer_than_optax_itself():
    """After 300 steps of the default decays: float32 makes `0.999**t` of optax wrong by 5e-6."""
    old, new, params = optax.adam(1e-2), oc.adam(1e-2), params_of()

    def step(state, seed):
        return old.update(jax.tree.map(lambda p: p + jnp.sin(seed), params), state, params)[1], None

    state = jax.jit(lambda: jax.lax.scan(step, old.init(params), jnp.arange(300.0))[0])()
    migrated, report = oc.migrate_state(state, new, params)
    assert report.kept == ("(chain)", "adam", "lr") and migrated["step"] == 300
    updates, _ = new.update(params, migrated, params)
    for g, mu, nu, u in zip(*map(jax.tree.leaves, (params, state[0].mu, state[0].nu, updates)), strict=True):
        g, mu, nu = (np.asarray(x, np.float64) for x in (g, mu, nu))
        mean = (0.9 * mu + 0.1 * g) / (1 - 0.9**301)
        mean_square = (0.999 * nu + 0.001 * g**2) / (1 - 0.999**301)
        np.testing.assert_allclose(u, -1e-2 * mean / (np.sqrt(mean_square) + 1e-8), rtol=1e-6)


def test_a_mean_in_bfloat16_is_widened():
    params, state = trained(optax.adam(0.1, mu_dtype=jnp.bfloat16))
    migrated, _ = oc.migrate_state(state, oc.adam(0.1), params)
    mu = migrated["links"]["adam"]["scale_by_adam"]["mu"]
    chex.assert_trees_all_equal(mu, jax.tree.map(lambda x: x.astype(jnp.float32), state[0].mu))


def unboxed(state):
    """As Orbax restores it without a target: named tuples as tables of their fields, tuples as lists."""
    if isinstance(state, tuple) and hasattr(state, "_fields"):
        return {name: unboxed(x) for name, x in state._asdict().items()} or None
    return [unboxed(x) for x in state] if isinstance(state, tuple) else state


def through_npz(state):
    file = io.BytesIO()
    np.savez(file, **{jax.tree_util.keystr(path): x for path, x in jax.tree.leaves_with_path(state)})
    file.seek(0)
    with np.load(file) as arrays:
        return dict(arrays)


FORMATS = {
    "unboxed": unboxed,
    "msgpack": lambda state: flax.serialization.msgpack_restore(flax.serialization.to_bytes(state)),
    "npz": through_npz,
    **{
        f"joined by {separator}": lambda state, separator=separator: {
            jax.tree_util.keystr(path, simple=True, separator=separator): x
            for path, x in jax.tree.leaves_with_path(state)
        }
        for separator in "/."
    },
}


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_format_of_a_checkpoint_is_read(fmt):
    old, new = CASES["all at once"]
    params, state = trained(old)
    expected, report = oc.migrate_state(state, new, params)
    migrated, same = oc.migrate_state(FORMATS[fmt](state), new, params)
    chex.assert_trees_all_equal(migrated, expected)
    assert same == report


def test_the_state_of_an_nnx_optimizer_is_read():
    class Model(nnx.Module):
        def __init__(self):
            self.dense = nnx.Linear(4, 3, rngs=nnx.Rngs(0))

    model = Model()
    optimizer = nnx.Optimizer(model, optax.adamw(0.1), wrt=nnx.Param)
    optimizer.update(model, jax.tree.map(jnp.ones_like, nnx.state(model, nnx.Param)))
    params = nnx.state(model, nnx.Param)
    migrated, report = oc.migrate_state(nnx.state(optimizer)["opt_state"], oc.adamw(0.1), params)
    assert report.kept == ("(chain)", "adam", "decay", "lr") and not report.created
    mu = migrated["links"]["adam"]["scale_by_adam"]["mu"]
    assert all(np.allclose(x, 0.1) for x in jax.tree.leaves(mu))


def test_names_joined_in_our_own_states_are_read_whole_or_in_part():
    tx, params = oc.adamw(0.1), params_of()
    _, state = tx.update(params, tx.init(params), params)
    state = oc.without_metrics(state)
    for separator in "/.":
        joined = FORMATS[f"joined by {separator}"](state)
        migrated, report = oc.migrate_state(joined, tx, params)
        assert not report.changed
        chex.assert_trees_all_equal(oc.without_metrics(migrated), state)
    flat = {"body/kernel": params["body"]["kernel"], "body/bias": params["body"]["bias"], "head": params["head"]}
    _, state = tx.update(flat, tx.init(flat), flat)
    migrated, report = oc.migrate_state(state, tx, params)
    assert not report.changed
    mu = migrated["links"]["adam"]["scale_by_adam"]["mu"]["body"]["kernel"]
    np.testing.assert_array_equal(mu, state["links"]["adam"]["scale_by_adam"]["mu"]["body/kernel"])


SAID = optax.chain(optax.trace(0.9), optax.trace(0.5)), oc.chain(fast=oc.trace(0.9), slow=oc.trace(0.5))


def test_which_link_continues_what_may_be_said_by_position():
    params, state = trained(SAID[0])
    migrated, report = oc.migrate_state(state, SAID[1], params, renames={"0": "slow", "1": "fast"})
    chex.assert_trees_all_equal(migrated["links"]["slow"]["trace"]["trace"], state[0].trace)
    chex.assert_trees_all_equal(migrated["links"]["fast"]["trace"]["trace"], state[1].trace)
    assert set(report.renamed) == {("0", "slow"), ("1", "fast")}
    migrated, report = oc.migrate_state(state, SAID[1], params, renames={"0": None, "1": "fast"})
    assert report.dropped == ("0",) and "slow" in report.created
    chex.assert_trees_all_equal(migrated["links"]["fast"]["trace"]["trace"], state[1].trace)


def test_a_state_may_go_on_within_a_chain():
    params, state = trained(optax.adam(OPTAX, **ADAM))
    new = oc.chain(clip=oc.clip_by_global_norm(1.0), adam=oc.adam(OURS, **ADAM))
    migrated, report = oc.migrate_state(state, new, params, renames={"": "adam"})
    chex.assert_trees_all_equal(migrated["links"]["adam"]["links"]["adam"]["scale_by_adam"]["mu"], state[0].mu)
    assert migrated["step"] == 3
    inside = oc.chain(clip=oc.clip_by_global_norm(1.0), adam=optax.adam(OPTAX, **ADAM))
    _, state = inside.update(params, inside.init(params), params)
    migrated, report = oc.migrate_state(state, new, params)
    chex.assert_trees_all_equal(
        migrated["links"]["adam"]["links"]["adam"]["scale_by_adam"]["mu"], state["links"]["adam"][0].mu
    )


def test_numbers_that_were_set_in_the_state_are_reported():
    params, state = trained(optax.inject_hyperparams(optax.adam)(learning_rate=0.1, **ADAM))
    state.hyperparams["learning_rate"] = jnp.asarray(0.05)
    _, report = oc.migrate_state(state, oc.adam(0.1, **ADAM), params)
    assert report.dropped == ("hyperparams.learning_rate",)
    assert not oc.migrate_state(state, oc.adam(0.05, **ADAM), params)[1].dropped


def labelled():
    """A partition of which one label has made one step fewer."""
    tx = optax.partition({"a": optax.adam(0.1), "b": optax.adam(0.1)}, LABELS)
    _, state = trained(tx)
    first = state.inner_states["a"].inner_state[0]
    late = state.inner_states["a"]._replace(
        inner_state=(first._replace(count=first.count - 1), *state.inner_states["a"].inner_state[1:])
    )
    return optax.transforms.PartitionState({**state.inner_states, "a": late})


# state, new chain, renames, and the error
REFUSED = {
    "another technique": (
        lambda: trained(optax.lion(0.1))[1],
        lambda: oc.adam(0.1),
        {},
        r"'0' of optax \(count, mu\) has no counterpart in the new chain; .*renames=\{'0': 'the link'\}.*\{'0': None\}",
    ),
    "a part that would be lost": (
        lambda: trained(optax.sgd(0.1, momentum=0.9))[1],
        lambda: oc.sgd(0.1),
        {},
        r"'0' of optax \(trace\) has no counterpart",
    ),
    "another algorithm": (
        lambda: trained(optax.adan(0.1))[1],
        lambda: oc.adan(0.1),
        {},
        r"'0' of optax \(g, m, n, t, v\) has no counterpart",
    ),
    "one for two": (
        lambda: trained(optax.sgd(0.1, momentum=0.9))[1],
        lambda: SAID[1],
        {},
        r"'0' of optax \(trace\) may continue as 'fast' or 'slow'; say which, renames=\{'0': 'fast'\}",
    ),
    "counted differently": (
        labelled,
        lambda: oc.adam(0.1),
        {},
        "parts of 'adam' counted 2 and 3 steps, which has one count for all parameters",
    ),
    "no arrays": (lambda: trained(optax.sgd(0.1))[1], lambda: oc.sgd(0.1), {}, "the old state holds no arrays"),
    "said to be what it is not": (
        lambda: trained(optax.lion(0.1))[1],
        lambda: oc.adam(0.1),
        {"0": "adam"},
        "'adam' held count, mu and is to hold count, mu, nu, seen: another technique",
    ),
    "all dropped": (
        lambda: trained(optax.lion(0.1))[1],
        lambda: oc.adam(0.1),
        {"1": None},
        "no link '1'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_be_lost_or_is_unclear_is_an_error(name):
    make, new, renames, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"(?s)migrate_state: .*{message}"):
        oc.migrate_state(make(), new(), params_of(), renames)


@pytest.mark.full
def test_lbfgs_and_its_line_search_continue():
    def loss(params):
        return sum(
            jnp.sum((x - 1) ** 2 * jnp.arange(1.0, x.size + 1).reshape(x.shape)) for x in jax.tree.leaves(params)
        )

    @jax.jit
    def step(state, params):
        value, grads = jax.value_and_grad(loss)(params)
        return old.update(grads, state, params, value=value, grad=grads, value_fn=loss)

    old, new, params = optax.lbfgs(), oc.lbfgs(), {"a": jnp.zeros(3), "b": jnp.zeros((2, 2))}
    state = old.init(params)
    for _ in range(3):
        updates, state = step(state, params)
        params = optax.apply_updates(params, updates)
    migrated, report = oc.migrate_state(state, new, params)
    assert {"lbfgs", "search"} <= set(report.kept) and not report.dropped
    value, grads = jax.value_and_grad(loss)(params)
    updates, _ = new.update(grads, migrated, params, value=value, grad=grads, value_fn=loss)
    chex.assert_trees_all_close(updates, step(state, params)[0], rtol=1e-5)
