"""Training on a stream is training on the same examples in memory, bit for bit."""

import os
import subprocess
import sys
import textwrap

import jax
import numpy as np
import polars as pl
import pytest
from PIL import Image

from optchain import lab
from optchain.lab.base.errors import InputError
from optchain.lab.data import streaming
from optchain.lab.data.batches import batches
from optchain.lab.data.formats import converted
from optchain.lab.data.formats.stored import StoredColumns
from optchain.lab.data.positioned import FileArray
from optchain.lab.runs import config, logs
from optchain.lab.runs import run as runs
from optchain.lab.training import feed
from optchain.lab.training.experiment import build
from optchain.lab.training.feed import Calls
from optchain.lab.training.keys import keys_of_run
from optchain.lab.training.program import Program
from optchain.lab.training.train import Trainer
from optchain.lab.tuning.lanes import require_side_by_side

DRAW = np.random.default_rng(0)
INPUTS = DRAW.normal(size=(90, 3)).astype(np.float32)
CLASSES = (INPUTS[:, 0] + INPUTS[:, 1] > 0).astype(np.int64) + (INPUTS[:, 2] > 1)
WEIGHTS = DRAW.uniform(0.5, 1.5, 90)
TABLE = """
    task = {task}
    model = {{hidden = [4]}}
    train = {{steps = {steps}, batch = {batch}, evaluate_every = {every}, log_every = 1}}
    optimizer.adam = {{use = "scale_by_adam"}}
    optimizer.lr = {{use = "scale_by_learning_rate", learning_rate = 1e-2}}
    """
TABULAR = '{{use = "{0}", path = "data.{0}", target = "y", validation = 20, stream = {1}}}'.format
OWN = '{{use = "mine.py:rows", streamed = {}, single = {}}}'.format
FILE = '{{use = "arrays", path = "data.npz", weights = "w", validation = 20, stream = {}}}'.format
MINE = """
    import numpy as np
    from optchain import lab

    class Rows:
        def __init__(self, x, y):
            self.x, self.y = x, y
        def __len__(self):
            return len(self.x)
        def rows(self, numbers):
            return self.x[numbers], self.y[numbers]

    def rows(streamed: bool, single: bool = False):
        x, y = (np.load("FOLDER/" + name) for name in ("x.npy", "y.npy"))
        inputs, held = (x[:70], y[:70]), (x[70:], y[70:])
        if not streamed:
            split = np.array(["train"] * 70 + ["validation"] * 20)
            return lab.Examples(x, y, labels=["a", "b", "c"], split=split)
        source = list(zip(*inputs)) if single else Rows(*inputs)
        return lab.Stream(source, held, labels=["a", "b", "c"])
    """


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "data.npz", x=INPUTS, y=CLASSES, w=WEIGHTS)
    np.save(tmp_path / "x.npy", INPUTS)
    np.save(tmp_path / "y.npy", CLASSES)
    (tmp_path / "mine.py").write_text("\n".join(x[4:] for x in MINE.replace("FOLDER", str(tmp_path)).splitlines()))
    return tmp_path


def made(folder, task, *sets, steps=23, batch=16, every=10):
    """The experiment of a task."""
    text = TABLE.format(task=task, steps=steps, batch=batch, every=every)
    (folder / "train.toml").write_text("\n".join(line.strip() for line in text.splitlines()))
    return build(config.load(folder / "train.toml", list(sets)), "train.toml")


def trainer_of(folder, name, *arguments, **keys):
    experiment = made(folder, *arguments, **keys)
    return Trainer(experiment, runs.opened(folder / name, experiment.config, "the command"))


def trained(*arguments, **keys):
    """A run at its end."""
    trainer = trainer_of(*arguments, **keys)
    trainer.train()
    return trainer


def same(one, other):
    """Two runs with the same losses at all steps, the same scores and the same carry, bit for bit."""
    found, expected = ([row["loss"] for row in logs.read(x.logs.jsonl) if "loss" in row] for x in (one, other))
    assert found == expected and len(found) == one.table.steps
    jax.tree.map(np.testing.assert_array_equal, one.carry, other.carry)
    assert one.result()["scores"]["validation"] == other.result()["scores"]["validation"]


@pytest.mark.parametrize("micro", ["16", "{use = 'fixed', size = 16, micro = 8}"])
@pytest.mark.parametrize("call", [feed.BYTES, 16 * 20 * 4])  # the steps of one compiled call: all, and 4
@pytest.mark.full
def test_a_stream_of_a_file_is_the_file_in_memory(folder, micro, call, monkeypatch):
    monkeypatch.setattr(feed, "BYTES", call)
    same(*(trained(folder, flag, FILE(flag), batch=micro) for flag in ("true", "false")))


@pytest.mark.parametrize("single", ["false", "true"])
@pytest.mark.full
def test_a_stream_of_the_users_is_the_examples_in_memory(folder, single):
    same(*(trained(folder, flag, OWN(flag, single)) for flag in ("true", "false")))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.full
def test_a_stream_of_a_table_is_the_table_in_memory(folder, kind, capsys):
    """Its rows are written into a file once, and again if the table has changed."""
    colors = np.array(["red", "blue", None], object)[CLASSES]
    table = pl.DataFrame({"a": INPUTS[:, 0], "color": colors, "b": INPUTS[:, 1], "y": CLASSES})
    write = {"csv": pl.DataFrame.write_csv, "parquet": pl.DataFrame.write_parquet}[kind]
    write(table, folder / f"data.{kind}")
    same(*(trained(folder, flag, TABULAR(kind, flag)) for flag in ("true", "false")))
    assert f".rows.npy beside data.{kind} once" in capsys.readouterr().err
    made(folder, TABULAR(kind, "true"))
    assert "writing" not in capsys.readouterr().err
    write(table.with_columns(b=pl.col("b") + 1), folder / f"data.{kind}")
    changed = made(folder, TABULAR(kind, "true")).task
    assert f"data.{kind} or how it is read has changed since data.{kind}." in capsys.readouterr().err
    resident = made(folder, TABULAR(kind, "false")).task
    numbers = np.array([5, 3, 3, 69])
    np.testing.assert_array_equal(changed.stream.read(numbers).inputs, resident.splits["train"].inputs[numbers])


@pytest.mark.full
def test_a_stream_of_images_is_the_images_in_memory(folder):
    for name, pixels in enumerate(DRAW.integers(0, 256, (60, 4, 5, 3), np.uint8)):
        place = folder / "images" / "abc"[name % 3] / f"{name}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
    task = '{{use = "images", path = "images", validation = 20, stream = {}}}'.format
    same(*(trained(folder, flag, task(flag)) for flag in ("true", "false")))


@pytest.mark.parametrize("packed", ["true", "false"])
@pytest.mark.full
def test_a_stream_of_texts_is_the_texts_in_memory(folder, packed):
    """Whose targets are in the file too; a batch of windows depends on the seed and the step alone, packed or not."""
    (folder / "texts").mkdir()
    for number in range(40):
        (folder / "texts" / f"{number}.txt").write_text(f"{number} bottles of beer on the wall " * (1 + number % 3))
    task = '{{use = "textfiles", path = "texts", context = 8, packed = {}, validation = 40, stream = {}}}'.format
    model = "model={use='transformer', layers=1, width=8, heads=2}"
    same(*(trained(folder, flag, task(packed, flag), model) for flag in ("true", "false")))


@pytest.mark.parametrize("kind, place", [("csv", "line 33"), ("parquet", "row 32")])
def test_a_missing_number_is_named_by_its_column(folder, kind, place):
    """After a category, of which the steps make several features; when steps are fitted, and when a row is read."""
    columns = {"color": ["red", "blue"] * 45, "width": [*range(31), None, *range(58)], "y": CLASSES}
    {"csv": pl.DataFrame.write_csv, "parquet": pl.DataFrame.write_parquet}[kind](
        pl.DataFrame(columns), folder / f"data.{kind}"
    )
    task = TABULAR(kind, "true").replace("validation = 20, ", "")
    said = f"column 'width' of {place} of .*data.{kind} is missing or not finite; expected a step of .preprocess."
    with pytest.raises(InputError, match=said):
        made(folder, task)
    with pytest.raises(InputError, match=said):
        made(folder, task, "preprocess={}").task.stream.read(np.arange(90))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_next_command_makes_no_pass(folder, kind, monkeypatch):
    """It reads neither the file nor its columns, but those of the targets, and of the rows a sample."""
    columns = {"color": ["red", "blue"] * 45, "width": range(90), "y": CLASSES}
    file = folder / f"data.{kind}"
    {"csv": pl.DataFrame.write_csv, "parquet": pl.DataFrame.write_parquet}[kind](pl.DataFrame(columns), file)
    os.utime(file, (0, 0))
    monkeypatch.setattr(streaming, "SAMPLE", 4)
    first = made(folder, TABULAR(kind, "true")).task
    read, rows = [], []
    column, at = StoredColumns.__getitem__, FileArray.__getitem__
    monkeypatch.setattr(StoredColumns, "__getitem__", lambda self, name: read.append(name) or column(self, name))
    monkeypatch.setattr(FileArray, "__getitem__", lambda self, some: rows.append(len(some)) or at(self, some))
    monkeypatch.setattr(converted.hashlib, "file_digest", None)
    second = made(folder, TABULAR(kind, "true")).task
    assert read == ["y"] and sum(rows) == 20 + 1 + 4
    numbers = np.arange(70)
    for x, y in zip(*(task.stream.read(numbers) for task in (first, second)), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_stream_resumes_within_an_epoch(folder):
    whole = trained(folder, "whole", FILE("true"))
    stopped = trainer_of(folder, "stopped", FILE("true"))
    with stopped.program:
        stopped._chunk()
    stopped.checkpoints.save(stopped.carry, stopped.best, stopped.progress)
    stopped.checkpoints.close()
    again = trainer_of(folder, "stopped", FILE("true"))
    assert again.progress["step"] == 10 and 10 * 16 % again.experiment.task.size == 20
    again.train()
    same(again, whole)


def test_a_foreseen_batch_is_the_one_that_is_asked_for(folder):
    """In whatever order runs, steps and lengths are asked for."""
    experiment = made(folder, FILE("true"))
    program = Program(experiment)
    task, resident = experiment.task, made(folder, FILE("false")).task
    with program:
        for seed, seen, steps in [(0, 0, 3), (0, 48, 3), (1, 96, 2), (1, 128, 2), (1, 0, 2), (0, 2**32 - 32, 4)]:
            taken = list(program.feed.take(seed, seen, steps))
            assert [length for _, length in taken] == [steps]
            rows = batches(keys_of_run(seed)[2], np.uint32(seen), steps, 16, task.size)
            expected = jax.tree.map(lambda x, rows=rows: x[np.asarray(rows)], resident.splits["train"])
            jax.tree.map(np.testing.assert_array_equal, taken[0][0], expected)


REFUSED = {
    "train.batch: got sizes of 8 to 16, and the batches": "train.batch={use='random', sizes=[8, 16], micro=8}",
    "preprocess.q: 'quantile' needs all training rows": "preprocess={q={use='quantile'}}",
    "preprocess.i: 'impute' needs all training rows": "preprocess={i={use='impute', by='median'}}",
    "preprocess.d: 'drop_missing' needs all training": "preprocess={d={use='drop_missing'}}",
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_needs_all_examples_is_refused_by_name(folder, said):
    with pytest.raises(InputError, match=said):
        made(folder, FILE("true"), REFUSED[said])


CLASSES_OF = {
    "sampling": "train.sampling='balanced'",
    "weights": "loss={class_weights='balanced'}",
    "adjusted": "loss={logit_adjustment=1.0}",
}


@pytest.mark.parametrize("name", CLASSES_OF)
@pytest.mark.full
def test_classes_are_counted(folder, name):
    """All of them, though the sample that is scored has but a few examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "SAMPLE", 4)
        one = trained(folder, "true", FILE("true"), CLASSES_OF[name])
    same(one, trained(folder, "false", FILE("false"), CLASSES_OF[name]))


def test_the_classes_of_a_stream_are_counted_in_one_pass(folder, capsys):
    task = made(folder, OWN("true", "false"), *CLASSES_OF.values()).task
    np.testing.assert_array_equal(task.counted.counts, np.bincount(CLASSES[:70]))
    assert sorted(task.counted.by_class.rows) == list(range(70))
    assert capsys.readouterr().err.count("counting the classes: one pass over 70 training examples") == 1


def test_a_class_without_a_training_example_is_named(folder):
    np.savez(folder / "data.npz", x=INPUTS, y=CLASSES, w=WEIGHTS, s=np.where(CLASSES == 2, "test", "train"))
    task = FILE("true").replace("validation = 20", "split = 's'")
    with pytest.raises(InputError, match="train.sampling: there is no training example of class 2"):
        made(folder, task, "train.sampling='balanced'")


@pytest.mark.full
def test_each_device_of_a_mesh_gets_its_share(folder):
    """The losses are those of the same mesh with the examples in memory."""
    mesh = "mesh={data=2, fsdp=2}"
    one, other = (trained(folder, flag, FILE(flag), mesh) for flag in ("true", "false"))
    same(one, other)
    with one.program:
        ((taken, _),) = one.program.feed.take(0, 0, 3)
    assert taken.inputs.sharding.spec == jax.P(None, ("data", "fsdp"))
    assert {shard.data.shape for shard in taken.inputs.addressable_shards} == {(3, 4, 3)}


def test_a_process_reads_only_the_places_of_its_own_devices(folder):
    """Of a batch of 8 here the second quarter, as a process would whose devices hold it."""
    stream = made(folder, FILE("true")).task.stream
    whole, part = (
        Calls(stream, np.uint32(1), 16, [2, 1], 8, columns)[3] for columns in (np.arange(8), np.arange(2, 4))
    )
    for x, y in zip(whole, part, strict=True):
        np.testing.assert_array_equal(x[:, 2:4], y)


@pytest.mark.full
def test_workers_read_the_same(folder):
    same(trained(folder, "two", FILE("true"), "task.workers=2"), trained(folder, "none", FILE("true")))


def test_workers_are_for_streams(folder):
    with pytest.raises(InputError, match="task.workers: got 2 for data in memory; expected a task that is a stream"):
        made(folder, FILE("false"), "task.workers=2")


BIG = """
import pathlib, resource, sys
import numpy as np

folder = pathlib.Path(sys.argv[1])
with (folder / "x.npy").open("wb") as file:
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (1_000_000, 2048)})
    file.truncate(file.tell() + 8_192_000_000)
np.save(folder / "y.npy", np.arange(1_000_000) % 4)
from optchain.lab.commands.main import main

assert main(["train", str(folder / "train.toml"), "--out", str(folder / "run")]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_8_gigabytes_are_trained_on_in_less_than_one(tmp_path):
    task = '{use = "arrays", path = "x.npy", targets_path = "y.npy", validation = 100, stream = true}'
    text = textwrap.dedent(TABLE.format(task=task, steps=300, batch=64, every=100)) + "[preprocess]"
    (tmp_path / "train.toml").write_text(text)
    (tmp_path / "big.py").write_text(BIG)
    done = subprocess.run([sys.executable, tmp_path / "big.py", tmp_path], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    assert int(done.stdout.split()[-1]) < 1e9


def test_lanes_are_refused_by_name(folder):
    experiment = made(folder, FILE("true"), "train.steps=20")
    with pytest.raises(InputError, match="search.parallel = 'vmap': the task is a stream"):
        require_side_by_side(experiment.config, experiment.task)


def test_a_stream_from_python(folder, monkeypatch):
    """An object, of which the run's folder keeps what a later process needs."""
    monkeypatch.chdir(folder)
    stream = lab.Stream(list(zip(INPUTS, INPUTS[:, 0], strict=True)), (INPUTS[:9], INPUTS[:9, 0]))
    chain = {"use": "scale_by_learning_rate", "learning_rate": 1e-2}
    run = lab.train(
        task=stream, model={"hidden": [2]}, optimizer={"lr": chain}, steps=3, batch=8, out="run", quiet=True
    )
    assert set(run.scores) == {"train", "validation"} and run.predict(INPUTS[:2])
