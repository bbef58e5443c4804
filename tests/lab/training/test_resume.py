"""Runs that go on with an edited optimizer."""

import copy
import csv
import json
import shutil
import signal

import chex
import numpy as np
import pytest
import small_runs
from tiers import one_of_each

import optchain as oc
from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.reports.report import write
from optchain.lab.runs import config, run
from optchain.lab.runs.logs import read
from optchain.lab.training.evaluate import restore
from optchain.lab.training.experiment import build
from optchain.lab.training.train import Trainer

CLIP = "optimizer.clip={use='clip_by_global_norm', max_norm=1.0}"


def reopened(folder, resolved, renames=None):
    """A trainer that goes on in a folder as a configuration says."""
    built = build(resolved, "edited")
    return Trainer(built, run.reopen(folder, resolved), renames, small_runs.shared_program(built))


def again(trainer, *sets, renames=None, drop=()):
    """A trainer that goes on from the checkpoint of another, its optimizer edited, for 20 steps more."""
    path = trainer.run.folder.parent / "small.toml"
    resolved = config.load(path, ["train.steps=80", *sets])
    table = {name: link for name, link in resolved.optimizer.items() if name not in drop}
    resolved = resolved.model_copy(update={"optimizer": table})
    return reopened(trainer.run.folder, resolved, renames)


def files(folder):
    """Everything in the folder of a run that a command may read, by name."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def links(state):
    return oc.without_metrics(state)["links"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return small_runs.train(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def finished(trained, tmp_path):
    """A finished run in a folder of the test's own."""
    shutil.copytree(trained.run.folder.parent, tmp_path, dirs_exist_ok=True)
    own = copy.copy(trained)
    own.run = run.find(tmp_path / "run")
    return own


@pytest.mark.full
def test_a_number_alone_is_accepted_and_listed(finished, capsys):
    edited = again(finished, "optimizer.lr.start=0.1")
    shown = capsys.readouterr().err
    assert "going on from step 60 with another optimizer:\n  optimizer.lr.start: 0.01 -> 0.1\nkept " in shown
    chex.assert_trees_all_equal(links(edited.carry["opt_state"]), links(finished.carry["opt_state"]))
    assert edited.train() is None and edited.run.result["step"] == 80
    rates = {x["step"]: x["optimizer"]["lr.learning_rate"] for x in read(edited.logs.jsonl) if "optimizer" in x}
    np.testing.assert_allclose(rates[65], 10 * 0.01 * 0.5 * (1 + np.cos(np.pi * 64 / 300)), rtol=1e-5)


@pytest.mark.full
def test_an_edited_chain_keeps_its_moments_and_goes_on(finished, capsys):
    edited = again(finished, CLIP)
    shown = capsys.readouterr().err
    assert "created    clip\n" in shown and "optimizer.clip.max_norm: 'absent' -> 1.0" in shown
    before, after = links(finished.carry["opt_state"]), links(edited.carry["opt_state"])
    chex.assert_trees_all_equal({name: after[name] for name in before}, before)
    assert after["clip"]["clip_by_global_norm"]["count"] == 0 and edited.carry["opt_state"]["step"] == 60
    assert edited.progress["best_loss"] == finished.progress["best_loss"]
    assert edited.train() is None
    assert run.find(edited.run.folder).config.optimizer["clip"]["max_norm"] == 1.0
    scores = edited.run.result["scores"]
    chex.assert_trees_all_equal(restore(edited.run).scores(), scores)
    # A third run, of the edited optimizer, goes on from the second as from any other.
    assert again(edited, CLIP, "train.steps=100").train() is None


def test_the_whole_optimizer_is_wrapped(finished, capsys):
    path = finished.run.folder.parent / "small.toml"
    tables = {name: link for name, link in config.load(path).optimizer.items() if name != "watch"}
    resolved = config.load(path, ["train.steps=80"])
    resolved = resolved.model_copy(update={"optimizer": {"use": "guard", "tx": tables}})
    edited = reopened(finished.run.folder, resolved)
    assert "created    (guard)\ncontinued  (guard).accepted at 60" in capsys.readouterr().err
    assert edited.train() is None
    rows = [x["optimizer"] for x in read(edited.logs.jsonl) if "optimizer" in x]
    np.testing.assert_allclose(rows[-1]["lr.learning_rate"], 0.005 * (1 + np.cos(np.pi * 79 / 300)), rtol=1e-5)


def test_other_columns_keep_their_places_in_the_table(finished):
    assert again(finished, drop=["average"]).train() is None
    with (finished.run.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["20", "40", "60", "80"]
    assert [row["validation_average_loss"] != "" for row in rows] == [True, True, True, False]
    assert all(float(row["lr.learning_rate"]) > 0 for row in rows)
    write([run.find(finished.run.folder)], finished.run.folder / "report.html")


def test_other_models_begin_a_new_search_for_the_best(finished, capsys):
    edited = again(finished, drop=["average"])
    assert "the best model is sought anew, among the parameters" in capsys.readouterr().err
    assert (
        edited.progress["best_loss"] == np.inf
        and edited.progress["best_step"] == 60
        and set(edited.best) == {"parameters"}
    )
    assert edited.train() is None and set(edited.run.result["scores"]["test"]) == {"parameters"}


@pytest.mark.full
def test_patience_begins_anew(tmp_path):
    sets = (
        "train.early_stopping.patience=3",
        "train.steps=2000",
        "optimizer.lr={use='scale', step_size=-0.3}",
        "task.seed=3",
    )
    trainer = small_runs.train(tmp_path, *sets)
    stopped = trainer.run.result["step"]
    edited = again(trainer, *sets[:2], "optimizer.lr={use='scale', step_size=-1e-3}", "task.seed=3")
    assert edited.progress["stale"] == 0 and edited.progress["best_step"] == trainer.progress["best_step"]
    assert edited.train() is None and edited.run.result["step"] > stopped


@pytest.mark.parametrize(
    "sets, drop, renames, message",
    [
        (["optimizer.moments={use='scale_by_adam'}"], ["adam"], {}, "'adam' is gone.*--rename OLD=NEW"),
        (["optimizer.adam={use='scale_by_lion'}"], [], {}, "'adam' held count, mu, nu, seen of scale_by_adam"),
        ([CLIP], [], {"adm": "adam"}, "no link 'adm'"),
        ([CLIP, "train.steps=60"], [], {}, "has made all of its 60 steps"),
        ([CLIP, "train.batch=16"], [], {}, "train.batch: 32 -> 16"),
        ([CLIP, "model.hidden=[12]"], [], {}, "model.hidden"),
    ],
)
def test_a_refused_edit_leaves_the_folder_as_it_was(finished, sets, drop, renames, message):
    before = files(finished.run.folder)
    with pytest.raises(InputError, match=f"(?s){message}"):
        again(finished, *sets, drop=drop, renames=renames)
    assert files(finished.run.folder) == before


@pytest.mark.parametrize("layout, said", [(None, "layout 1"), (3, "layout 3")])
def test_a_run_whose_states_another_version_wrote_is_refused(finished, layout, said, capsys):
    folder, about = finished.run.folder, finished.run.about
    about["versions"]["optchain"] = "0.1.0"
    about = {key: x for key, x in about.items() if key != "state_layout"} | ({"state_layout": layout} if layout else {})
    (folder / "run.json").write_text(json.dumps(about))
    before = files(folder)
    for command in (
        ["train", str(folder.parent / "small.toml"), "--out", str(folder), "--resume"],
        ["evaluate", str(folder)],
    ):
        assert main(command) == 2
        shown = capsys.readouterr().err
        assert "was written by optchain 0.1.0" in shown and said in shown and "optchain.migrate_state" in shown
    with pytest.raises(InputError, match="was written by optchain 0.1.0"):  # as a comparison opens its runs
        Trainer(build(finished.run.config, "small"), finished.run)
    assert files(folder) == before


def test_a_run_killed_after_its_configuration_was_written_migrates_again(finished):
    """Between the new configuration and the first checkpoint of the edited optimizer the old one is scored."""
    before = restore(finished.run)
    edited = again(finished, CLIP)
    edited.checkpoints.close()  # as after kill -9: no step was made
    folder = run.find(finished.run.folder)
    assert "clip" in folder.config.optimizer and folder.result is None
    chex.assert_trees_all_equal(restore(folder).models, before.models)
    once_more = again(finished, CLIP)
    chex.assert_trees_all_equal(once_more.carry, edited.carry)
    assert once_more.train() is None and once_more.run.result["step"] == 80


def test_links_in_another_order_are_a_change(finished, capsys):
    path = finished.run.folder.parent / "small.toml"
    resolved = config.load(path, ["train.steps=80", "optimizer.lr.start=0.1"])
    table = resolved.optimizer
    order = ["watch", "lr", "adam", "average"]
    resolved = resolved.model_copy(update={"optimizer": {name: table[name] for name in order}})
    edited = reopened(finished.run.folder, resolved)
    assert "in the order watch, adam, lr, average -> watch, lr, adam, average" in capsys.readouterr().err
    chex.assert_trees_all_equal(links(edited.carry["opt_state"]), links(finished.carry["opt_state"]))


@pytest.mark.full
def test_the_command_line_renames_and_survives_kill(tmp_path, capsys):
    file = small_runs.small(tmp_path, steps=1_000_000)
    first = small_runs.start("train", file, "--out", tmp_path / "run")
    small_runs.wait_for(tmp_path / "run", 20, first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    file.write_text(file.read_text().replace("[optimizer.adam]", "[optimizer.moments]"))
    resume = ("train", str(file), "--out", str(tmp_path / "run"), "--resume")
    assert main([*resume]) == 2 and "'adam' is gone" in capsys.readouterr().err
    assert "adam" in json.loads((tmp_path / "run" / "config.json").read_text())["optimizer"]
    saved = small_runs.saved(tmp_path / "run")[-1]  # of two where the kill came before the older one was removed
    second = small_runs.start(*resume, "--rename", "adam=moments")
    small_runs.wait_for(tmp_path / "run", saved + 20, second)
    second.send_signal(signal.SIGKILL)
    assert "renamed    adam -> moments" in second.communicate()[1]
    assert main(["evaluate", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    third = small_runs.start(*resume, "--rename", "adam=moments")  # the same command goes on, migrated or not
    small_runs.wait_for(tmp_path / "run", saved + 40, third)
    third.send_signal(signal.SIGTERM)
    assert "another optimizer" not in third.communicate(timeout=60)[1] and third.returncode == 143


def test_what_is_no_rename_is_bad_input(tmp_path, capsys):
    for arguments, message in [
        (["--resume", "--rename", "adam"], "--rename adam: expected OLD=NEW, or OLD= to drop the link"),
        (["--resume", "--rename", "=adam"], "--rename =adam: expected OLD=NEW"),
        (["--rename", "a=b"], "--rename is for --resume"),
    ]:
        assert main(["train", str(small_runs.small(tmp_path)), *arguments]) == 2
        assert message in capsys.readouterr().err


def cut(path):
    """Damage a file as a full disk does."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damages(capsys):
    """The lines that name a damaged checkpoint, and no traceback is among what was said."""
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return [line for line in said.splitlines() if " is damaged: " in line]


DAMAGES = {
    "cut": lambda step: cut(step / "state" / "_METADATA"),
    "progress": lambda step: cut(step / "progress" / "metadata"),
    "absent": lambda step: shutil.rmtree(step / "state"),
    "empty": lambda step: [shutil.rmtree(step), step.mkdir()],
}


@pytest.mark.parametrize("damage", one_of_each(list(DAMAGES)))
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(finished, damage, capsys):
    folder, path = finished.run.folder, finished.run.folder.parent / "small.toml"
    (folder / "result.json").unlink()  # as after a kill
    assert small_runs.saved(folder) == [40, 60]
    DAMAGES[damage](folder / "checkpoints" / "60")
    before = files(folder)
    assert main(["evaluate", str(folder)]) == 0
    (line,) = damages(capsys)
    assert line.startswith(f"{folder}/checkpoints/60 is damaged: ") and line.endswith("; going back to step 40")
    assert files(folder) == before
    resumed = reopened(folder, config.load(path))
    assert "60 is damaged: " in capsys.readouterr().err
    assert resumed.progress["step"] == 40 and (folder / "damaged" / "60").is_dir()
    assert resumed.train() is None and small_runs.saved(folder) == [40, 60]
    chex.assert_trees_all_equal(resumed.carry["params"], finished.carry["params"])


@pytest.mark.full
def test_arrays_that_are_cut_are_named_too(finished):
    """In a process of its own: Orbax reads all arrays at once, and others fail after the first error is handled."""
    folder = finished.run.folder
    for path in (folder / "checkpoints" / "60" / "state").rglob("d/*"):
        cut(path)
    process = small_runs.start("evaluate", folder)
    scores, said = process.communicate(timeout=90)
    assert process.returncode == 0 and "test" in scores
    assert "60 is damaged: " in said and "; going back to step 40" in said


def test_where_all_checkpoints_are_damaged_one_line_says_so(finished, capsys):
    folder, path = finished.run.folder, finished.run.folder.parent / "small.toml"
    (folder / "result.json").unlink()
    for step in (40, 60):
        cut(folder / "checkpoints" / str(step) / "state" / "_METADATA")
    before = files(folder)
    for command in (["train", str(path), "--out", str(folder), "--resume"], ["evaluate", str(folder)]):
        assert main(command) == 2
        first, last = damages(capsys)
        assert "60 is damaged: " in first and "40 is damaged: JSONDecodeError" in last
        assert last.endswith("there is no checkpoint before it, begin again with --overwrite")
    assert files(folder) == before | {path.relative_to(folder): b"" for path in folder.glob("writer.lock")}
