"""What a weight is worth: the weights with the largest scores are kept."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from optchain.core.paths import nearest

Score = str | Callable[[jax.Array, jax.Array], jax.Array]

# Of a parameter and its gradient.
LAWS = {
    "magnitude": lambda p, g: jnp.abs(p),
    "gradient": lambda p, g: jnp.abs(g),
    "saliency": lambda p, g: jnp.abs(p * g),
}
SCORES = (*LAWS, "random")


def checked_score(owner: str, name: str, score: Score) -> Score:
    """A score's name, or a function of (parameter, gradient); anything else is an error."""
    if callable(score) or score in SCORES:
        return score
    expected = f"one of {', '.join(SCORES)}, or a function of (parameter, gradient)"
    raise ValueError(f"{owner}: {name} is {score!r}; expected {expected}; {nearest(str(score), SCORES)}")


def needs_gradient(score: Score) -> bool:
    """Whether a score cannot be known before the first step."""
    return score not in ("magnitude", "random")


def scored(score: Score, p: jax.Array, g: jax.Array, bits: jax.Array) -> jax.Array:
    """The scores of one array, in float32 or wider.

    Args:
        score: its name, or a function of (parameter, gradient).
        p: the parameter.
        g: its gradient; anything where the score does not read it.
        bits: random uint32 of its shape.
    """
    if score == "random":
        return (bits >> 8).astype(jnp.float32)  # as many bits as float32 holds exactly
    scores = (score if callable(score) else LAWS[score])(p, g)
    if jnp.shape(scores) != p.shape:
        raise ValueError(f"sparse: the score of a parameter has shape {jnp.shape(scores)}, expected {p.shape}")
    return scores
