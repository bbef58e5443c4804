"""What a user may do wrong, or do right in an unusual way."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.core import freeze
from techniques import RULES, own

import optchain as oc

N = {"n": jnp.ones(2, jnp.int32)}
P = {"w": jnp.ones((4, 3)), "b": jnp.zeros(3)}
G = jax.tree.map(jnp.ones_like, P)


def recipe(lr=0.1):
    return oc.chain(clip=oc.clip_by_global_norm(1.0), adam=oc.scale_by_adam(), lr=oc.scale_by_learning_rate(lr))


def test_a_donated_state_does_not_take_the_users_number_along():
    lr = jnp.float32(0.1)
    tx = oc.chain(one=oc.scale(lr), two=oc.scale_by_learning_rate(lr))
    step = jax.jit(lambda state, params: oc.apply(tx, G, state, params), donate_argnums=(0,))
    step(tx.init(P), P)
    assert not lr.is_deleted()
    tx.update(G, tx.init(P), P)


def test_equal_is_not_unequal():
    assert oc.adam(1e-3) == oc.adam(1e-3) and not oc.adam(1e-3) != oc.adam(1e-3) and oc.adam(1e-3) != oc.adam(1e-2)


def test_overrides_pass_through_multi_steps():
    tx = optax.MultiSteps(recipe(), 1)
    _, state = oc.apply(tx, G, tx.init(P), P, hyper={"lr.learning_rate": 0.7})
    assert oc.metrics(state)["lr.learning_rate"] == np.float32(0.7)
    tx = oc.chain(acc=optax.MultiSteps(recipe(), 1))
    _, state = oc.apply(tx, G, tx.init(P), P, hyper={"acc.lr.learning_rate": 0.7})
    assert oc.metrics(state)["acc.lr.learning_rate"] == np.float32(0.7)


@pytest.mark.parametrize(
    "link, name, near",
    [
        (
            optax.partition({"a": oc.sgd(0.1), "b": oc.sgd(0.2)}, {"w": "a", "b": "b"}),
            "a.lr.learning_rate",
            "x.lr.learn",
        ),
        (optax.adam(0.1), "learning_rate", "there are none"),
        (optax.masked(oc.adam(0.1), True), "lr.learning_rat", "x.lr.learning_rate"),
    ],
)
def test_an_override_that_no_chain_in_a_wrapper_has_is_an_error(link, name, near):
    tx = oc.chain(x=link)
    with pytest.raises(ValueError, match=f"no number 'x.{name}'; .*{near}"):
        tx.update(G, tx.init(P), P, hyper={f"x.{name}": 0.5})


def test_partial_overrides_let_an_outermost_partition_skip_groups_without_the_name():
    tx = optax.partition({"a": oc.adam(0.1), "b": oc.sgd(0.2)}, {"w": "a", "b": "b"})
    _, state = oc.apply(tx, G, tx.init(P), P, hyper=oc.Partial({"adam.b1": 0.5}))
    assert oc.metrics(state)["a.adam.b1"] == 0.5


@pytest.mark.parametrize("value", [5.0, "0.1", True, None, np.ones(3), [0.1]])
def test_overrides_are_checked_as_constants_are(value):
    tx = recipe()
    with pytest.raises(ValueError, match=r"scale_by_adam: b1 must (lie|be a scalar) in \[0, 1\)"):
        tx.update(G, tx.init(P), P, hyper={"adam.b1": value})


def test_numbers_are_scalars_when_traced_and_when_scheduled():
    tx = recipe()
    with pytest.raises(
        ValueError, match=r"scale_by_learning_rate: learning_rate must be a scalar, got the shape \(3,\)"
    ):
        jax.jit(lambda lr: tx.update(G, tx.init(P), P, hyper={"lr.learning_rate": lr}))(jnp.ones(3))
    with pytest.raises(ValueError, match="must be a scalar"):
        recipe(lr=lambda step: jnp.ones(3)).init(P)


def test_no_override_at_all():
    tx = recipe()
    tx.update(G, tx.init(P), P, hyper=None)


def test_metrics_of_chains_in_a_tuple_have_their_index():
    found = oc.metrics(optax.chain(oc.chain(a=oc.scale(1.0)), oc.chain(a=oc.scale(2.0))).init(P))
    assert found["0.a.step_size"] == 1 and found["1.a.step_size"] == 2


def test_parameters_may_have_the_names_of_state():
    odd = {name: jnp.ones(3) for name in ("step", "links", "metrics", "count", "average")}
    tx = oc.chain(adam=oc.scale_by_adam())
    state = tx.init(odd)
    assert "adam.b1" in oc.metrics(state) and oc.averaged_params(state) is None
    assert set(oc.without_metrics(state)["links"]["adam"]["scale_by_adam"]["mu"]) == set(odd)
    pair = {"count": jnp.ones(3), "average": jnp.ones(3)}
    assert oc.averaged_params(tx.init(pair)) is None


def test_a_mask_tree_is_matched_by_path_in_any_container():
    mask = {"w": True, "b": False}
    parts = optax.partition({"a": oc.adamw(0.1, mask=mask), "z": optax.set_to_zero()}, {"w": "a", "b": "z"})
    parts.update(G, parts.init(P), P)
    frozen = freeze({"d": P})
    tx = oc.add_decayed_weights(0.1, mask={"d": mask})
    updates, _ = tx.update(frozen, tx.init(frozen), frozen)
    assert updates["d"]["w"][0, 0] == np.float32(1.1) and updates["d"]["b"][0] == 0


def test_a_mask_tree_made_from_an_nnx_state():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    mask = jax.tree.map(lambda p: p.ndim > 1, nnx.state(model, nnx.Param))
    optimizer = nnx.Optimizer(model, oc.adamw(0.1, mask=mask), wrt=nnx.Param)
    optimizer.update(model, nnx.grad(lambda model: model(jnp.ones((1, 2))).sum())(model))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: recipe().update(G, P, {}), r"chain: the state is one with .*, expected one with the links \['adam'"),
        (lambda: oc.chain(x=oc.scale(1.0)).update(G, recipe().init(P), P), "the state is .*'adam', 'clip', 'lr'"),
        (
            lambda: oc.scale_by_adam().update(G, oc.trace(0.9).init(P)),
            "scale_by_adam: the state is one with 'trace', expected one with 'scale_by_adam'; create it with",
        ),
        (lambda: oc.adam(lr=1e-3), "adam has no argument 'lr'; valid: b1, b2, eps, eps_root, learning_rate"),
        (lambda: oc.adam(), "adam: missing a required argument: 'learning_rate'"),
        (lambda: oc.adamw(0.1, weigth_decay=0.1), "did you mean 'weight_decay'"),
        (lambda: oc.chain(oc.scale(1.0), watch=oc.scale(2.0)), "no link can be called `watch`"),
        (lambda: oc.chain(a=oc.scale(1.0), watch="b"), "watch: no link 'b'; valid: a"),
        (lambda: oc.lift(RULES["scale"], "MyRule"), "'MyRule' is not a valid link name"),
        (lambda: recipe().update(N, recipe().init(N), N), "leaf 'n' is int32.*leave it out with a mask"),
        (lambda: oc.chain(d=oc.add_decayed_weights(0.1, "v")).init(P), "mask 'v' matches no parameter; valid: b, w"),
    ],
)
def test_errors_say_what_was_wrong_and_what_is_right(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize("state", [None, optax.EmptyState(), {}, ()], ids=str)
@pytest.mark.parametrize(
    "tx", [oc.clip_by_global_norm(1.0), recipe(), oc.guard(oc.sgd(0.1)), oc.groups(oc.sgd(0.1), {"*": {}})], ids=str
)
def test_a_state_that_is_none_says_how_to_make_one(tx, state):
    message = "the state is (None|a \\w+|an empty dict), expected one with .*; create it with tx.init\\(params\\)"
    for call in (tx.update, functools.partial(oc.apply, tx)):
        with pytest.raises(ValueError, match=f"{tx.link.name}: {message}"):
            call(G, state, P)


SHAPES = {
    "adam": (oc.adam(0.1), "adam: 'links/adam/scale_by_adam/mu/w'"),
    "a bare technique": (oc.scale_by_adam(), "scale_by_adam: 'scale_by_adam/mu/w'"),
    "of the whole tree": (oc.dog(1.0), "'.*/w'"),
    "rows and columns": (oc.scale_by_came(min_dim_size_to_factor=2), "'.*/w'"),
    "matrices": (oc.scale_by_shampoo(mask="w"), "'scale_by_shampoo/left/w'"),
    "a wrapper": (oc.lookahead(oc.sgd(0.1), 2, 0.5), "lookahead: 'lookahead/slow/w'"),
    "a gate": (oc.accumulate(oc.sgd(0.1), 2), "accumulate: 'accumulate/mean/w'"),
    "an optax link": (oc.chain(x=optax.adam(0.1)), "chain: 'links/x/0/mu/w'"),
}


@pytest.mark.parametrize("shape", [(5, 3), (1, 3)])
@pytest.mark.parametrize("name", SHAPES)
def test_a_state_of_other_shapes_names_the_leaf_and_the_cure(name, shape):
    tx, message = SHAPES[name]
    state = tx.init({"w": jnp.ones(shape), "b": jnp.ones(3)})
    cure = "; carry over what fits with migrate_state, or start again with tx.init\\(params\\)"
    for call in (tx.update, functools.partial(oc.apply, tx), jax.jit(tx.update)):
        with pytest.raises(ValueError, match=f"{message} has .* in the state, but .* for leaf 'w' as it is now{cure}"):
            call(G, state, P)


def test_a_float0_gradient_of_a_leaf_with_slots_is_named():
    grads = jax.grad(lambda p: p["w"].sum(), allow_int=True)({"w": jnp.ones(2), "n": jnp.ones(2, jnp.int32)})
    tx = oc.scale_by_adam()
    with pytest.raises(ValueError, match="the slot 'mu' is held for leaf 'n', which is left out now"):
        tx.update(grads, tx.init({"w": jnp.ones(2), "n": jnp.ones(2)}))


def test_a_number_without_a_range_is_refused_when_the_rule_is_made():
    with pytest.raises(ValueError, match="Loose: annotate b as a number with its range"):

        @oc.rule
        class Loose:
            b: float = 0.9

            def update(self, g, s, p, t):
                return g, s


def test_a_rule_that_forgets_its_slots_is_named():
    @oc.rule
    class Forgetful:
        def update(self, g, s, p, t):
            return g

    tx = oc.lift(Forgetful, "forgetful")()
    with pytest.raises(ValueError, match="forgetful: update must return the update and the slots"):
        tx.update(G, tx.init(P))


@pytest.mark.full
def test_the_sign_of_lion_is_right_for_small_decays():
    g, mu = (np.asarray(jax.random.normal(jax.random.key(i), (100_000,))) for i in range(2))
    for b2 in (1e-6, 1e-4, 1e-2, 0.1, 0.5, 0.99):
        tx = oc.scale_by_lion(b2=b2)
        updates, _ = tx.update(
            jnp.asarray(g), {"scale_by_lion": own(tx.init(jnp.asarray(g))) | {"mu": jnp.asarray(mu)}}
        )
        wanted = np.sign(0.9 * mu.astype(np.float64) + 0.1 * g.astype(np.float64))
        assert np.sum(np.asarray(updates) != wanted) <= 1
