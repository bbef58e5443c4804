"""What counts in a classification: the loss, the metric and the answer, as fields of a `Task`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax


def mean_of_two(logits: jax.Array) -> jax.Array:
    """The logit of the mean probability that several models, along the first axis, give the second class."""
    yes, no = (jax.nn.logsumexp(jax.nn.log_sigmoid(sign * logits), axis=0) for sign in (1, -1))
    return yes - no


def mean_of_many(logits: jax.Array) -> jax.Array:
    """The logarithms of the mean probabilities that several models, along the first axis, give the classes."""
    return jax.nn.logsumexp(jax.nn.log_softmax(logits), axis=0) - jnp.log(len(logits))


def of_two(name: str) -> dict[str, Any]:
    """Two classes by one output, the logit of the second, which has a name."""
    return {
        "outputs": 1,
        "classes": 2,
        "loss": lambda outputs, targets: optax.losses.sigmoid_binary_cross_entropy(outputs[:, 0], targets),
        "metric": lambda outputs, targets: ((outputs[:, 0] > 0) == targets).astype(jnp.float32),
        "metric_name": "accuracy",
        "together": mean_of_two,
        "answer": lambda outputs: {
            name: (outputs[:, 0] > 0).astype(int),
            "probability": 1 / (1 + np.exp(-outputs[:, 0])),
        },
    }


def of_many(name: str, labels: list[Any]) -> dict[str, Any]:
    """As many outputs, logits, as there are labels."""
    count = len(labels)

    def answer(outputs: np.ndarray) -> dict[str, np.ndarray]:
        likely = np.exp(outputs - outputs.max(-1, keepdims=True))
        return {name: np.asarray(labels)[outputs.argmax(-1)], "probability": likely.max(-1) / likely.sum(-1)}

    return {
        "outputs": count,
        "classes": count,
        # One-hot, because the gradient with integer labels is a scatter, which is slow on a CPU.
        "loss": lambda outputs, targets: optax.losses.softmax_cross_entropy(outputs, jax.nn.one_hot(targets, count)),
        "metric": lambda outputs, targets: (outputs.argmax(-1) == targets).astype(jnp.float32),
        "metric_name": "accuracy",
        "together": mean_of_many,
        "answer": answer,
    }
