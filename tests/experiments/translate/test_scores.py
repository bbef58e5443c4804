"""What translations are worth, each score beside plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.translate.scores import bleu, bootstrap, corpus_bleu, exact, word_accuracy, word_loss
from experiments.translate.vocabulary import BEGIN, END, PAD
from optchain.lab.models.class_losses import CrossEntropy

TARGETS = jnp.array([[4, 5, END, PAD], [6, END, PAD, PAD], [4, 4, 4, END]])
OUTPUTS = jax.random.normal(jax.random.key(0), (3, 4, 7))


def test_padding_costs_nothing():
    expected, hits = [], []
    for row, target in zip(np.asarray(OUTPUTS, np.float64), np.asarray(TARGETS), strict=True):
        costs = [np.log(np.exp(x).sum()) - x[word] for x, word in zip(row, target, strict=True) if word != PAD]
        expected.append(sum(costs) / len(costs))
        right = [x.argmax() == word for x, word in zip(row, target, strict=True) if word != PAD]
        hits.append(sum(right) / len(right))
    np.testing.assert_allclose(word_loss(OUTPUTS, TARGETS), expected, rtol=1e-6)
    np.testing.assert_allclose(word_accuracy(OUTPUTS, TARGETS), hits, rtol=1e-6)


def knowing(targets):
    """A model that knows the right sentences, except the last one."""

    def model(inputs):
        right = jax.nn.one_hot(targets, 9)[inputs["source"][:, 0]]
        wrong = jax.nn.one_hot(jnp.full(targets.shape[1:], 8), 9)[None]
        return 9 * jnp.where((inputs["source"] == len(targets) - 1)[:, :, None], wrong, right)

    return model


def test_the_built_in_loss_that_ignores_padding_is_that_of_words():
    np.testing.assert_allclose(CrossEntropy(ignored=PAD).of(OUTPUTS, TARGETS), word_loss(OUTPUTS, TARGETS), rtol=1e-6)


def test_sentences_that_are_right():
    sources = jnp.arange(3)[:, None]
    inputs = {"source": sources, "before": jnp.full((3, 4), BEGIN)}
    for width in (1, 2):
        assert exact(knowing(TARGETS), inputs, TARGETS, width) == pytest.approx(2 / 3)
    assert exact(knowing(TARGETS), inputs, TARGETS, sentences=2) == 1


def test_bleu_of_one_order_by_hand():
    pytest.importorskip("sacrebleu")
    # 4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 quadruples are right, and the lengths are equal.
    assert corpus_bleu(["a b c d e"], ["a b c d f"]) == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    sources = jnp.arange(3)[:, None]
    right = jnp.array([[4, 5, 6, 7, END], [5, 6, 4, 7, END], [4, 4, 5, 6, END]])
    inputs = {"source": sources, "before": jnp.full((3, 5), BEGIN)}
    assert bleu(knowing(right), inputs, right, sentences=2) == pytest.approx(100)
    assert bleu(knowing(right), inputs, right) < 90


def test_the_bootstrap_tells_good_from_bad():
    pytest.importorskip("sacrebleu")
    draw = np.random.default_rng(0)
    right = [" ".join(map(str, draw.integers(0, 50, 7))) for _ in range(60)]
    wrong = [" ".join(["0", *row.split()[1:]]) for row in right]
    often, odd, even = (
        [bad if so(i) else good for i, (good, bad) in enumerate(zip(right, wrong, strict=True))]
        for so in (lambda i: i % 10, lambda i: i % 2, lambda i: (i + 1) % 2)
    )
    found = bootstrap({"odd": odd, "even": even, "often": often}, right)
    assert found["often"] < 0.01 and found["even"] > 0.1
    assert bootstrap({"right": right}, right) == {}
