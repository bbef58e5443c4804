"""Runs whose model grows, beside everything else that a configuration may say."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optchain import lab
from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.runs import run
from optchain.lab.runs.config import Config
from optchain.lab.runs.logs import evaluations, read
from optchain.lab.training.evaluate import floats, restore
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program
from optchain.lab.training.scoring import models
from optchain.lab.training.train import Trainer
from optchain.lab.tuning.lanes import require_side_by_side

TASK = """
import numpy as np
from optchain import lab

draw = np.random.default_rng(0)
x = draw.normal(size=(200, 3)).astype(np.float32)
ids_ = draw.integers(0, 5, (200, 4)).astype(np.int32)

def one(): return lab.Examples(x, np.array(["a", "b"])[(x[:, 0] > x[:, 1]).astype(int)])
def two(): return lab.Examples(x, {"kind": np.array(["a", "b", "c"])[np.arange(200) % 3], "size": x[:, 0] * 2})
def ids(): return lab.Examples(ids_, x[:, 0], steps=None, ids=5)
def text(): return lab.Examples(ids_, (ids_ + 1) % 5, labels=range(5), steps=None, ids=5)
"""
ADAM = {"adam": {"use": "scale_by_adam"}, "lr": {"use": "scale_by_learning_rate", "learning_rate": 0.03}}
TABLES = {
    "task": {"use": "task.py:one", "validation": 50, "test": 50},
    "model": {"hidden": [4]},
    "train": {"steps": 8, "batch": 16, "evaluate_every": 4},
    "optimizer": ADAM,
    "grow": [{"at": 4, "model": {"hidden": [7]}}],
}
DEEPER = [{"at": 4, "model": {"hidden": [7, 7]}}]
HEADS = {"task": TABLES["task"] | {"use": "task.py:two"}}
TEXT = {
    "task": TABLES["task"] | {"use": "task.py:text"},
    "model": {"use": "transformer", "width": 4, "heads": 2, "layers": 1, "scan": True},
    "grow": [{"at": 4, "model": {"width": 8, "layers": 2}}],
}
AVERAGE = {"use": "average_params", "decay": 0.5}
NARROW = {"dtype": "bfloat16", "compute": "bfloat16"}
MUP = {"model": {"depth": 1, "width": 4}, "mup": {"base": {"width": 2}}}
CASES = {
    "heads and a layer": HEADS | {"grow": DEEPER},
    "gradients of tasks": HEADS
    | {"gradient": {"use": "tasks"}, "optimizer": {"c": {"use": "sum_tasks", "tasks": ["kind", "size"]}, **ADAM}},
    "mup": MUP | {"grow": [{"at": 4, "model": {"width": 6, "depth": 2}}]},
    "bfloat16": {"train": TABLES["train"] | {"compute": "bfloat16", "remat": True}, "grow": DEEPER},
    "stored in bfloat16": TEXT
    | {"model": TEXT["model"] | NARROW}
    | {"optimizer": {"use": "precision", "params": "split", "slots": "bfloat16", "tx": ADAM}},
    "stacked layers": TEXT
    | {"optimizer": {"use": "over_layers", "layers": {"layers/*": 1}, "tx": ADAM | {"average": AVERAGE}}},
    "micro-batches, a guard, and slow weights": {
        "optimizer": {
            "use": "accumulate",
            "every": 3,
            "tx": {
                "use": "guard",
                "tx": {"use": "lookahead", "sync_period": 2, "slow_step_size": 0.5, "tx": ADAM},
            },
        }
    },
    "groups and an average": {
        "grow": DEEPER,
        "optimizer": {
            "groups": {"use": "groups", "rules": {"*/bias": {"lr.learning_rate": 0.5}, "*": {}}, "tx": ADAM},
            "average": AVERAGE,
        },
    },
    "packed": {"optimizer": {"use": "packed", "tx": ADAM}},
}
SLOW = ("gradients of tasks", "stacked layers", "stored in bfloat16")
ROUNDED = ("bfloat16", "stored in bfloat16")  # the loss after the growth is that before it up to the format's rounding


@pytest.fixture
def configured(tmp_path):
    (tmp_path / "task.py").write_text(TASK)
    return lambda **tables: Config.model_validate(TABLES | tables, context={"folder": tmp_path})


def losses(trainer, which):
    """The loss on the validation examples of each model."""
    data = trainer.program.data["validation"]
    return {name: floats(trainer.program.evaluate(model, *data))["loss"] for name, model in which.items()}


def begun(built, folder, program):
    """A session of a run, which begins or goes on from its newest checkpoint."""
    opened = run.opened(folder, built.config, "")
    return Trainer(built, opened, program=program)


def session(built, folder, program):
    """One evaluation further, in a session of its own."""
    trainer = begun(built, folder, program)
    trainer._chunk()
    trainer._save()
    trainer.checkpoints.close()
    return trainer


@pytest.mark.parametrize("case", [pytest.param(x, marks=pytest.mark.full if x in SLOW else ()) for x in CASES])
def test_the_function_is_kept_and_what_is_resumed_is_the_same(case, configured, tmp_path):
    built = build(configured(**CASES[case]), "test")
    program = Program(built)
    trainer = begun(built, tmp_path / "run", program)
    trainer._chunk()
    before = [losses(trainer, which) for which in (models(trainer.carry), trainer.best)]
    trainer._grow()
    after = [losses(trainer, which) for which in (models(trainer.carry), trainer.best)]
    for old, new in zip(before, after, strict=True):
        assert new == pytest.approx(old, rel=0.01 if case in ROUNDED else 2e-6)
    dtypes = {x.dtype for x in jax.tree.leaves(trainer.carry["params"])}
    assert dtypes == {jnp.dtype("bfloat16" if case == "stored in bfloat16" else "float32")}
    trainer._chunk()
    trainer._save()
    trainer.checkpoints.close()
    (growth,) = (row["growth"] for row in read(trainer.run.folder / "metrics.jsonl") if "growth" in row)
    assert growth["parameters"][0] < growth["parameters"][1]
    assert growth["again"] == (["(precision)"] if case == "stored in bfloat16" else [])  # the bits that were split off
    for _ in range(2):
        again = session(built, tmp_path / "again", program)
    chex.assert_trees_all_equal(again.carry["params"], trainer.carry["params"])
    chex.assert_trees_all_equal(again.best, trainer.best)
    found = restore(trainer.run)
    chex.assert_trees_all_equal(found.models, models(trainer.carry))


def test_a_run_that_dies_after_its_growth_grows_once(configured, tmp_path):
    built = build(configured(), "test")
    program = Program(built)
    session(built, tmp_path / "run", program)
    dead = begun(built, tmp_path / "run", program)
    dead._grow()  # which is logged, and not saved
    dead.checkpoints.close()
    last = session(built, tmp_path / "run", program)
    plain = [session(built, tmp_path / "plain", program) for _ in range(2)][-1]
    rows = [[row for row in read(x.run.folder / "metrics.jsonl") if "growth" in row] for x in (last, plain)]
    assert rows[0] == rows[1] and len(rows[0]) == 1
    chex.assert_trees_all_equal(last.carry["params"], plain.carry["params"])


@pytest.mark.parametrize("way", ["keep", "stack"])
def test_early_stopping_keeps_the_best_model_in_the_shapes_of_the_last_stage(way, configured, tmp_path):
    """The rate is so large after the growth that all evaluations are worse."""
    rate = {"use": "piecewise", "values": [0.03, 30.0], "boundaries": [4]}
    optimizer = {"adam": ADAM["adam"], "lr": {"use": "scale_by_learning_rate", "learning_rate": rate}}
    train = TABLES["train"] | {"steps": 40, "early_stopping": {"patience": 2}}
    more = {} if way == "keep" else TEXT | {"grow": [{"at": 4, "way": "stack", "model": {"layers": 2}}]}
    made = build(configured(**more, train=train, optimizer=optimizer), "test")
    trainer = begun(made, tmp_path / "run", Program(made))
    assert trainer.train() is None
    result, rows = trainer.run.result, evaluations(read(trainer.run.folder / "metrics.jsonl"))
    assert result["ending"] == "stopped early"
    found = restore(trainer.run)
    chex.assert_trees_all_equal_shapes(found.models["parameters"]["params"], trainer.carry["params"])
    best = min(
        rows[way == "stack" :], key=lambda row: row["validation_loss"]
    )  # where the function changes, of the rest
    assert result["scored_step"] == found.step == best["step"]
    assert result["step"] == (12 if way == "keep" else best["step"] + 8)  # the patience starts again at the growth
    assert found.scores(("validation",))["validation"]["parameters"]["loss"] == pytest.approx(
        best["validation_loss"], rel=1e-5
    )


def test_a_run_answers_with_the_shapes_of_its_newest_checkpoint(configured, tmp_path, capsys):
    built = build(configured(), "test")
    program = Program(built)
    inputs = tmp_path / "inputs.npy"
    np.save(inputs, np.zeros((2, 3), np.float32))
    for step, units in ((4, 4), (8, 7)):  # before the growth, which is due, and after it
        trainer = session(built, tmp_path / "run", program)
        opened = lab.open(tmp_path / "run")
        assert opened.params["Dense_0"]["kernel"].shape == (3, units)
        expected = losses(trainer, models(trainer.carry))["parameters"]
        assert opened.trained.scores(("validation",))["validation"]["parameters"]["loss"] == pytest.approx(expected)
        for suffix in ("npz", "zip"):
            file = tmp_path / f"model_{step}.{suffix}"
            assert main(["export", str(tmp_path / "run"), str(file)]) == 0
            assert f"of step {step}" in capsys.readouterr().out
        with np.load(tmp_path / f"model_{step}.npz") as arrays:
            assert arrays["Dense_0/kernel"].shape == (3, units)
        assert main(["evaluate", str(tmp_path / "run")]) == 0
        assert f"{expected:.4f}" in capsys.readouterr().out
        assert main(["predict", str(tmp_path / "run"), str(inputs)]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 3


STACKED = """
import flax.linen as nn
from flax import nnx


class Residual(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return x + nn.Dense(4, name="last")(nn.tanh(nn.Dense(6, name="first")(x))), None


class Linen(nn.Module):
    layers: int = 2

    @nn.compact
    def __call__(self, x):
        split = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}, "length": self.layers}
        x = nn.scan(Residual, **split)(name="blocks")(nn.Dense(4, name="into")(x), None)[0]
        return nn.Dense(1, name="head")(x)


class Block(nnx.Module):
    def __init__(self, rngs):
        self.first, self.last = nnx.Linear(4, 6, rngs=rngs), nnx.Linear(6, 4, rngs=rngs)

    def __call__(self, x):
        return x + self.last(nnx.tanh(self.first(x)))


class Nnx(nnx.Module):
    def __init__(self, rngs, layers: int = 2):
        self.into, self.head = nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 1, rngs=rngs)
        self.blocks = nnx.split_rngs(splits=layers)(nnx.vmap(Block, in_axes=0, out_axes=0))(rngs)

    def __call__(self, x):
        each = nnx.scan(lambda x, block: block(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        return self.head(each(self.into(x), self.blocks))
"""


@pytest.mark.parametrize("kind", ["Linen", "Nnx"])
@pytest.mark.parametrize("way", ["keep", "stack"])
def test_stacked_layers_of_a_model_of_the_users_grow(kind, way, configured, tmp_path):
    (tmp_path / "own.py").write_text(STACKED)
    stage = {"at": 4, "model": {"layers": 4}, "way": way, "layers": ["blocks/*"]}
    stage |= {"zero": ["blocks/last/*"]} if way == "keep" else {}
    optimizer = {"use": "over_layers", "layers": {"blocks/*": 1}, "tx": ADAM}
    built = build(configured(model={"use": f"own.py:{kind}"}, grow=[stage], optimizer=optimizer), "test")
    trainer = begun(built, tmp_path / "run", Program(built))
    trainer._chunk()
    before, old = losses(trainer, models(trainer.carry))["parameters"], jax.device_get(trainer.carry["params"])
    trainer._grow()
    after, new = losses(trainer, models(trainer.carry))["parameters"], trainer.carry["params"]
    assert (after == pytest.approx(before, rel=2e-6)) == (way == "keep")
    first, last = ((old["blocks"][name]["kernel"], new["blocks"][name]["kernel"]) for name in ("first", "last"))
    np.testing.assert_array_equal(first[1][:2], first[0])
    np.testing.assert_array_equal(last[1][2:], last[0] if way == "stack" else 0)
    mu = jax.device_get(trainer.carry["opt_state"]["links"]["adam"]["scale_by_adam"]["mu"]["blocks"])
    assert (mu["first"]["kernel"][2:] == mu["first"]["kernel"][:2]).all() == (way == "stack")


REFUSED = {
    "mesh": ({"mesh": {"data": 1}}, "grow: a model cannot grow with mesh yet; leave one of the two out"),
    "lora": ({"lora": {"rank": 2}}, "grow: a model cannot grow with lora yet"),
    "freeze": (
        {"train": TABLES["train"] | {"freeze": ["Dense_0/*"]}},
        "grow: a model cannot grow with train.freeze yet; leave one of the two out",
    ),
    "rows": (
        {
            "task": TABLES["task"] | {"use": "task.py:ids"},
            "model": {"use": "embedding", "width": 2, "hidden": [4]},
            "optimizer": {"use": "rows", "tables": "embed/*", "tx": ADAM},
        },
        "grow: the optimizer updates single rows, and keeps when; leave `rows` or grow out",
    ),
    "masks": (
        {"optimizer": {"use": "sparse", "sparsity": 0.5, "tx": ADAM}},
        "grow: `sparse` would choose its masks again, and the function would change; leave `sparse` or grow out",
    ),
    "smaller heads": (HEADS | {"grow": [{"at": 4, "model": {"hidden": [3]}}]}, "grow.0.model.hidden: got [3] after"),
    "a base of another depth": (
        MUP | {"mup": {"base": {"width": 2, "depth": 1}}, "grow": [{"at": 4, "model": {"depth": 2}}]},
        "grow.0: mup: ",
    ),
}


def test_lanes_of_a_study_do_not_grow(configured):
    built = build(configured(), "test")
    with pytest.raises(InputError, match="grow: lanes have one program; expected search.parallel = 'processes'"):
        require_side_by_side(built.config, built.task)


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_model_cannot_grow_with_is_refused_before_training(case, configured):
    changes, said = REFUSED[case]
    with pytest.raises(InputError) as error:
        build(configured(**changes), "test")
    assert said in str(error.value)
