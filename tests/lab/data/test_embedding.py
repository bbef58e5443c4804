"""The click-through task: its data, its model, and that its table is trained by rows."""

import jax.numpy as jnp
import numpy as np
import pytest
import small_runs

import optchain as oc
from experiments.tasks import embedding
from optchain.lab.base.errors import InputError
from optchain.lab.runs import config, run
from optchain.lab.training.experiment import build
from optchain.lab.training.train import Trainer

PATH = small_runs.ROOT / "configs" / "embedding" / "adam.toml"
SMALL = [
    "task.examples=1200",
    "task.ids=80",
    "task.validation=200",
    "task.test=200",
    "model.width=4",
    "model.hidden=[8]",
]
SHORT = ["train.steps=60", "train.batch=32", "train.evaluate_every=30", "train.checkpoint_every=60"]


def configured(*sets):
    return config.load(PATH, [*SMALL, *SHORT, *sets])


def test_the_ids_of_a_field_are_its_own_and_the_first_are_the_most_frequent():
    ids, clicked = embedding.generate(5000, 80, 0)
    assert ids.shape == (5000, 8) and set(np.unique(clicked)) == {0, 1} and 0.3 < clicked.mean() < 0.7
    for field in range(8):
        own = ids[:, field] - 10 * field
        counts = np.bincount(own, minlength=10)
        assert own.min() >= 0 and len(counts) == 10 and counts[0] > 1.5 * counts[1] > 1.5 * counts[4]
    again = embedding.generate(5000, 80, 0)
    np.testing.assert_array_equal(ids, again[0])
    assert not np.array_equal(ids, embedding.generate(5000, 80, 1)[0])


def test_it_trains_by_rows_and_learns(tmp_path):
    resolved = configured("optimizer.tx.learning_rate=0.03")
    trainer = Trainer(build(resolved, "small"), run.create(tmp_path / "run", resolved, "the command", False))
    assert oc.row_tables(trainer.experiment.tx) == ("*/embedding",)
    assert trainer.train() is None
    assert trainer.result()["scores"]["train"]["parameters"]["loss"] < 0.68
    slept = trainer.carry["opt_state"]["inner"]["catch_up"]["last"]["embed"]["embedding"]
    assert len(np.unique(slept)) > 1  # dense gradients would touch all rows at every step


@pytest.mark.full
def test_rows_and_dense_adagrad_are_one_run(tmp_path):
    losses = []
    rows = "{use='rows', tables='*/embedding', mode='exact', tx={use='adagrad', learning_rate=0.1}}"
    for name, table in (("rows", rows), ("dense", "{use='adagrad', learning_rate=0.1}")):
        resolved = configured(f"optimizer={table}")
        trainer = Trainer(build(resolved, name), run.create(tmp_path / name, resolved, "the command", False))
        assert trainer.train() is None
        losses.append(trainer.result()["scores"]["validation"]["parameters"]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (['task={use="experiments.tasks.embedding:Clicks", ids=80}'], "task.examples: missing"),
        (
            ['task={use="experiments.tasks.digits:digits", ids=80}'],
            "task.ids: unknown key; valid: fold",
        ),
        (['model={use="network"}'], "the inputs of the task are ids; expected 'embedding'"),
        (['optimizer.tables="*/embeding"'], "did you mean"),
    ],
)
def test_what_does_not_fit_is_named(sets, message):
    with pytest.raises(InputError, match=message):
        build(configured(*sets), "small")


def test_the_model_reads_rows_of_one_table():
    built = build(configured(), "small")
    carry = built.start()
    params = carry["params"]
    assert params["embed"]["embedding"].shape == (80, 4)
    ids = jnp.zeros((3, 8), jnp.int32)
    assert built.model.apply(params, carry["rest"], ids)[0].shape == (3, 1)
