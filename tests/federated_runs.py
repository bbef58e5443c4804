"""Small runs of federated learning, and softmax regression on the examples of clients in float64 NumPy."""

import jax
import numpy as np

from optchain.lab.runs import config
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program

TASK = """
import numpy as np
import flax.linen as nn
from optchain import lab
from optchain.lab.commands.main import main

draw = np.random.default_rng(0)
x = draw.normal(size=(120, 3)).astype(np.float32)
KIND = np.array(["a", "b", "c"])[(x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5)]

def kinds(examples=10): return lab.Examples(x[:examples], KIND[:examples], steps={})
def many(examples=4000, seed=1):
    x = np.random.default_rng(seed).normal(size=(examples, 8)).astype(np.float32)
    return lab.Examples(x, (x[:, :4].argmax(1)).astype(str), steps={})
def sizes(): return lab.Examples(x, x[:, 0])
def several(): return lab.Examples(x, {"kind": KIND, "size": x[:, 0]})

class Rows:
    def __len__(self): return 120
    def rows(self, numbers): return x[numbers], x[numbers, 0]

def stream(): return lab.Stream(Rows(), steps=None)

class Linear(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x)
"""
FILE = """
[task]
use = "task.py:kinds"
{task}

[model]
use = "task.py:Linear"

[gradient]
use = "clients"
{gradient}

[train]
steps = {steps}
batch = {batch}
evaluate_every = {steps}
checkpoint_every = {steps}
log_every = 1

[optimizer]
combine = {combine}
lr = {{ use = "scale_by_learning_rate", learning_rate = 1.0 }}
"""
RATE = 0.3
LOCAL = f"local = {{ lr = {{ use = 'scale_by_learning_rate', learning_rate = {RATE} }} }}"


TOP = "compress = { send = { use = 'top_k_mean', density = 0.3 } }"


def text(gradient, steps=4, batch=6, task="", combine='{ use = "client_mean" }'):
    lines = "\n".join([LOCAL, *gradient])
    return FILE.format(gradient=lines, steps=steps, batch=batch, task=task, combine=combine)


def built(folder, *gradient, sets=(), **more):
    (folder / "task.py").write_text(TASK)
    (folder / "run.toml").write_text(text(gradient, **more))
    return build(config.load(folder / "run.toml", list(sets)), "run.toml")


def rounds(experiment, steps):
    """The carry before the first round and after each, and the logs, in NumPy."""
    program, carry = Program(experiment), experiment.start()
    carries, logs = [jax.tree.map(np.array, carry)], []
    for _ in range(steps):
        carry, log, _ = program.run(experiment.config, carry, 1)
        carries.append(jax.tree.map(np.array, carry))
        logs.append({name: x[0] for name, x in log.items() if name != "optimizer"})
    return carries, logs


class Oracle:
    """Softmax regression on the examples of clients, in float64."""

    def __init__(self, experiment, carry):
        split = experiment.task.splits["train"]
        self.x, self.y = np.asarray(split.inputs, np.float64), np.asarray(split.targets)
        deal = carry["clients"].deal
        self.rows = np.split(deal.rows, np.cumsum(deal.counts)[:-1])
        self.counts = deal.counts

    def gradient(self, w, rows):
        """Of the mean loss over some rows."""
        x = np.c_[self.x[rows], np.ones(len(rows))]
        logits = x @ w
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(len(rows)), self.y[rows]] -= 1
        return x.T @ p / len(rows)

    def trained(self, w, client, steps, mu=0.0, drift=0.0):
        """The parameters of a client after its steps on all of its examples."""
        now = w.copy()
        for _ in range(steps):
            now = now - RATE * (self.gradient(now, self.rows[client]) + mu * (now - w) + drift)
        return now


def matrix(tree):
    """Kernel and bias as one matrix."""
    tree = tree["Dense_0"]
    return np.concatenate([tree["kernel"], tree["bias"][..., None, :]], axis=-2).astype(np.float64)


def near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
