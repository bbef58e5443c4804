"""What is measured of packed leaves: the same steps in every way, and a verdict on each goal."""

import jax
import numpy as np
import pytest

import optchain as oc
from experiments.benchmarks import decoder, packed


def test_the_decoder_has_sixteen_leaves_a_layer_and_learns():
    model = decoder.Decoder(layers=2, width=8, vocabulary=16, context=4)
    params = model.init(jax.random.key(0))
    assert len(jax.tree.leaves(params)) == 2 * 16 + 5
    ids = jax.random.randint(jax.random.key(1), (3, 5), 0, 16)
    value, grads = jax.value_and_grad(model.loss)(params, ids)
    stepped = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
    assert model.loss(stepped, ids) < value < 10
    # The last token is predicted and never read.
    alone = jax.grad(model.loss)(params, np.array([[1, 2, 3, 4, 15]]))["tokens"]
    assert not alone[15].any() and alone[4].any()


@pytest.mark.full
def test_every_way_is_measured_and_judged(tmp_path):
    packed.run(leaves=20, layers=1, width=8, repeats=1, out=tmp_path / "packed.jsonl")
    text = (tmp_path / "packed.jsonl").read_text()
    assert text.count('"way": "packed"') == 4 and text.count('"goal"') == 6


def test_the_contenders_take_the_same_steps():
    params = {name: jax.random.normal(jax.random.key(i), (4, 4)) for i, name in enumerate("abc")}
    made = packed.adamws()
    tx = oc.packed(made["optchain"])
    expected, _ = made["optax"].update(params, made["optax"].init(params), params)
    found, _ = tx.update(params, tx.init(params), params)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-8)
