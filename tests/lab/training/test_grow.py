"""Runs whose model grows: the function, resumption, what is read of them afterwards, and what is refused."""

import json
import shutil
import types
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_runs

from optchain.inspect.grow import Growth
from optchain.inspect.grow_plan import planned
from optchain.lab.base.errors import InputError
from optchain.lab.models import tables
from optchain.lab.models.functional import functional
from optchain.lab.models.growing import rules_of
from optchain.lab.models.network import build as network
from optchain.lab.models.transformer import Transformer
from optchain.lab.reports.report import page
from optchain.lab.runs import config, run
from optchain.lab.runs.logs import evaluations, read
from optchain.lab.settings.grow import Grow
from optchain.lab.training.evaluate import restore
from optchain.lab.training.experiment import build
from optchain.lab.training.scoring import by_path
from optchain.lab.training.train import Trainer

GROW = "grow=[{at = 20, model = {hidden = [14]}}]"
LOSSES = ("loss", "accuracy")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network with batch normalization, dropout and an average, which grows after 20 of 60 steps."""
    return small_runs.train(tmp_path_factory.mktemp("trained"), GROW)


def curves(trainer):
    """All that was measured, without seconds."""
    rows = read(trainer.run.folder / "metrics.jsonl")
    steps = [[row["step"], *(row[name] for name in LOSSES)] for row in rows if "loss" in row]
    scores = [{k: x for k, x in row.items() if "second" not in k} for row in evaluations(rows)]
    return steps, scores, [row for row in rows if "growth" in row]


def test_the_function_is_kept_and_the_run_says_where_it_grew(trained):
    steps, scores, (growth,) = curves(trained)
    assert growth["step"] == 21 and [row[0] for row in steps] == list(range(1, 61))
    before = next(row for row in scores if row["step"] == 20)["validation_average_loss"]
    assert abs(growth["growth"]["validation loss"] - before) < 1e-5
    few, many = growth["growth"]["parameters"]
    assert many - few == 4 * 5  # of each of four units more: two inputs, a scale and a bias, and one output
    assert growth["growth"]["again"] == []
    assert trained.carry["params"]["Dense_0"]["kernel"].shape == (2, 14)
    assert trained.carry["rest"]["batch_stats"]["Block_0"]["BatchNorm_0"]["mean"].shape == (14,)
    text = page([trained.run])
    assert "Growth of the model" in text and "hidden = [14]" in text and f"{few:,} to {many:,}" in text


def test_a_run_that_is_stopped_before_at_and_after_the_growth_goes_on_bit_for_bit(trained, tmp_path):
    shutil.copytree(trained.run.folder.parent, tmp_path, dirs_exist_ok=True)
    resolved = config.load(tmp_path / "small.toml", [GROW])
    shutil.rmtree(tmp_path / "run")
    built = build(resolved, "small.toml")
    run.create(tmp_path / "run", resolved, "", overwrite=False)
    stages, trainer = [], trained
    for _ in range(3):  # each goes on from a checkpoint: of step 0, of 20 (which is to grow), of 40 (which has grown)
        trainer = Trainer(built, run.reopen(tmp_path / "run", resolved), program=small_runs.shared_program(built))
        stages.append(trainer.progress["stage"])
        trainer._chunk()
        trainer._save()
        trainer.checkpoints.close()
    assert stages == [0, 0, 1] and trainer.progress["step"] == 60
    assert curves(trainer) == curves(trained)
    chex.assert_trees_all_equal(trainer.carry["params"], trained.carry["params"])
    chex.assert_trees_all_equal(trainer.best, trained.best)


def test_the_grown_model_is_the_one_that_answers(trained, tmp_path):
    again = restore(trained.run)
    assert again.step == 60 and again.experiment.config.model.hidden == [14]
    scores = json.loads((trained.run.folder / "result.json").read_text())["scores"]
    for name, found in again.scores(("test",))["test"].items():
        assert abs(found["loss"] - scores["test"][name]["loss"]) < 1e-6
    assert len(again.answers(np.zeros((3, 2), np.float32))) >= 1
    assert by_path(again.whole)["Dense_0/kernel"].shape == (2, 14)
    assert trained.run.config.model.hidden == [10]  # the configuration is the one that was given


@pytest.mark.parametrize(
    "sets, said",
    [
        ("{at = 20, model = {hiden = [14]}}", "grow.0.model.hiden: unknown key; did you mean 'hidden'"),
        ("{at = 20, model = {hidden = 'x'}}", "grow.0.model.hidden"),
        ("{at = 20, model = {}}", "grow.0.model: got no key"),
        ("{at = 20, model = {use = 'transformer'}}", "grow.0.model.use: got 'transformer'"),
        ("{at = 20, model = {hidden = [10]}}", "grow.0.model: got the model that there was before"),
        ("{at = 0, model = {hidden = [14]}}", "grow.0.at"),
        ("{at = 'epoch', model = {hidden = [14]}}", "grow.0.at: got 'epoch'"),
        ("{at = 20}", "grow.0.model: missing"),
        ("{at = 20, model = {hidden = [14]}, way = 'stck'}", "grow.0.way: got 'stck'; did you mean 'stack'"),
        ("{at = 20, model = {hidden = [14]}, away = 'keep'}", "grow.0.away: unknown key; did you mean"),
    ],
)
def test_a_table_that_does_not_fit_is_an_error_of_its_key(sets, said, tmp_path):
    with pytest.raises(InputError, match=said.replace("[", r"\[").replace(".", r"\.")):
        config.load(small_runs.small(tmp_path), [f"grow=[{sets}]"])


@pytest.fixture(scope="module")
def buildable(tmp_path_factory):
    path = small_runs.small(tmp_path_factory.mktemp("buildable"))

    def refused(*sets):
        with pytest.raises(InputError) as error:
            build(config.load(path, list(sets)), "small.toml")
        return str(error.value)

    return refused


@pytest.mark.parametrize(
    "sets, said",
    [
        (["grow=[{at = 60, model = {hidden = [14]}}]"], "grow.0.at = 60; expected a step before the last one"),
        (["grow=[{at = 30, model = {hidden = [14]}}]"], "expected a multiple of train.evaluate_every = 20"),
        (
            ["grow=[{at = 40, model = {hidden = [14]}}, {at = 20, model = {hidden = [16]}}]"],
            "grow.1.at = 20; expected a step after 40",
        ),
        (["grow=[{at = 20, model = {hidden = [8]}}]"], "grow.0.model.hidden: got [8] after [10]"),
        (["grow=[{at = 20, model = {norm = 'layer'}}]"], "grow.0.model.norm: a growth cannot change it and keep the"),
        (
            ["grow=[{at = 20, way = 'stack', model = {hidden = [10, 10]}}]"],
            "grow.0.way: 'stack' copies layers of one shape; expected a transformer or a model of your own",
        ),
        ([GROW, "train.snapshots=[20]"], "train.snapshots.0 = 20; expected steps after 20"),
        ([GROW, "lora={rank = 2}"], "grow: a model cannot grow with lora yet"),
        (["grow=[{at = 20, model = {hidden = [14]}, zero = ['x']}]"], "grow.0.zero: a built-in model knows its own"),
    ],
)
def test_a_growth_that_cannot_be_made_is_an_error_before_training(sets, said, buildable):
    assert said in buildable(*sets)


TANH, BATCH = ({"hidden": [4], **x} for x in ({"activation": "tanh"}, {"norm": "batch"}))
TEXT = {"use": "transformer", "width": 4, "heads": 2, "layers": 1}


def told(kind, old, new, **stage) -> Any:
    """What `optchain.grow` is told for two tables of a kind."""
    a, b = (tables.MODELS[kind].model_validate({"use": kind} | table) for table in (old, new))
    return a, b, rules_of(a, b, Grow(at=1, model=new, **stage), 0)


@pytest.mark.parametrize(
    "kind, old, new, said",
    [
        ("network", TANH, TANH | {"hidden": [4, 4]}, "activation = 'tanh'"),
        ("network", BATCH, BATCH | {"hidden": [4, 4]}, "norm = 'batch' changes what"),
        ("network", {"hidden": [4], "norm": "layer"}, {"hidden": [6], "norm": "layer"}, "expected a multiple of 4"),
        ("network", {}, {"hidden": [6]}, "the inputs of a first hidden layer may be negative"),
        ("network", {"channels": [2]}, {"channels": [2, 2]}, "a new convolution halves the image; expected as many, 1"),
        ("network", {"hidden": [4]}, {"hidden": [4, 3]}, "a new layer of 3 units after 4 is smaller"),
        ("network", {"hidden": [4]}, {"hidden": [6], "activation": "tanh"}, "a growth cannot change it and keep"),
        ("transformer", TEXT, TEXT | {"width": 6}, "RMSNorm takes a mean over all units"),
        ("transformer", TEXT, TEXT | {"heads": 4}, "heads of 1 units after 2"),
        ("transformer", TEXT | {"layers": 2}, TEXT, "model.layers: got 1 after 2"),
        ("transformer", TEXT | {"norm": "post"}, TEXT | {"norm": "post", "layers": 2}, "or way = 'stack'"),
    ],
)  # fmt: skip
def test_what_cannot_keep_the_function_is_refused_by_name(kind, old, new, said):
    with pytest.raises(InputError) as error:
        told(kind, old, new)
    assert said in str(error.value)


def compared(models, rules, inputs):
    """The outputs of the small model and of the larger one, with parameters that are far from a start."""
    with jax.default_matmul_precision("highest"):
        (p, rest), (q, after) = (model.init(jax.random.key(i), inputs) for i, model in enumerate(models))
        p = jax.tree.map(lambda x: x + 0.1 * jnp.arange(x.size).reshape(x.shape) % 0.7, p)
        old, new = ({"params": x, "rest": y} for x, y in ((p, rest), (q, after)))
        growth = Growth(planned(by_path(old), by_path(new), rules))
        q, after = growth.tree(p, q), growth.tree(rest, after)
        return models[0].apply(p, rest, inputs)[0], models[1].apply(q, after, inputs)[0], growth


@pytest.mark.parametrize(
    "new",
    [
        {"width": 8, "heads": 4},  # heads are copied
        {"width": 12},  # heads become larger
        {"layers": 3},
        {"width": 8, "heads": 2, "layers": 2, "scan": True},
    ],
)
def test_a_transformer_grows(new):
    old = TEXT | {"scan": new.get("scan", False)}
    a, b, rules = told("transformer", old, TEXT | new, noise=0.2)
    inputs = jnp.arange(10).reshape(2, 5) % 7
    before, after, _ = compared([functional(Transformer(x, 7)) for x in (a, b)], rules, inputs)
    np.testing.assert_allclose(after, before, atol=1e-5 * float(jnp.abs(before).max()))


@pytest.mark.parametrize("scan", [False, True])
def test_layers_are_stacked(scan):
    old = TEXT | {"layers": 2, "scan": scan}
    a, b, rules = told("transformer", old, old | {"layers": 4}, way="stack")
    models = [functional(Transformer(x, 7)) for x in (a, b)]
    before, after, growth = compared(models, rules, jnp.arange(10).reshape(2, 5) % 7)
    assert not np.allclose(before, after, atol=1e-2)
    if scan:
        np.testing.assert_array_equal(growth.sources["layers/wide/kernel"].layers, [0, 1, 0, 1])
    else:
        assert growth.sources["layer_3/wide/kernel"].path == "layer_1/wide/kernel"


def test_images_an_embedding_and_layer_normalization_grow():
    task: Any = types.SimpleNamespace(outputs=3, ids=9)
    for kind, old, new, inputs in (
        ("network", {"channels": [2], "hidden": [4]}, {"channels": [3], "hidden": [7, 8]}, jnp.ones((2, 4, 4, 1))),
        ("network", {"hidden": [4], "norm": "layer"}, {"hidden": [8], "norm": "layer"}, jnp.arange(6.0).reshape(2, 3)),
        ("embedding", {"width": 2, "hidden": [4]}, {"width": 5, "hidden": [6, 6]}, jnp.array([[1, 2], [3, 8]])),
    ):
        a, b, rules = told(kind, old, new, noise=0.2)
        before, after, _ = compared([network(x, task) for x in (a, b)], rules, inputs)
        np.testing.assert_allclose(after, before, atol=1e-5 * float(jnp.abs(before).max()))


OWN = """
import flax.linen as nn
from flax import nnx


class Linen(nn.Module):
    width: int = 6
    blocks: int = 1

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(6, name="into")(x)
        for i in range(self.blocks):
            x = x + nn.Dense(6, name=f"back_{i}")(nn.tanh(nn.Dense(self.width, name=f"out_{i}")(x)))
        return nn.Dense(1, name="head")(x)


class Nnx(nnx.Module):
    def __init__(self, rngs, width: int = 6):
        self.into, self.norm = nnx.Linear(2, width, rngs=rngs), nnx.BatchNorm(width, rngs=rngs)
        self.head = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.gelu(self.norm(self.into(x))))
"""
LINEN = [
    "model={use = 'own.py:Linen'}",
    "grow=[{at = 20, model = {width = 9, blocks = 2}, zero = ['back_1/*'], axes = {'out_0/kernel' = '_ -> w', "
    "'out_0/bias' = '-> w', 'back_0/kernel' = 'w -> _'}}]",
]
NNX = [
    "model={use = 'own.py:Nnx'}",
    "grow=[{at = 20, model = {width = 9}, axes = {'into/kernel' = '_ -> w', 'into/bias' = '-> w', 'norm/*' = '-> w', "
    "'head/kernel' = 'w -> _'}}]",
]


@pytest.mark.parametrize("sets", [LINEN, NNX], ids=["linen", "nnx"])
def test_a_model_of_the_users_grows(sets, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    resolved = config.load(small_runs.small(tmp_path, 40), ["optimizer.average.decay=0.5", *sets])
    built = build(resolved, "small.toml")
    trainer = Trainer(built, run.create(tmp_path / "run", resolved, "", overwrite=False))
    assert trainer.train() is None
    _, scores, (growth,) = curves(trainer)
    before = next(row for row in scores if row["step"] == 20)["validation_average_loss"]
    assert abs(growth["growth"]["validation loss"] - before) < 1e-5
    assert restore(trainer.run).step == 40


def test_a_model_of_the_users_that_does_not_say_how_it_grows_is_refused(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    path = small_runs.small(tmp_path)
    for change, said in (
        ((", zero = ['back_1/*']", ""), "grow.0: cannot keep the function: outputs up to"),
        (("'back_0/kernel' = 'w -> _'", "'back_0/kernel' = '-> w _'"), "grow.0: cannot keep the function"),
        (("'out_0/bias' = '-> w', ", ""), "grow.0: 'out_0/bias' is 6 before and 9 after"),
    ):
        with pytest.raises(InputError) as error:
            build(config.load(path, [LINEN[0], LINEN[1].replace(*change)]), "small.toml")
        assert said in str(error.value)
