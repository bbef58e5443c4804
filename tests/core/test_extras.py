"""Extra arguments: a forgotten one is an error at the first step, and so is one that nobody takes."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optchain as oc

P = {"layer": {"query": jnp.ones((2, 2)), "bias": jnp.ones(2)}}
READERS = {
    "polyak_sgd": (oc.polyak_sgd(), "scale_by_polyak", "value"),
    "momo": (oc.momo(), "scale_by_momo", "value"),
    "momo_adam": (oc.momo_adam(), "scale_by_momo_adam", "value"),
    "plateau": (oc.chain(oc.sgd(0.1), oc.scale_on_plateau()), "scale_on_plateau", "value"),
    "guard": (oc.guard(oc.sgd(0.1), max_value=1.0), "guard", "value"),
    "sophia": (oc.sophia(0.1), "scale_by_sophia", "hessian"),
    "adahessian": (oc.adahessian(0.1), "scale_by_adahessian", "hessian"),
    "muon_clip": (oc.muon_clip(0.1, {"*/query": -1}), "clip_qk", "max_logits"),
}
AROUND = {
    "alone": lambda tx: tx,
    "optax.chain": lambda tx: optax.chain(optax.clip(1.0), tx),
    "optax.masked": lambda tx: optax.masked(tx, jax.tree.map(lambda _: True, P)),
    "groups": lambda tx: oc.groups(tx, {"*/bias": {}, "*": {}}),
    "accumulate of guard": lambda tx: oc.accumulate(oc.guard(tx), 1),
    "lookahead": lambda tx: oc.lookahead(tx, 2, 0.5),
    "precision": lambda tx: oc.precision(tx),
}


def stepped(tx, **extra):
    """The shapes of one step under jit: what is refused is refused while tracing."""
    state = jax.eval_shape(tx.init, P)
    return jax.eval_shape(lambda state: oc.apply(tx, P, state, P, **extra), state)


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("name", READERS)
def test_a_forgotten_one_is_an_error_at_the_first_step(name, around):
    tx, owner, needed = READERS[name]
    tx = AROUND[around](tx)
    with pytest.raises(ValueError, match=f"{owner} needs the extra argument `{needed}`, .*{needed}=None"):
        stepped(tx)
    stepped(tx, **{needed: None})


@pytest.mark.parametrize("around", [name for name in AROUND if not name.startswith("optax")])
def test_a_wrong_one_is_an_error_with_the_name_that_is_meant(around):
    tx = AROUND[around](oc.adamw(0.1))
    for wrong, right in (("loss", "value"), ("hesian", "hessian"), ("grad_fun", "grad_fn"), ("wieght", "weight")):
        with pytest.raises(ValueError, match=f"takes no extra argument '{wrong}'; did you mean '{right}'"):
            stepped(tx, **{wrong: jnp.ones(())})


def test_apply_refuses_all_that_nobody_takes_and_update_leaves_them_to_others():
    """A call of `update` may come from a wrapper of optax, where another transformation takes it."""
    tx = oc.adamw(0.1)
    with pytest.raises(ValueError, match="adamw takes no extra argument 'batch'; it reads none"):
        stepped(tx, batch=jnp.ones(()))
    tx.update(P, tx.init(P), P, batch=jnp.ones(()))
    beside = optax.named_chain(("ours", tx), ("theirs", by_the_loss()))
    updates, _ = beside.update(P, beside.init(P), P, loss=jnp.zeros(()))
    assert not any(jnp.any(u) for u in jax.tree.leaves(updates))
    search = optax.chain(oc.sgd(1.0), optax.scale_by_backtracking_linesearch(2))

    def loss(params, weights):
        return weights * sum(jnp.sum(p**2) for p in jax.tree.leaves(params))

    given = {"value": loss(P, 1.0), "grad": P, "value_fn": loss, "weights": 1.0}  # the search calls value_fn with it
    search.update(P, search.init(P), P, **given)
    stepped(oc.chain(oc.sgd(1.0), optax.scale(1.0)), loss=jnp.ones(()))  # optax's link may read it


def by_the_loss():
    """A transformation of somebody else that reads an argument which no technique of ours knows."""

    def update(updates, state, params=None, *, loss, **extra):
        return jax.tree.map(lambda u: u * loss, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def test_what_a_rule_asks_for_is_taken():
    @oc.rule
    class Heated:
        """Multiplies the update by a temperature."""

        extras = ("temperature",)

        def update(self, g, s, p, t, temperature):
            return g if temperature is None else g * temperature, s

    tx = oc.guard(oc.chain(heat=oc.lift(Heated, "heated")()))
    heated, _ = oc.apply(tx, P, tx.init(P), P, temperature=2.0)
    assert heated["layer"]["bias"][0] == 3
    with pytest.raises(ValueError, match="heated needs the extra argument `temperature`: .*; the call gives "):
        tx.update(P, tx.init(P), P, heat=1.0)
    with pytest.raises(ValueError, match="guard takes no extra argument 'temprature'; did you mean 'temperature'"):
        stepped(tx, temprature=1.0)


def test_what_a_loop_gives_to_every_optimizer_is_ignored_where_nobody_reads_it():
    given = {"value": 1.0, "validation": 1.0, "hessian": None, "grad_fn": lambda p: p, "weight": 2.0, "emit": True}
    stepped(oc.sgd(0.1), **given)
