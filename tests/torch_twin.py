"""Optimizers of PyTorch's interface over given gradients."""

import jax
import numpy as np
import pytest


def run_torch(make, recorded, sparse=False):
    """The parameters and the slots that all of them have, by name, after all gradients, in float64.

    `make` is a function of the list of parameters that returns a `torch.optim.Optimizer`. A `sparse` gradient holds
    only the entries that are not 0.
    """
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    leaves, treedef = jax.tree.flatten(recorded.params)
    params = [torch.tensor(np.asarray(p), dtype=torch.float64, requires_grad=True) for p in leaves]
    grads = [torch.tensor(np.asarray(g), dtype=torch.float64) for g in jax.tree.leaves(recorded.grads)]
    optimizer = make(params)
    for i in range(len(grads[0])):
        for p, g in zip(params, grads, strict=True):
            p.grad = g[i].to_sparse() if sparse else g[i].clone()
        optimizer.step()
    states = [optimizer.state[p] for p in params]
    slots = {
        name: treedef.unflatten([np.asarray(state[name]) for state in states])
        for name, x in (states[0].items() if states[0] else ())
        if x is not None and all(name in state for state in states)
    }
    return treedef.unflatten([p.detach().numpy() for p in params]), slots
