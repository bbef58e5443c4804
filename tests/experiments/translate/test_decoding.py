"""A beam finds what trying everything finds."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.translate.decoding import beam, greedy
from experiments.translate.vocabulary import BEGIN, END, PAD

WORDS, LENGTH = 6, 3


def logits(source, before):
    """Of a model without structure: each beginning has logits of its own."""
    key = jnp.array([1, 7, 49, 343])[None]
    seed = jnp.cumsum(before * key[:, : before.shape[1]], axis=1) + 5000 * source[:, :1]
    return jax.vmap(jax.vmap(lambda s: 2 * jax.random.normal(jax.random.key(s), (WORDS,))))(seed)


def every_translation(source, penalty):
    """The likeliest of all translations, by trying each."""
    best, found = -np.inf, None
    words = [word for word in range(WORDS) if word not in (PAD, BEGIN)]
    for count in range(LENGTH + 1):
        for said in itertools.product([w for w in words if w != END], repeat=count):
            row = [*said, END][:LENGTH]
            before = jnp.array([[BEGIN, *row, *[PAD] * LENGTH][:LENGTH]])
            likely = np.asarray(jax.nn.log_softmax(logits(source[None], before)))[0]
            score = sum(likely[i, word] for i, word in enumerate(row)) / len(row) ** penalty
            if score > best:
                best, found = score, row
    return found + [PAD] * (LENGTH - len(found))


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_likeliest_of_all(penalty):
    sources = jnp.arange(4)[:, None]
    # Kept are 5 of 4 words and 4 ends after the first word, and more than all that matter after the second.
    found = jax.jit(lambda x: beam(logits, x, LENGTH, 20, penalty))(sources)
    expected = [every_translation(source, penalty) for source in sources]
    np.testing.assert_array_equal(found, expected)


def test_the_likeliest_word_each_time():
    sources = jnp.arange(8)[:, None]
    found = np.asarray(greedy(logits, sources, LENGTH))
    for source, row in zip(sources, found, strict=True):
        before = [BEGIN]
        for word in row:
            if before[-1] in (END, PAD):
                assert word == PAD
            else:
                likely = np.array(logits(source[None], jnp.array([before]))[0, -1])
                likely[[PAD, BEGIN]] = -np.inf
                assert word == likely.argmax()
            before.append(int(word))


def test_a_wider_beam_is_no_less_likely():
    def likelihood(rows):
        before = jnp.concatenate([jnp.full((len(rows), 1), BEGIN), rows[:, :-1]], axis=1)
        likely = jnp.take_along_axis(jax.nn.log_softmax(logits(sources, before)), rows[..., None], -1)[..., 0]
        return jnp.sum(likely, 1, where=rows != PAD)

    sources = jnp.arange(30)[:, None]
    one, ten = (likelihood(beam(logits, sources, LENGTH, width)) for width in (1, 10))
    assert (ten >= one - 1e-5).all() and (ten > one + 1e-3).any()
