"""The task `text`, the transformer, and what it takes to train parameters that are stored in bfloat16."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import small_runs
import small_tasks
from tiers import one_of_each

from experiments.tasks.text import REGION, corpus
from optchain.lab.base.errors import InputError
from optchain.lab.models.answering import answers
from optchain.lab.runs import config, run
from optchain.lab.training.evaluate import restore
from optchain.lab.training.experiment import build
from optchain.lab.training.train import Trainer

SMALL = ["model.layers=2", "model.width=32", "model.heads=2", "task.context=16", "train.batch=8"]
SHORT = ["train.steps=20", "train.evaluate_every=10", "train.checkpoint_every=10", "task.validation=64", "task.test=64"]


def load(**changes):
    return small_tasks.load("text", **{"context": 64, "validation": 512, "test": 512} | changes)


def configured(name, *sets):
    return config.load(small_runs.ROOT / "configs" / "text" / f"{name}.toml", list(sets))


def small(name, *sets):
    return build(configured(name, *SMALL, *SHORT, *sets), name)


def logits(built, inputs, params=None):
    params = built.start()["params"] if params is None else params
    return built.model.apply(params, {}, inputs)[0]


def test_the_text_is_the_standard_librarys():
    text = corpus()
    assert b'The "assert" statement' in text and b"class ArgumentParser" in text and b"def nsmallest" in text
    assert len(text) > 500_000 and len(set(text)) > 90


def test_targets_are_the_bytes_after_the_inputs_and_no_windows_overlap():
    task, text = load(), np.frombuffer(corpus(), np.uint8)
    seen = np.zeros(len(text), int)
    for name, (inputs, targets, _) in task.splits.items():
        assert inputs.shape == targets.shape == (len(task.rows[name]), 64) and inputs.dtype == np.int32
        np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])
        for row, window, last in zip(task.rows[name], inputs, targets[:, -1], strict=True):
            place = slice(row * 65, row * 65 + 65)
            np.testing.assert_array_equal(text[place], [*window, last])
            seen[place] += 1
    assert seen[: len(text) // 65 * 65].min() == seen.max() == 1


def test_splits_are_regions_that_a_seed_chooses():
    task, again, other = load(), load(), load(seed=1)
    chex.assert_trees_all_equal(task.splits, again.splits)
    assert all(abs(len(task.rows[name]) - 512) <= 2 * REGION for name in ("validation", "test"))
    assert np.sum(np.diff(task.rows["test"]) != 1) <= 576 // REGION
    assert set(task.rows["test"]) != set(other.rows["test"])
    np.testing.assert_array_equal(task.rows["test"], load(validation=100).rows["test"])


@pytest.mark.full
def test_a_row_of_bytes_is_answered_with_the_next_one():
    built = small("float32")
    row = np.frombuffer(b"print('hello wor", np.uint8).astype(float)[None]
    outputs = logits(built, built.task.prepare(row))
    answer = answers(built.task.loss, built.task, outputs)
    assert answer["next_byte"] == [int(outputs[0, -1].argmax())]
    np.testing.assert_allclose(answer["probability"], jax.nn.softmax(outputs[0, -1]).max(), rtol=1e-5)
    for wrong in (3.5, -1.0, 256.0):
        with pytest.raises(InputError, match=f"whole numbers from 0 to 255; got {wrong:g}"):
            built.task.prepare(np.full((1, 16), wrong))


@pytest.mark.parametrize(
    "override, message",
    [
        ("model.use=transformr", "--set: model.use: got 'transformr'; did you mean 'transformer', or"),
        ("model.widht=3", "--set: model.widht: unknown key; did you mean 'width'?"),
        ("model.heads=5", "model: width = 32 is no multiple of heads = 5"),
        ("model.dtype=bfloat", "--set: model.dtype: got 'bfloat'; did you mean 'bfloat16' or 'float32'?"),
        ("task.context=0", "--set: task.context: got 0; input should be greater than 0"),
        ("task.test=1000000", "task.test: 1000000 of "),
        ('task={use="experiments.tasks.digits:digits", context=3}', "--set: task.context: unknown key; valid: fold"),
        (
            'task={use="experiments.tasks.digits:digits"}',
            "model.use: the inputs of the task are numbers; expected 'network', or a model of your own",
        ),
        ('model={use="network"}', "model.use: the inputs of the task are bytes; expected 'transformer', or a model of"),
    ],
)
def test_errors_name_the_place(override, message):
    with pytest.raises(InputError) as error:
        small("float32", override)
    assert message in str(error.value)


@pytest.mark.parametrize("scan", one_of_each(["true", "false"]))
@pytest.mark.full
def test_a_later_byte_changes_no_earlier_output(scan):
    built = small("float32", f"model.scan={scan}")
    inputs = jnp.asarray(built.task.splits["train"][0][:4])
    params = built.start()["params"]
    changed = logits(built, inputs.at[:, 9].add(1), params) != logits(built, inputs, params)
    assert not changed[:, :9].any() and changed[:, 9:].any(-1).all()


@pytest.mark.full
def test_the_scanned_model_is_the_unrolled_one():
    one, other = small("float32", "model.scan=false"), small("float32", "model.scan=true")
    unrolled, scanned = one.start()["params"], other.start()["params"]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), unrolled["layer_0"], unrolled["layer_1"])
    chex.assert_trees_all_equal_shapes(stacked, scanned["layers"])
    rest = {name: x for name, x in unrolled.items() if not name.startswith("layer_")}
    inputs, targets = (jnp.asarray(x[:8]) for x in one.task.splits["train"][:2])

    def loss(built):
        return lambda params: built.task.loss.of(logits(built, inputs, params), targets).mean()

    value, grads = jax.value_and_grad(loss(one))(unrolled)
    same, sums = jax.value_and_grad(loss(other))(rest | {"layers": stacked})
    np.testing.assert_allclose(value, same, rtol=1e-6)
    chex.assert_trees_all_close(jax.tree.map(lambda x: x[1], sums["layers"]), grads["layer_1"], rtol=1e-4, atol=1e-6)


@pytest.mark.full
def test_bfloat16_begins_at_the_rounded_float32_parameters():
    exact, narrow = small("float32").start()["params"], small("bfloat16").start()["params"]
    chex.assert_trees_all_equal(jax.tree.map(lambda x: x.astype(jnp.bfloat16), exact), narrow)


@pytest.mark.full
def test_computing_in_bfloat16_answers_nearly_the_same():
    built, narrow = small("float32"), small("float32", "model.compute=bfloat16")
    inputs = built.task.splits["train"][0][:8]
    exact, found = logits(built, inputs), logits(narrow, inputs)
    assert found.dtype == jnp.float32 and 0 < float(jnp.abs(found - exact).max()) < 0.1


def test_the_loss_is_the_cross_entropy_of_a_uniform_guess_where_nothing_is_known():
    task = load()
    targets = task.splits["validation"][1][:3]
    np.testing.assert_allclose(task.loss.of(jnp.zeros((3, 64, 256)), targets), np.log(256), rtol=1e-6)
    sure = 50 * jax.nn.one_hot(targets, 256)
    np.testing.assert_allclose(task.loss.of(sure, targets), 0, atol=1e-6)
    np.testing.assert_array_equal(task.metrics["accuracy"].of(sure, targets), 1)


@pytest.mark.full
@pytest.mark.parametrize("name", one_of_each(["stochastic", "bfloat16", "master", "kahan"]))
def test_parameters_stay_in_bfloat16_to_the_checkpoint_and_learn(tmp_path, name):
    resolved = configured(name, *SMALL, *SHORT, "optimizer.tx.lr.end=1e-2")
    opened = run.create(tmp_path / "run", resolved, "the command", False)
    trainer = Trainer(build(resolved, name), opened, scored=("validation",))  # the other examples are too many
    assert trainer.train() is None
    (folder,) = (tmp_path / "run" / "checkpoints").glob("20")
    saved = ocp.StandardCheckpointer().metadata(folder / "state").item_metadata
    assert {x.dtype for x in jax.tree.leaves(dict(saved)["carry"]["params"])} == {jnp.dtype(jnp.bfloat16)}
    restored = restore(trainer.run)
    chex.assert_trees_all_equal_dtypes(restored.models["parameters"]["params"], trainer.carry["params"])
    rows = [line.split(",") for line in trainer.logs.csv.read_text().splitlines()]
    losses = [float(row[rows[0].index("validation_loss")]) for row in rows[1:]]
    assert losses[1] < losses[0] < np.log(256)
    assert float(rows[-1][rows[0].index("lr.learning_rate")]) == pytest.approx(1e-2 * 19 / 20)
    assert restored.scores(("validation",))["validation"]["parameters"]["loss"] == pytest.approx(losses[-1], rel=1e-6)


@pytest.mark.slow
def test_stochastic_rounding_and_master_weights_keep_what_rounding_to_nearest_loses(tmp_path):
    """The configurations as they are: 800 steps at 2e-4; the mean of the last three validation losses."""
    found = {}
    for name in ("float32", "bfloat16", "stochastic", "master"):
        resolved = configured(name)
        trainer = Trainer(build(resolved, name), run.create(tmp_path / name, resolved, "the command", False))
        assert trainer.train() is None
        header, *rows = (line.split(",") for line in trainer.logs.csv.read_text().splitlines())
        found[name] = np.mean([float(row[header.index("validation_loss")]) for row in rows[-3:]])
        print(name, found[name])
    worse = {name: loss / found["float32"] - 1 for name, loss in found.items()}
    assert worse["bfloat16"] >= 0.05
    assert all(abs(worse[name]) <= 0.01 for name in ("stochastic", "master"))
