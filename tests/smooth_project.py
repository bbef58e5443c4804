"""A user's project whose rounding errors stay what they are: to compare one device with many."""

import json
import textwrap

import numpy as np

from optchain.core.paths import named_leaves

# Smooth, and without a bias before the norm: a network whose rounding errors stay what they are for 200 steps.
MODELS = """
    import flax.linen as nn
    from flax import nnx

    class Linen(nn.Module):
        boxed: bool = False

        @nn.compact
        def __call__(self, x, train):
            init = nn.initializers.lecun_normal()
            if self.boxed:
                init = nn.with_partitioning(init, ("embed", "mlp"))
            for _ in range(2):
                x = nn.Dense(32, use_bias=False, kernel_init=init)(x)
                x = nn.tanh(nn.BatchNorm(use_running_average=not train)(x))
                x = nn.Dropout(0.1, deterministic=not train)(x)
            return nn.Dense(8)(x)

    class Nnx(nnx.Module):
        def __init__(self, rngs):
            self.inner = nnx.Linear(32, 32, use_bias=False, rngs=rngs)
            self.norm, self.drop = nnx.BatchNorm(32, rngs=rngs), nnx.Dropout(0.1, rngs=rngs)
            self.outer = nnx.Linear(32, 8, rngs=rngs)

        def __call__(self, x):
            return self.outer(self.drop(nnx.tanh(self.norm(self.inner(x)))))
    """
TABLE = """
    task = {use = "arrays", path = "data.npz", validation = 100, test = 0}
    model = {use = "models.py:Linen"}
    preprocess = {}
    train = {steps = 200, batch = 64}
    """


def write(folder):
    """The configuration of the project, made in a folder."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(600, 32)).astype(np.float32)
    targets = (inputs @ rng.normal(size=(32, 8))).argmax(1).astype(np.int32)
    np.savez(folder / "data.npz", inputs=inputs, targets=targets)
    (folder / "models.py").write_text(textwrap.dedent(MODELS))
    (folder / "train.toml").write_text(textwrap.dedent(TABLE))
    return folder / "train.toml"


def curve(run):
    """The rows of a run's log: their numbers but those of the clock, by name."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {path: x for path, x in named_leaves(row) if isinstance(x, int | float) and "second" not in path}
        for row in rows
    ]


def require_same_curve(run, other, rtol=1e-4):
    """Two runs have the same rows, within what the order of sums makes."""
    found, expected = curve(run), curve(other)
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    for one, two in zip(found, expected, strict=True):
        for name in one:
            np.testing.assert_allclose(one[name], two[name], rtol=rtol, atol=rtol / 100, err_msg=name)
