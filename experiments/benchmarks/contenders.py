"""What takes optimizer steps in a benchmark: a compiled JAX step, and torch's own."""

from typing import Any

import jax
import numpy as np
import optax

from experiments.benchmarks.counts import Counts, Step, counts, donated
from experiments.benchmarks.timing import compile_timed


class JaxStep:
    """A compiled step that replaces its own parameters and state each time it is taken."""

    def __init__(self, step: Step, tx: optax.GradientTransformation, params: Any, grads: Any):
        # A copy: the step gives its buffers away, and other contenders start from the same parameters.
        self.params = jax.tree.map(lambda p: p.copy(), params)
        # Compiled, so that no two arrays of a state share a buffer, as they do in that of optax's Muon.
        self.state, self.grads = jax.jit(tx.init)(params), grads
        self.compiled, self.compile_seconds = compile_timed(donated(step), self.params, self.state, grads)

    def take(self) -> None:
        self.params, self.state = jax.block_until_ready(self.compiled(self.params, self.state, self.grads))

    def counts(self) -> Counts:
        return counts(self.compiled, self.params)

    def arrays(self) -> list[np.ndarray]:
        """The parameters now, leaf by leaf."""
        return [np.asarray(p) for p in jax.tree.leaves(self.params)]


class TorchStep:
    """`torch.optim.AdamW(fused=True)` on the CPU, after `clip_grad_norm_` where there is a bound.

    The clip scales the gradients in place, so that from the second step on they have the norm `max_norm` already; torch
    multiplies by the factor, then about 1, all the same.
    """

    def __init__(self, params: Any, grads: Any, max_norm: float | None, **numbers: Any):
        import torch

        def tensor(x: jax.Array) -> Any:
            return torch.from_numpy(np.array(x))

        self.params = [torch.nn.Parameter(tensor(p)) for p in jax.tree.leaves(params)]
        for p, g in zip(self.params, jax.tree.leaves(grads), strict=True):
            p.grad = tensor(g)
        self.optimizer = torch.optim.AdamW(self.params, fused=True, **numbers)
        self.clip, self.max_norm = torch.nn.utils.clip_grad_norm_, max_norm

    def take(self) -> None:
        if self.max_norm is not None:
            self.clip(self.params, self.max_norm)
        self.optimizer.step()

    def arrays(self) -> list[np.ndarray]:
        """The parameters now, leaf by leaf."""
        return [p.detach().numpy() for p in self.params]


def no_torch() -> str | None:
    """Why torch's rows are left out, or None."""
    import importlib.util

    if importlib.util.find_spec("torch") is None:
        return "torch rows left out: torch is not installed"
    if jax.default_backend() != "cpu":
        return f"torch rows left out: they run on the CPU, the others on the {jax.default_backend()}"
    return None
