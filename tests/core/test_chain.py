"""Chains: names, order, one step, routing of overrides, metrics."""

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from techniques import TECHNIQUES, build, tree

import optchain as oc


def recipe(lr=0.1, **options):
    return oc.chain(
        clip=oc.clip_by_global_norm(1.0),
        adam=oc.scale_by_adam(b2=0.95),
        decay=oc.add_decayed_weights(0.1, mask=oc.is_matrix),
        lr=oc.scale_by_learning_rate(lr),
        **options,
    )


def test_is_the_chain_of_optax():
    ours, theirs = (
        recipe(),
        optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.scale_by_adam(b2=0.95),
            optax.add_decayed_weights(0.1, mask=lambda p: jax.tree.map(lambda x: x.ndim >= 2, p)),
            optax.scale_by_learning_rate(0.1),
        ),
    )
    params, others = tree(0), tree(0)
    state, their_state = ours.init(params), theirs.init(others)
    for seed in range(1, 20):
        params, state = oc.apply(ours, tree(seed), state, params)
        others, their_state = oc.apply(theirs, tree(seed), their_state, others)
    chex.assert_trees_all_close(params, others, rtol=2e-5, atol=1e-6)


def test_positional_links_are_named_after_their_technique():
    tx = oc.chain(oc.scale_by_adam(), optax.scale_by_belief(), oc.scale_by_adam(), oc.sgd(0.1), lr=oc.scale(-1.0))
    names = [name for name, _ in tx.link.links]
    assert names == ["scale_by_adam", "scale_by_belief", "scale_by_adam_2", "sgd", "lr"]


def test_a_positional_name_makes_way_for_a_given_one():
    assert [name for name, _ in oc.chain(oc.scale(2.0), scale=oc.scale(3.0)).link.links] == ["scale_2", "scale"]


@pytest.mark.parametrize("name", ["Adam", "a.b", "2nd", "", "a-b"])
def test_names_are_checked(name):
    with pytest.raises(ValueError, match="lower-case letters"):
        oc.chain(**{name: oc.scale(1.0)})


def test_links_must_be_transformations():
    with pytest.raises(ValueError, match="link 'adam' is <function.*expected a gradient transformation"):
        oc.chain(adam=oc.scale_by_adam)
    with pytest.raises(ValueError, match="link 'link' is 3"):
        oc.chain(3)


def test_state_is_plain_data_with_the_names_of_the_links():
    state = recipe().init(tree(0))
    assert set(state) == {"step", "links", "metrics"} and set(state["links"]) == {"clip", "adam", "decay", "lr"}
    assert set(state["links"]["adam"]) == {"scale_by_adam"}
    chex.assert_trees_all_equal_shapes(optax.tree.get(state, "mu"), tree(0))


def test_metrics_name_every_number_and_what_links_compute():
    tx, params = recipe(lr=lambda step: 0.1 * 0.5**step), tree(0)
    state = tx.init(params)
    assert oc.metrics(state)["lr.learning_rate"] == np.float32(0.1) and oc.metrics(state)["step"] == 0
    for _ in range(2):
        _, state = tx.update(tree(1), state, params)
    found = oc.metrics(state)
    assert found["step"] == 2 and found["lr.learning_rate"] == np.float32(0.05)
    np.testing.assert_allclose(found["clip.norm"], optax.tree.norm(tree(1)), rtol=1e-6)
    np.testing.assert_allclose(found["clip.scale"], 1 / optax.tree.norm(tree(1)), rtol=1e-6)
    assert set(found) == {
        "step",
        "clip.max_norm",
        "clip.norm",
        "clip.scale",
        "decay.weight_decay",
        "lr.learning_rate",
    } | {f"adam.{name}" for name in ("b1", "b2", "eps", "eps_root")}


def test_watched_links_show_the_norm_that_leaves_them():
    tx, params = recipe(watch=["adam", "lr"]), tree(0)
    updates, state = tx.update(tree(1), tx.init(params), params)
    np.testing.assert_allclose(oc.metrics(state)["lr.out_norm"], optax.tree.norm(updates), rtol=1e-6)
    assert {k for k in oc.metrics(state) if k.endswith("out_norm")} == {"adam.out_norm", "lr.out_norm"}
    assert {k for k in oc.metrics(recipe(watch=True).init(params)) if "out_norm" in k} == {
        f"{name}.out_norm" for name in ("clip", "adam", "decay", "lr")
    }
    with pytest.raises(ValueError, match="no link 'adan'; did you mean 'adam'"):
        recipe(watch=["adan"])


def test_an_override_is_the_number_for_this_step_only():
    params = tree(0)
    tx, low = recipe(), recipe(lr=0.01)
    state = tx.init(params)
    after, state = oc.apply(tx, tree(1), state, params, hyper={"lr.learning_rate": 0.01})
    wanted, _ = oc.apply(low, tree(1), low.init(params), params)
    chex.assert_trees_all_close(after, wanted, rtol=1e-6)
    assert oc.metrics(state)["lr.learning_rate"] == np.float32(0.01)
    _, state = oc.apply(tx, tree(1), state, params)
    assert oc.metrics(state)["lr.learning_rate"] == np.float32(0.1)


def test_an_override_replaces_a_schedule():
    tx = oc.chain(lr=oc.scale_by_learning_rate(lambda step: 0.1 / (step + 1)))
    _, state = tx.update(tree(1), tx.init(tree(0)), hyper={"lr.learning_rate": 7.0})
    assert oc.metrics(state)["lr.learning_rate"] == 7


@pytest.mark.parametrize(
    "wrong, near",
    [("lr.leaning_rate", "lr.learning_rate"), ("adma.b1", "adam.b1"), ("lr", "lr.learning_rate"), ("zz", "adam.b1")],
)
def test_an_unknown_override_is_an_error_that_lists_the_valid(wrong, near):
    tx = recipe()
    with pytest.raises(ValueError, match=f"no number '{wrong}'.*{near}"):
        tx.update(tree(1), tx.init(tree(0)), tree(0), hyper={wrong: 1.0})


def test_nested_chains_route_by_dotted_path_and_read_the_outer_step():
    halving = lambda step: 0.5**step  # noqa: E731
    inner = oc.chain(adam=oc.scale_by_adam(), fade=oc.scale(halving))
    tx = oc.chain(inner=inner, lr=oc.scale_by_learning_rate(0.1))
    params = tree(0)
    state = tx.init(params)
    for _ in range(2):
        _, state = tx.update(tree(1), state, params, hyper={"inner.adam.b1": 0.5})
    found = oc.metrics(state)
    assert found["inner.adam.b1"] == 0.5 and found["inner.fade.step_size"] == 0.5
    assert found["step"] == found["inner.step"] == 2
    _, state = tx.update(tree(1), state, params, step=jnp.asarray(5))
    assert oc.metrics(state)["inner.fade.step_size"] == 0.5**5
    with pytest.raises(ValueError, match="no number 'inner.adam.b3'.*inner.adam.b"):
        tx.update(tree(1), state, params, hyper={"inner.adam.b3": 0.5})


def test_a_rule_counts_its_own_updates_whatever_the_step():
    tx = oc.chain(adam=oc.scale_by_adam())
    first, _ = tx.update(tree(1), tx.init(tree(0)), step=jnp.asarray(1000))
    chex.assert_trees_all_close(first, jax.tree.map(jnp.sign, tree(1)), rtol=1e-4)


def test_inside_foreign_wrappers_names_of_other_chains_pass():
    labels = lambda p: jax.tree.map(lambda x: "matrix" if x.ndim == 2 else "rest", p)  # noqa: E731
    groups = optax.partition({"matrix": recipe(), "rest": oc.chain(rate=oc.scale_by_learning_rate(0.1))}, labels)
    tx = oc.chain(groups=groups, end=oc.scale(1.0))
    params = tree(0)
    _, state = tx.update(
        tree(1), tx.init(params), params, hyper={"groups.lr.learning_rate": 0.5, "groups.rate.learning_rate": 0.25}
    )
    found = oc.metrics(state)
    values = {key.split(".", 1)[1]: float(x) for key, x in found.items() if key.endswith("learning_rate")}
    assert sorted(values.values()) == [0.25, 0.5]
    bare = optax.with_extra_args_support(groups)
    with pytest.raises(ValueError, match="no number 'lr.learning_rate'"):
        bare.update(tree(1), bare.init(params), params, hyper={"lr.learning_rate": 0.5})
    bare.update(tree(1), bare.init(params), params, hyper=oc.Partial({"lr.learning_rate": 0.5}))


def test_metrics_of_chains_side_by_side_have_the_keys_that_lead_to_them():
    tx = optax.partition({"a": oc.sgd(0.1), "b": oc.sgd(0.2)}, {"x": "a", "y": "b"})
    found = oc.metrics(tx.init({"x": jnp.ones(2), "y": jnp.ones(3)}))
    assert found["a.lr.learning_rate"] == np.float32(0.1) and found["b.lr.learning_rate"] == np.float32(0.2)


def test_metrics_of_a_state_without_a_chain_is_an_error():
    with pytest.raises(ValueError, match="holds no chain"):
        oc.metrics(optax.adam(0.1).init(tree(0)))


def test_extra_arguments_reach_the_links_that_take_them():
    seen = []
    spy = optax.GradientTransformationExtraArgs(
        lambda p: (), lambda u, s, p=None, **extra: (seen.append(sorted(extra)), (u, s))[1]
    )
    tx = oc.chain(plain=optax.scale(1.0), spy=spy, nested=oc.chain(spy=spy))
    tx.update(tree(1), tx.init(tree(0)), tree(0), value=3.0)
    assert seen == [["value"]] * 2
    tx.update(tree(1), tx.init(tree(0)), tree(0), step=3)
    assert seen[2:] == [["step"]] * 2


def test_an_optax_link_receives_the_step_where_some_of_optchain_stands_within():
    seen = []

    def around(tx):
        def update(updates, state, params=None, **extra):
            seen.append(sorted(extra))
            return tx.update(updates, state, params, **extra)

        return optax.GradientTransformationExtraArgs(tx.init, update)

    masked = optax.masked(oc.scale(lambda step: 1.0 * step), jax.tree.map(lambda _: True, tree(0)))
    tx = oc.chain(ours=around(masked), theirs=around(optax.scale_by_backtracking_linesearch(2)))
    given = {"value": 1.0, "grad": tree(0), "value_fn": lambda params: optax.tree.norm(params)}
    tx.update(tree(1), tx.init(tree(0)), tree(0), **given)
    assert seen == [["grad", "step", "value", "value_fn"], ["grad", "value", "value_fn"]]


def test_errors_name_the_link():
    tx = oc.chain(one=oc.scale(1.0), two=oc.chain(decay=oc.add_decayed_weights(0.1)))
    with pytest.raises(ValueError, match="reads the parameters") as error:
        tx.update(tree(1), tx.init(tree(0)))
    assert error.value.__notes__ == ["in link 'decay' of chain", "in link 'two' of chain"]


@pytest.mark.parametrize(
    "grads, message",
    [
        ({"w": jnp.ones(3), "v": jnp.ones(2)}, "updates have a leaf 'v' that the parameters lack"),
        ({"w": jnp.ones(4)}, r"leaf 'w' has shape \(4,\) in the updates, \(3,\) in the parameters"),
        ({}, "parameters have a leaf 'w' that the updates lack"),
    ],
)
def test_misaligned_trees_are_reported_by_path(grads, message):
    tx, params = recipe(), {"w": jnp.ones(3)}
    with pytest.raises(ValueError, match=message):
        tx.update(grads, oc.chain(adam=oc.scale_by_adam()).init(params) | tx.init(params), params)


@pytest.mark.parametrize("dtype", [jnp.int32, jnp.complex64, jnp.bool])
def test_leaves_that_are_not_real_floats_are_refused_by_path(dtype):
    params, tx = {"w": jnp.ones(3, dtype)}, oc.chain(adam=oc.scale_by_adam())
    with pytest.raises(ValueError, match=f"leaf 'w' is {jnp.dtype(dtype).name}, expected a real floating dtype"):
        tx.update(params, tx.init(params), params)


def test_a_bfloat16_chain_rounds_once():
    """Between links nothing is rounded: the result is the float32 result, cast."""
    params, grads = tree(0, jnp.bfloat16), tree(1, jnp.bfloat16)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), (params, grads))
    tx = oc.chain(oc.scale_by_adam(), optax.scale_by_belief(), oc.add_decayed_weights(0.1), oc.scale(-0.37))
    updates, _ = tx.update(grads, tx.init(params), params)
    exact, state = tx.update(wide[1], tx.init(wide[0]), wide[0])
    chex.assert_trees_all_equal(updates, jax.tree.map(lambda x: x.astype(jnp.bfloat16), exact))
    after, _ = oc.apply(tx, grads, tx.init(params), params)
    chex.assert_trees_all_equal(after, jax.tree.map(lambda p, u: (p + u).astype(jnp.bfloat16), wide[0], exact))
    assert all(x.dtype != jnp.bfloat16 for x in jax.tree.leaves(tx.init(params)))


def test_checkpoints_leave_metrics_out_so_that_what_is_watched_may_change():
    params = tree(0)
    plain, watching = oc.chain(inner=recipe()), oc.chain(inner=recipe(watch=True), watch=True)
    _, state = plain.update(tree(1), plain.init(params), params)
    saved = flax.serialization.to_bytes(oc.without_metrics(state))
    fresh = watching.init(params)
    again = oc.with_metrics(flax.serialization.from_bytes(oc.without_metrics(fresh), saved), fresh)
    updates, after = watching.update(tree(2), again, params)
    chex.assert_trees_all_equal(updates, plain.update(tree(2), state, params)[0])
    chex.assert_trees_all_equal_structs(after, fresh)


def test_twenty_settings_one_trace_through_hyper_and_through_a_chain_built_inside_jit():
    params, tx = tree(0), recipe()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def through_hyper(lr, b1, decay):
        hyper = {"lr.learning_rate": lr, "adam.b1": b1, "decay.weight_decay": decay}
        return oc.apply(tx, tree(1), tx.init(params), params, hyper=hyper)[0]

    @jax.jit
    @chex.assert_max_traces(n=1)
    def built_inside(lr, b1, decay):
        inside = oc.chain(
            clip=oc.clip_by_global_norm(1.0),
            adam=oc.scale_by_adam(b1, 0.95),
            decay=oc.add_decayed_weights(decay, mask=oc.is_matrix),
            lr=oc.scale_by_learning_rate(lr),
        )
        return oc.apply(inside, tree(1), inside.init(params), params)[0]

    results = []
    for i in range(20):
        setting = 0.001 * 1.3**i, 0.5 + 0.02 * i, 0.01 * i
        results.append(through_hyper(*setting))
        chex.assert_trees_all_close(results[-1], built_inside(*setting), rtol=1e-6)
    kernels = [float(r["kernel"][0, 0]) for r in results]
    assert len(set(kernels)) == 20


def test_a_sweep_is_a_vmap():
    def loss_after(lr):
        tx, params = recipe(lr), tree(0)
        step = lambda carry, _: (oc.apply(tx, carry[0], carry[1], carry[0]), None)  # noqa: E731
        (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), length=10)
        return optax.tree.norm(params)

    rates = jnp.array([0.001, 0.01, 0.1])
    swept = jax.jit(jax.vmap(loss_after))(rates)
    np.testing.assert_allclose(swept, [loss_after(rate) for rate in rates], rtol=1e-5)
    assert jax.grad(loss_after)(0.01) < 0


def test_prints_as_a_table(capsys):
    tx = oc.chain(optax.scale(1.0), recipe(), oc.guard(oc.sparse_update(oc.scale_by_rms())))
    print(tx)
    head, line, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["link", "technique", "hyperparameters", "slots", "bytes/param"] and set(line) == {"-"}
    assert [row.split()[0] for row in rows if not row.startswith(" ")] == [
        "scale",
        "chain.clip",
        "chain.adam",
        "chain.decay",
        "chain.lr",
        "guard",
        "guard",
    ]
    adam = next(row for row in rows if row.startswith("chain.adam"))
    assert "scale_by_adam" in adam and "b1=0.9 b2=0.95 eps=1e-08" in adam and adam.endswith("mu nu  8")
    assert "mask=is_matrix" in next(row for row in rows if "decay" in row)
    assert all(len(row) <= 120 for row in rows)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_every_table_fits_and_names_what_it_shows(name):
    text = str(build(name))
    assert max(map(len, text.splitlines())) <= 120 and "0x" not in text and "Dense(" not in text


def test_apply_takes_any_transformation_of_optax():
    params, tx = tree(0), optax.adam(0.1)
    ours = oc.apply(tx, tree(1), tx.init(params), params, value=1.0)
    updates, state = tx.update(tree(1), tx.init(params), params)
    chex.assert_trees_all_equal(ours, (optax.apply_updates(params, updates), state))
