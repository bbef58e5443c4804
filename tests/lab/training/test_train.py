import math
import re

import chex
import numpy as np
import pytest
import small_runs
from scipy import stats

from optchain.lab.base.errors import InputError
from optchain.lab.reports.report import write
from optchain.lab.runs import config, run
from optchain.lab.runs.logs import Logs, read
from optchain.lab.training.evaluate import read_rows, restore
from optchain.lab.training.experiment import build
from optchain.lab.training.train import Trainer


@pytest.mark.full
def test_early_stopping_restores_the_best(tmp_path):
    sets = (
        "train.early_stopping.patience=3",
        "train.steps=2000",
        "optimizer.lr={use='scale', step_size=-0.3}",
        "task.seed=3",
    )
    trainer = small_runs.train(tmp_path, *sets)
    result, rows = trainer.run.result, [x["evaluation"] for x in read(trainer.logs.jsonl) if "evaluation" in x]
    losses = {row["step"]: row["validation_average_loss"] for row in rows}
    best = min(losses, key=lambda step: losses[step])
    assert result["ending"] == "stopped early" and result["step"] == best + 3 * 20 < 2000
    assert result["scored_step"] == best
    assert result["scores"]["validation"]["average"]["loss"] == pytest.approx(losses[best], rel=1e-6)
    chex.assert_trees_all_equal(restore(trainer.run).models, trainer.best)


@pytest.mark.full
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(tmp_path, capsys):
    # The rate becomes infinite at step 50, so that step 51 sees no numbers.
    rate = "{use='piecewise', values=[0.01, 1e38], boundaries=[50]}"
    trainer = small_runs.train(tmp_path, f"optimizer.lr={rate}", "optimizer.blow={use='scale', step_size=1e3}")
    step = trainer.run.result["step"]
    assert step > 50 and trainer.run.result["ending"] == "diverged"
    assert f"the loss is not finite at step {step}; the checkpoint of step 40 is kept" in capsys.readouterr().err
    logged = [row["step"] for row in read(trainer.logs.jsonl) if "loss" in row]
    assert logged == list(range(1, step))
    assert restore(trainer.run).step == 40


@pytest.mark.full
def test_a_changed_configuration_is_detected_and_a_longer_run_is_not(tmp_path):
    trainer = small_runs.train(tmp_path)
    folder = trainer.run.folder
    changed = config.load(small_runs.small(tmp_path), ["optimizer.lr.start=0.1", "train.batch=16", "train.steps=80"])
    with pytest.raises(InputError, match=r"(?s)another configuration.*:\n  train.batch: 32 -> 16$"):
        run.reopen(folder, changed)
    shorter = config.load(small_runs.small(tmp_path), ["train.steps=40"])
    with pytest.raises(InputError, match="train.steps: 60 -> 40"):
        run.reopen(folder, shorter)
    longer = config.load(small_runs.small(tmp_path), ["train.steps=80"])
    built = build(longer, "small.toml")
    again = Trainer(built, run.reopen(folder, longer), program=small_runs.shared_program(built))
    assert again.train() is None and again.run.result["step"] == 80
    whole = small_runs.train(tmp_path, "train.steps=80", folder="whole")
    losses = [[row["loss"] for row in read(x.logs.jsonl) if "loss" in row] for x in (again, whole)]
    assert losses[0] == losses[1] and len(losses[0]) == 80


def test_a_run_may_be_overwritten_only_on_request(tmp_path):
    trainer = small_runs.train(tmp_path)
    resolved, folder = trainer.experiment.config, trainer.run.folder
    with pytest.raises(InputError, match="holds a finished run; choose another --out, or give it up with --overwrite"):
        run.create(folder, resolved, "", overwrite=False)
    assert run.create(folder, resolved, "", overwrite=True).result is None
    with pytest.raises(InputError, match="holds an unfinished run; continue it with --resume"):
        run.create(folder, resolved, "", overwrite=False)


def test_the_rate_of_an_optimizer_of_optax_is_logged(tmp_path):
    text = small_runs.small(tmp_path).read_text()
    text = text[: text.index("[optimizer]")] + (
        '[optimizer.belief]\nuse = "optax.adabelief"\n'
        'learning_rate = {use = "linear", start = 0.1, end = 0.0, steps = 60}\n'
    )
    path = tmp_path / "belief.toml"
    path.write_text(text)
    resolved = config.load(path)
    trainer = Trainer(build(resolved, str(path)), run.create(tmp_path / "run", resolved, "", overwrite=False))
    assert trainer.train() is None
    rates = [row["evaluation"]["belief.learning_rate"] for row in read(trainer.logs.jsonl) if "evaluation" in row]
    np.testing.assert_allclose(rates, [0.1 * (1 - step / 60) for step in (19, 39, 59)], rtol=1e-5)


@pytest.mark.full
def test_reports_lay_runs_of_one_task_side_by_side(tmp_path):
    folders = []
    for name, rate in [("default", 1e-3), ("tuned", 3e-2)]:
        resolved = config.load(small_runs.ROOT / "configs" / "linear" / f"{name}.toml")
        assert resolved.optimizer["lr"]["learning_rate"] == rate
        opened = run.create(tmp_path / name, resolved, f"train {name}", overwrite=False)
        assert Trainer(build(resolved, name), opened).train() is None
        folders.append(opened)
    losses = [opened.result["scores"]["train"]["parameters"]["loss"] for opened in folders]
    assert losses[0] > 1.5 and losses[1] == pytest.approx(0.861, abs=2e-3)
    write(folders, tmp_path / "both.html")
    page = (tmp_path / "both.html").read_text()
    for text in (
        "linear: default, tuned",
        "train default",
        "train tuned",
        f"{losses[0]:.4f}",
        f"{losses[1]:.4f}",
        "0.8615",
    ):
        assert text in page
    other = small_runs.train(tmp_path)
    with pytest.raises(InputError, match="different tasks have no common report: linear, circles"):
        write([folders[0], other.run], tmp_path / "mixed.html")


def ended(folder, loss, *sets):
    """A run of the small configuration, 200 validation examples and 200 for the test, without training anything."""
    opened = run.create(folder, config.load(small_runs.small(folder.parent), list(sets)), "the command", False)
    scores = {
        split: {"parameters": {"loss": loss + i, "accuracy": 1 - loss}}
        for i, split in enumerate(("train", "validation", "test"))
    }
    seconds = {"compiling": 1.0, "training": 1.0}
    ending = "finished" if math.isfinite(loss) else "diverged"
    scores = scores if ending == "finished" else {}
    opened.write("result.json", {"ending": ending, "step": 60, "scores": scores, "seconds": seconds})
    Logs(opened.folder, 1).evaluation({"step": 60, "validation_loss": loss, "validation_accuracy": 1 - loss})
    return opened


def text_of(path):
    """A page without its tags and charts."""
    page = re.sub(r"<(svg|style).*?</\1>|<wbr>", "", path.read_text(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def test_runs_that_differ_in_their_seed_have_one_mean_and_what_differs_is_at_the_top(tmp_path):
    few = [ended(tmp_path / f"a{seed}", loss, f"train.seed={seed}") for seed, loss in enumerate((0.2, 0.4, math.nan))]
    wide = ended(tmp_path / "b", 0.1, "model.hidden=[20]", "optimizer.adam.b1=0.8")
    write([*few, wide], tmp_path / "report.html")
    text = text_of(tmp_path / "report.html")
    first = (
        "What differs configuration model.hidden optimizer.adam.b1 runs seeds 1 10 - a0, a1, a2 0, 1, 2 2 20 0.8 b 0"
    )
    assert first in text and text.index(first) < text.index("Result")
    assert "Optimizer of configuration 2 beside that of 1" in text and re.search(r"adam\.b1\s+0\.9\s+0\.8", text)
    half = stats.t.ppf(0.975, 1) * 0.1  # of two runs: the third diverged
    assert f"1 train parameters {0.3:.4f} ± {half:.4f} {70:.2f} ± {100 * half:.2f} % 2 of 3" in text
    assert text.index("1 test parameters") < text.index("1 validation parameters") < text.index("1 train parameters")
    assert "2 test parameters 2.1000 90.00 % 1 of 1" in text and "diverged at step 60" in text
    write(few, tmp_path / "report.html")
    text = text_of(tmp_path / "report.html")
    assert "One configuration, 3 runs with the seeds 0, 1, 2." in text and "What differs" not in text
    assert "beside that of 1" not in text


def test_another_order_of_the_links_is_another_configuration(tmp_path):
    one = ended(tmp_path / "a", 0.2)
    other = ended(tmp_path / "b", 0.2)
    content = other.config.model_dump()
    content["optimizer"] = dict(reversed(content["optimizer"].items()))
    other.write("config.json", content)
    write([one, other], tmp_path / "report.html")
    assert "order of links" in text_of(tmp_path / "report.html")


def test_rows_to_predict_are_checked(tmp_path):
    path = tmp_path / "rows.csv"
    for text, message in [
        ("", "holds no rows"),
        ("1,2\n3\n", "row 2 has 1"),
        ("a,b\n1,x\n", "'x'"),
        ("1,nan\n", "row 1"),
    ]:
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_rows(path, 2)
    path.write_text("x,y\n1,2\n3,4\n")
    np.testing.assert_array_equal(read_rows(path, 2), [[1, 2], [3, 4]])
