"""What each link did to a parameter, by the numbers of the step itself."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from techniques import TECHNIQUES, build, definition, tree, updated

import optchain as oc
from optchain.inspect.effect import effect, said
from optchain.inspect.laws.steps import every_extra

W = jnp.array([[3.0, -4.0, 0.5], [0.1, 2.0, -1.0]])
PARAMS = {"dense": {"kernel": W, "bias": jnp.array([1.0, -1.0, 0.5])}}
GRADS = jax.tree.map(lambda p: 2 * p + 0.3, PARAMS)


def explained(tx, path="dense/kernel", grads=GRADS, steps=0, **extra):
    state = tx.init(PARAMS)
    for _ in range(steps):
        _, state = tx.update(grads, state, PARAMS, **extra)
    return oc.explain(tx, grads, state, PARAMS, path, **extra)


def did(tx, path="dense/kernel", **extra):
    return {step.link: step.effect.did for step in explained(tx, path, **extra).steps}


def test_each_link_says_what_it_did():
    tx = oc.chain(
        clip=oc.clip_by_global_norm(1.0),
        value=oc.clip(0.3),
        adam=oc.scale_by_adam(),
        decay=oc.add_decayed_weights(0.1, mask="*/kernel"),
        lr=oc.scale_by_learning_rate(0.5),
    )
    norm = float(optax.tree.norm(GRADS))
    found = did(tx)
    assert found["clip"] == f"times {1 / norm:.4g}"
    assert found["value"] == "3 of 6 entries clipped to 0.3"
    assert found["adam"] == "another direction"
    assert found["decay"] == "plus 0.1 times the parameter" and found["lr"] == "times -0.5"
    assert did(tx, "dense/bias")["decay"] == "nothing: its mask leaves dense/bias out"


def test_the_numbers_are_those_of_the_arrays():
    tx = oc.chain(clip=oc.clip(1.0), lr=oc.scale(-0.5))
    found = explained(tx)
    g = np.asarray(GRADS["dense"]["kernel"], np.float64)
    clipped = np.clip(g, -1, 1)
    first, last = (step.effect for step in found.steps)
    assert found.gradient == pytest.approx(np.linalg.norm(g)) and found.parameter == pytest.approx(np.linalg.norm(W))
    assert first.norm == pytest.approx(np.linalg.norm(clipped))
    cosine = (g * clipped).sum() / np.linalg.norm(g) / np.linalg.norm(clipped)
    assert first.turned == pytest.approx(np.degrees(np.arccos(cosine)), rel=1e-5)
    assert last.turned == pytest.approx(180) and last.angle == pytest.approx(180 - first.turned, rel=1e-5)
    assert (abs(last.largest), last.at) == (0.5, (0, 0)) and last.factor == pytest.approx(0.5)
    assert found.update.norm == last.norm


def test_the_whole_is_what_update_gives():
    tx = oc.adamw(1e-2, weight_decay=0.1)
    state = tx.init(PARAMS)
    updates, _ = tx.update(GRADS, state, PARAMS)
    found = oc.explain(tx, GRADS, state, PARAMS, "dense/kernel")
    assert found.update.norm == pytest.approx(float(jnp.linalg.norm(updates["dense"]["kernel"])), rel=1e-6)


def test_a_step_that_climbs_is_told():
    assert "UPHILL: the sign is not flipped" in str(explained(oc.chain(adam=oc.scale_by_adam())))
    assert "from the steepest direction" in str(explained(oc.sgd(0.1)))


def test_wrappers_have_a_row_of_their_own():
    tx = oc.guard(oc.accumulate(oc.chain(lr=oc.scale(-1.0)), 2))
    assert [step.link for step in explained(tx).steps] == ["accumulate", "guard"]  # this step emits nothing
    assert explained(tx).steps[0].effect.did == "set to 0"
    assert [step.link for step in explained(tx, steps=1).steps] == ["lr", "accumulate", "guard"]


def test_transformations_of_optax():
    tx = oc.chain(clip=optax.clip(0.5), lr=oc.scale(-1.0))
    assert list(did(tx)) == ["clip", "lr"]
    alone = optax.chain(optax.clip(0.5), optax.scale(-1.0))
    (step,) = explained(alone).steps
    assert (step.technique, abs(step.effect.largest)) == ("optax.chain", 0.5)


def test_the_metrics_of_a_link_are_beside_it():
    tx = oc.chain(clip=oc.clip_by_global_norm(1.0), lr=oc.scale_by_learning_rate(oc.cosine(0.1, 10)))
    first, last = explained(tx).steps
    assert first.metrics == pytest.approx(
        {"clip.norm": float(optax.tree.norm(GRADS)), "clip.scale": 1 / float(optax.tree.norm(GRADS))}
    )
    assert last.metrics == pytest.approx({"lr.learning_rate": 0.1})
    assert "clip.norm" in str(explained(tx))


def test_numbers_of_this_step_count():
    tx = oc.chain(lr=oc.scale_by_learning_rate(0.1))
    assert did(tx, hyper={"lr.learning_rate": 0.25}) == {"lr": "times -0.25"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("dense/kernl", "no parameter 'dense/kernl'; did you mean 'dense/kernel'"),
        ("dense/bias", "'dense/bias' does not move, because"),
    ],
)
def test_what_cannot_be_explained(path, message):
    tx = oc.groups(oc.sgd(0.1), {"*/bias": "frozen", "*": {}})
    with pytest.raises(ValueError, match=message):
        explained(tx, path)


def test_it_looks_at_numbers_and_so_not_within_jit():
    tx = oc.sgd(0.1)
    with pytest.raises(ValueError, match="call it outside of jit"):
        jax.jit(lambda g: oc.explain(tx, g, tx.init(PARAMS), PARAMS, "dense/kernel").gradient)(GRADS)


def test_the_picture(tmp_path):
    pytest.importorskip("matplotlib")
    figure = explained(oc.adamw(1e-2)).plot()
    assert [x.get_text() for x in figure.axes[0].get_yticklabels()] == ["gradient", "adam", "decay", "lr"]


ONE_OF_EACH = list({definition(name): name for name in TECHNIQUES}.values())  # outside of jit every step is slow


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_step_that_is_explained_is_the_step_that_is_made(name):
    tx, params, grads = build(name), tree(0), tree(1)
    state = tx.init(params)
    updates, _ = updated(tx, grads, state, params)
    found = oc.explain(tx, grads, state, params, "kernel", **every_extra())
    assert found.steps
    assert found.update.norm == pytest.approx(float(jnp.linalg.norm(updates["kernel"])), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], "nothing"),
        ([1, 2, 3, 4], [0, 0, 0, 0], "set to 0"),
        ([1, 2, 3, 4], [2, 4, 6, 8], "times 2"),
        ([1, 2, 3, 4], [0, 2, 0, 4], "2 of 4 entries set to 0"),
        ([1, -2, 3, 4], [1, -2, 2, 2], "2 of 4 entries clipped to 2"),
        ([1, 2, 3, 4, 5, 6], [0, 4, 6, 8, 10, 12], "1 of 6 entries set to 0, the others times 2"),
        ([1, 2, 3, 4], [1, 2, np.nan, 4], "1 of 4 entries became infinite or NaN"),
        ([1, 2, np.inf, 4], [1, 2, np.inf, 4], "1 of 4 entries are infinite or NaN"),
        ([1, 2, np.nan, 4], [1, 2, 0, 4], "took away what was infinite or NaN"),
        ([1, 2, 3, 4], [1, -2, 3, 5], "another direction; 1 of 4 entries have another sign"),
        ([1, 2, 3, 4], [2, 1, 3, 5], "another direction"),
        ([1, 2, 3, 4], [1.5, 2, 3.5, 4.5], "plus 0.5 times the parameter"),
    ],
)
def test_the_words(before, after, words):
    param = np.array([1.0, 0.0, 1.0, 1.0] if "parameter" in words else [9.0, -9.0, 9.0, 9.0])
    before, after = np.array(before, float), np.array(after, float)
    if "parameter" in words:
        before, after, param = (np.concatenate([x, x]) for x in (before, after, param))
    assert said(before, after, param if param.shape == before.shape else None) == words


def test_an_effect_of_nothing():
    zero = np.zeros(3)
    found = effect(zero, zero, zero, zero)
    assert (found.norm, found.did, found.zeros) == (0.0, "nothing", 1.0) and np.isnan(found.factor)
