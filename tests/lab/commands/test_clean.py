"""What is removed of runs that have ended, and what stays."""

import pytest
import small_runs
import small_studies

from optchain.lab.commands.main import main
from optchain.lab.runs.writer import sole_writer


def checkpoints(folder):
    return sorted(path.relative_to(folder).parts[0] for path in folder.rglob("checkpoints"))


def test_trials_lose_their_checkpoints_and_nothing_else(tmp_path, capsys):
    study = small_studies.searched(tmp_path, search='trials = 2\nsampler = "random"\nfresh = 1')
    study.finish()
    before = {path for path in study.folder.rglob("*") if path.is_file() and "checkpoints" not in path.parts}
    (study.folder / "trials" / "aside").mkdir()
    for trial in study.folder.glob("trials/*/*/"):
        (trial / "checkpoints").mkdir(exist_ok=True)
        (trial / "checkpoints" / "weights").write_bytes(bytes(1_500_000))
    assert main(["clean", str(study.folder), "--dry-run"]) == 0
    assert "would free 3.0 MB" in capsys.readouterr().out
    assert main(["clean", str(study.folder)]) == 0
    assert "freed 3.0 MB" in capsys.readouterr().out
    assert checkpoints(study.folder) == ["fresh"] and all(path.is_file() for path in before)
    assert main(["clean", str(study.folder), "--all"]) == 0
    assert checkpoints(study.folder) == []


def test_what_another_process_writes_to_stays(tmp_path, capsys):
    trainer = small_runs.train(tmp_path, "train.steps=20")
    (trainer.run.folder / "damaged").mkdir()
    with sole_writer(trainer.run.folder):
        assert main(["clean", str(tmp_path)]) == 0
    assert "is in use" in capsys.readouterr().err and (trainer.run.folder / "damaged").is_dir()
    assert main(["clean", str(tmp_path)]) == 0
    assert not (trainer.run.folder / "damaged").exists() and checkpoints(trainer.run.folder) == ["checkpoints"]


def test_no_folder_is_named(tmp_path, capsys):
    assert main(["clean", str(tmp_path / "none")]) == 2
    assert f"{tmp_path / 'none'} is no folder" in capsys.readouterr().err


@pytest.mark.full
def test_steps_are_profiled(tmp_path):
    file, out = small_runs.small(tmp_path, steps=20, every=5), tmp_path / "run"
    assert main(["train", str(file), "--out", str(out), "--profile"]) == 0
    assert [path.suffix for path in (out / "profile").rglob("*.pb")] == [".pb"]
