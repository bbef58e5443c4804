"""Whether a model can tell inputs of another kind than it was trained on by how sure it is of them.

References:
    Hendrycks and Gimpel, 2016, arXiv:1610.02136: the probability of the likeliest class. Liu et al., 2020,
    arXiv:2010.03759, equation 4: the free energy.
"""

import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp, softmax

from optchain.lab.models.metrics import ranked


def sureness(logits: np.ndarray) -> np.ndarray:
    """The probability of the likeliest class."""
    return softmax(logits, axis=1).max(1)


def energy(logits: np.ndarray) -> np.ndarray:
    """The logarithm of the sum of the exponentials of the logits: minus the free energy, high for what is known."""
    return np.asarray(logsumexp(logits, axis=1))


SCORES = {"sureness": sureness, "energy": energy}


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """How often what is known has a higher score than what is not; 1/2 where they are equal."""
    positive = np.arange(len(known) + len(unknown)) < len(known)
    return float(ranked(jnp.concatenate([known, unknown]), jnp.asarray(positive)))


def shuffled(inputs: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Inputs each of whose entries is from another example: each has its distribution, and none goes with another."""
    flat = inputs.reshape(len(inputs), -1)
    return draw.permuted(flat, axis=0).reshape(inputs.shape)
