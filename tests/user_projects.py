"""Projects of users: their files in a folder of their own, and the command line on them."""

import contextlib
import csv
import io
import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

from small_runs import start, wait_for

from optchain.lab.commands.main import main
from optchain.lab.runs.logs import read

RATE = '"optimizer.lr.learning_rate" = { use = "log", low = 1e-3, high = 1e-1 }'  # what most studies search for
CONTENDER = """
    [optimizers.{name}]
    chain.{name} = {{ use = "{use}" }}
    chain.lr = {{ use = "scale_by_learning_rate", learning_rate = 1e-2 }}
    space."lr.learning_rate" = {{ use = "log", low = 1e-3, high = 1e-1 }}
"""


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


class Project:
    """A folder with a user's data, code and configurations."""

    def __init__(self, folder: Path, **files: str) -> None:
        """Args:
        folder: where to write.
        files: their texts; `mine_py` becomes `mine.py`.
        """
        self.folder = folder
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            self.write(".".join(name.rsplit("_", 1)), text)

    def write(self, name: str, text: str) -> Path:
        """A file of the project."""
        path = self.folder / name
        path.write_text(textwrap.dedent(text))
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file of the project."""
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new))

    def command(self, *arguments: object) -> Said:
        """Run the command line in this process, which forgets the project's modules again."""
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main([str(argument) for argument in arguments])
        finally:
            for name, module in list(sys.modules.items()):
                if str(getattr(module, "__file__", "")).startswith(str(self.folder)):
                    del sys.modules[name]
        return Said(code, out.getvalue(), err.getvalue())

    def done(self, *arguments: object) -> Said:
        """Run the command line, which succeeds."""
        said = self.command(*arguments)
        assert said.code == 0, said.err
        return said

    def refused(self, *sets: str, config: str = "run.toml", command: str = "train") -> str:
        """What is said where a configuration with overrides is refused."""
        said = self.command(command, self.folder / config, *_sets(sets), "--out", self.folder / "refused")
        assert said.code == 2, (said.out, said.err)
        return said.err

    def train(self, name: str = "run", *sets: str, config: str = "run.toml") -> Path:
        """Train to the end; the folder of the run."""
        self.done("train", self.folder / config, *_sets(sets), "--out", self.folder / name)
        return self.folder / name

    def killed(self, name: str, step: int, *sets: str, config: str = "run.toml") -> Path:
        """Train in a process that is killed after the checkpoint of a step; the folder of the run."""
        process = start("train", self.folder / config, *_sets(sets), "--out", self.folder / name)
        wait_for(self.folder / name, step, process)
        process.kill()
        process.communicate()
        assert not (self.folder / name / "result.json").is_file()
        return self.folder / name

    def resume(self, name: str, *sets: str, config: str = "run.toml") -> Said:
        """Continue a run to its end."""
        return self.done("train", self.folder / config, *_sets(sets), "--out", self.folder / name, "--resume")

    def moved(self, to: Path) -> "Project":
        """The project in another folder."""
        shutil.move(self.folder, to)
        return Project(to)


def losses(folder: Path) -> list[float]:
    """The loss of each step of a run."""
    return [row["loss"] for row in read(folder / "metrics.jsonl") if "loss" in row]


def result(folder: Path) -> dict:
    """How a run ended."""
    return json.loads((folder / "result.json").read_text())


def table(text: str) -> list[dict[str, str]]:
    """The rows of a CSV."""
    return list(csv.DictReader(io.StringIO(text)))


def _sets(sets: tuple[str, ...]) -> list[str]:
    return [part for text in sets for part in ("--set", text)]


def study(run: str, search: str, space: str) -> str:
    """The configuration of a study: that of a run, what is searched and how."""
    return "\n".join(map(textwrap.dedent, [run, "[search]", search, "[space]", space]))


def comparison(run: str, search: str, **optimizers: str) -> str:
    """The configuration of a comparison: that of a run without its optimizer, and optimizers by name, each a technique
    with a learning rate that is searched for."""
    shared = textwrap.dedent(run).partition("\n[optimizer")[0]
    contenders = [CONTENDER.format(name=name, use=use) for name, use in optimizers.items()]
    return "\n".join([shared, "[search]", *map(textwrap.dedent, [search, *contenders])])


def require_resumed(project: Project, *sets: str) -> None:
    """A run that is killed and continued makes what a run does that is not."""
    longer = (*sets, "train.steps=200")
    whole, killed = project.train("whole", *longer), project.killed("killed", 40, *longer)
    project.resume("killed", *longer)
    assert losses(killed) == losses(whole) and len(losses(whole)) == 200
    assert result(killed)["scores"] == result(whole)["scores"]
