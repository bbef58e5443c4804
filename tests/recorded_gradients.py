"""Real gradients of two small models: a network that learns to read digits, and a transformer that learns to write."""

from pydoc_data.topics import topics
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

STEPS, BATCH, WINDOW, RATE = 120, 16, 16, 0.1
# Every test compiles every leaf: so there are few, but of one, two and four axes, tall and wide.
SHAPES = {
    "digits": {
        "conv": {"kernel": (3, 3, 1, 4), "bias": (4,)},
        "dense": {"kernel": (64, 16)},
        "out": {"kernel": (16, 10), "bias": (10,)},
    },
    "text": {
        "embed": {"embedding": (128, 8)},
        "attention": {"scale": (8,), "qkv": {"kernel": (8, 24)}, "out": {"kernel": (8, 8)}},
        "mlp": {"up": {"kernel": (8, 32)}, "down": {"kernel": (32, 8)}},
        "head": {"kernel": (8, 128)},
    },
}


class Recorded(NamedTuple):
    params: Any  # a tree of SHAPES, float32, before the first step
    grads: Any  # the same tree, with a leading axis of STEPS


def digits_loss(params, images, labels):
    """A convolution of 3 by 3, the mean over each 2 by 2 pixels, and two dense layers."""
    x = jax.lax.conv_general_dilated(
        images, params["conv"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    x = jax.nn.relu(x + params["conv"]["bias"]).reshape(-1, 4, 2, 4, 2, 4).mean((2, 4)).reshape(-1, 64)
    logits = jax.nn.relu(x @ params["dense"]["kernel"]) @ params["out"]["kernel"] + params["out"]["bias"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def text_loss(params, text):
    """One layer of causal attention with two heads and one of an MLP, behind norms, that foretell the next byte."""

    def norm(x):
        return x / jnp.sqrt(jnp.mean(x**2, axis=-1, keepdims=True) + 1e-6)

    x, attention, mlp = params["embed"]["embedding"][text[:, :-1]], params["attention"], params["mlp"]
    heads = (norm(x) * attention["scale"] @ attention["qkv"]["kernel"]).reshape(*x.shape[:2], 2, 12)
    mixed = jax.nn.dot_product_attention(*jnp.split(heads, 3, -1), is_causal=True)
    x = x + mixed.reshape(x.shape) @ attention["out"]["kernel"]
    x = x + jax.nn.relu(norm(x) @ mlp["up"]["kernel"]) @ mlp["down"]["kernel"]
    logits = norm(x) @ params["head"]["kernel"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, text[:, 1:]).mean()


@jax.jit
def record(params, batches):
    """The gradients that plain SGD meets on its way through the batches; the sum keeps the two models apart."""

    def loss(params, batch):
        return digits_loss(params["digits"], *batch["digits"]) + text_loss(params["text"], *batch["text"])

    def step(params, batch):
        grads = jax.grad(loss)(params, batch)
        return jax.tree.map(lambda p, g: p - RATE * g, params, grads), grads

    return jax.lax.scan(step, params, batches)[1]


@pytest.fixture(scope="session")
def recorded() -> Recorded:
    """Real gradients; some of their entries are 0 at every step, for some bytes are not in the text."""
    rng = np.random.default_rng(0)

    def begin(path, shape):
        if len(shape) == 1:
            return jnp.full(shape, float(path[-1].key == "scale"))
        return jnp.asarray(rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape), jnp.float32)

    params = jax.tree.map_with_path(begin, SHAPES, is_leaf=lambda x: isinstance(x, tuple))
    digits, some = load_digits(), rng.integers(0, 1797, (STEPS, BATCH))
    text = np.frombuffer("".join(topics.values()).encode("ascii", "ignore"), np.uint8)
    starts = rng.integers(0, len(text) - WINDOW, (STEPS, BATCH, 1))
    batches = {
        "digits": (np.float32(digits.images[some, ..., None] / 16), digits.target[some]),
        "text": (np.int32(text[starts + np.arange(WINDOW + 1)]),),
    }
    with jax.numpy_rank_promotion("allow"):
        return Recorded(params, record(params, batches))


class Entries(Recorded):
    """Recorded gradients that `joined` runs as two vectors, one of each model, instead of leaf by leaf.

    A technique that treats every entry alike, or all of them together, makes the same of the vectors, and what is
    traced and compiled is a fifth. What comes out is `parted` into the leaves again, and compared leaf by leaf.
    """


@pytest.fixture(scope="session")
def entries(recorded) -> Entries:
    """The recorded gradients, for techniques to which the leaf that an entry is in does not matter."""
    return Entries(*recorded)


def joined(recorded: Recorded) -> Recorded:
    """What is run: for `Entries` a vector of each model."""
    if not isinstance(recorded, Entries):
        return recorded

    def vector(params: Any, tree: Any) -> jax.Array:
        pairs = zip(jax.tree.leaves(params), jax.tree.leaves(tree), strict=True)
        return jnp.concatenate([x.reshape(*x.shape[: x.ndim - p.ndim], -1) for p, x in pairs], axis=-1)

    trees = ({name: vector(params, tree[name]) for name, params in recorded.params.items()} for tree in recorded)
    return Recorded(*trees)


def parted(found: Any, recorded: Recorded) -> Any:
    """What came out, with the leaves of the recorded tree for each vector of all entries of a model."""
    if not isinstance(recorded, Entries):
        return found
    models = {sum(p.size for p in jax.tree.leaves(tree)): tree for tree in recorded.params.values()}

    def part(x: Any) -> Any:
        like = models.get(x.shape[-1]) if np.ndim(x) else None
        if like is None:
            return x
        leaves, treedef = jax.tree.flatten(like)
        x, ends = np.asarray(x), np.cumsum([p.size for p in leaves])[:-1]
        parts = zip(np.split(x, ends, axis=-1), leaves, strict=True)
        return treedef.unflatten([one.reshape(*x.shape[:-1], *p.shape) for one, p in parts])

    return jax.tree.map(part, found)


def blank(recorded: Recorded) -> Any:
    """Where the gradient is 0 at every step."""
    return jax.tree.map(lambda g: np.all(np.asarray(g) == 0, axis=0), recorded.grads)


def of_axes(recorded: Recorded, *axes: int) -> Recorded:
    """The leaves of so many axes alone, by their paths."""
    chosen = [
        (jax.tree_util.keystr(path, simple=True, separator="/"), p.ndim in axes)
        for path, p in jax.tree.leaves_with_path(recorded.params)
    ]
    trees = (zip(chosen, jax.tree.leaves(tree), strict=True) for tree in recorded)
    return Recorded(*({name: x for (name, wanted), x in leaves if wanted} for leaves in trees))


@pytest.fixture(scope="session")
def recorded_matrices(recorded) -> Recorded:
    """The hidden matrices of both models, by their paths, for techniques that take nothing else.

    Without the two of 128 rows or columns, with which Shampoo and Muon took six times as long.
    """
    matrices = of_axes(recorded, 2)
    return Recorded(*({path: x for path, x in tree.items() if 128 not in x.shape} for tree in matrices))


def drawn(seed: int, steps: int = 20) -> Recorded:
    """A few random parameters and gradients, for laws that hold for any."""
    rng = np.random.default_rng(seed)
    params = {"w": jnp.asarray(rng.normal(size=(5, 3)), jnp.float32), "b": jnp.asarray(rng.normal(size=3), jnp.float32)}
    scales = np.exp(rng.normal(0, 3, steps))  # many decades, as in training
    grads = jax.tree.map(
        lambda p: jnp.asarray(
            rng.normal(size=(steps, *p.shape)) * scales.reshape(-1, *(1,) * p.ndim),
            jnp.float32,
        ),
        params,
    )
    return Recorded(params, grads)


def repeated(seed: int, steps: int = 20) -> Recorded:
    """Random parameters, and one random gradient again and again."""
    params, grads = drawn(seed, 1)
    return Recorded(params, jax.tree.map(lambda g: jnp.repeat(g, steps, axis=0), grads))


def scaled(recorded: Recorded, factor: float) -> Recorded:
    """The same parameters, with gradients in other units."""
    return recorded._replace(grads=jax.tree.map(lambda g: g * factor, recorded.grads))
