"""The folder of a run: what is in it, and when it may be written to."""

import dataclasses
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from optchain.core.states import STATE_LAYOUT
from optchain.lab.base.errors import InputError
from optchain.lab.base.files import is_taken, write_whole
from optchain.lab.runs import config
from optchain.lab.runs.provenance import provenance
from optchain.lab.runs.sources import say_changed, sources
from optchain.lab.runs.writer import HOLDER, LOCK, empty
from optchain.lab.settings.table import Table
from optchain.version import __version__

BY_HAND = "stopped by hand"  # the one ending after which a run may go on as it is


@dataclasses.dataclass(frozen=True)
class Run:
    """A folder with `config.json` (resolved), `run.json` (command, time, host, commit, versions, layout of states,
    machine, the user's objects), `task.json`, `metrics.jsonl`, `metrics.csv`, `checkpoints/`, `damaged/` and
    `snapshots/` if any, `lint.json` if its optimizer gives rise to doubts, once it has ended `result.json` and
    `report.html`; `writer.lock`, and `writer.json` while a process writes to it; and `control.toml` if the user writes
    one."""

    folder: Path
    kept: Path | None = (
        None  # the folder of checkpoints and snapshots where several processes share it; its own if None
    )

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return (self.kept or self.folder) / "checkpoints"

    @property
    def snapshots(self) -> Path:
        """The folder of the snapshots."""
        return (self.kept or self.folder) / "snapshots"

    @property
    def config(self) -> config.Config:
        """The resolved configuration."""
        return config.load(self.folder / "config.json")

    @property
    def about(self) -> dict[str, Any]:
        """The command, when and where it began, the versions, the layout of optimizer states and the machine."""
        return json.loads((self.folder / "run.json").read_text())

    @property
    def surroundings(self) -> str:
        """When and where it began, the versions and the machine in one line."""
        about = self.about
        began = {name: about[name] for name in ("began", "host", "commit", "dirty") if name in about}
        return _in_a_line(began | about["versions"] | about["machine"])

    @property
    def result(self) -> dict[str, Any] | None:
        """How the run ended, or None while it has not."""
        path = self.folder / "result.json"
        try:
            return json.loads(path.read_text()) if path.exists() else None
        except ValueError as error:
            raise InputError(f"{path}: {error}; without this file the run is not taken for an ended one") from None

    @property
    def ending(self) -> str:
        """How the run ended, in words."""
        return self.result["ending"] if self.result else "unfinished"

    @property
    def doubts(self) -> list[dict[str, Any]]:
        """What is probably a mistake in its optimizer, as `optchain.lint` has found it."""
        path = self.folder / "lint.json"
        return json.loads(path.read_text())["findings"] if path.exists() else []

    def write_doubts(self, findings: list[dict[str, Any]]) -> None:
        """Write down what is probably a mistake in its optimizer; what was written before is of an earlier one."""
        (self.folder / "lint.json").unlink(missing_ok=True)
        if findings:
            self.write("lint.json", {"findings": findings})

    def describe(self, command: str, table: Table) -> None:
        """Write down the command, when and where it began, the versions, the layout of states and the machine, and the
        user's objects in the table that is run; of a study that continues they are those with which it began."""
        known = self.about.get("objects") if (self.folder / "run.json").is_file() else None
        objects = sources(table, self.folder) if known is None else known
        about = {"command": command, **provenance(), "versions": versions(), "state_layout": STATE_LAYOUT}
        self.write("run.json", about | {"machine": machine(), "objects": objects})

    def say_changed(self) -> None:
        """Say which of the user's files have changed since the run began, if any."""
        say_changed(self.about, self.folder)

    def require_layout(self) -> None:
        """The checkpoints of the run hold states in the layout of this version.

        Raises:
            InputError: saying which version wrote them.
        """
        layout = self.about.get("state_layout", 1)
        if layout != STATE_LAYOUT:
            writer = f"optchain {self.about['versions']['optchain']}, whose optimizer states have layout {layout}"
            cure = "carry the state over with optchain.migrate_state in Python, or begin a new run with another --out"
            raise InputError(f"{self.folder} was written by {writer}; this version reads layout {STATE_LAYOUT}: {cure}")

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a JSON file at once or not at all."""
        write_whole(self.folder / name, json.dumps(content, indent=2) + "\n")


def create(folder: Path, resolved: config.Config, command: str, overwrite: bool) -> Run:
    """A new run in a folder that does not exist, is empty, or holds a run that may be overwritten.

    Raises:
        InputError: the folder holds a run and `overwrite` is false, or it holds something else.
    """
    require_place(folder, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    empty(folder)
    run = Run(folder)
    run.describe(command, resolved)
    run.write("config.json", resolved.written(folder))
    return run


def require_place(folder: Path, overwrite: bool) -> None:
    """A new run may be made in a folder, see `create`. Nothing is written."""
    if is_taken(folder, (LOCK, HOLDER)):
        if not _is_run(folder):
            raise InputError(f"{folder} exists and is no run of ours; choose another --out")
        if not overwrite:
            state = "a finished run" if Run(folder).result else "an unfinished run; continue it with --resume"
            raise InputError(f"{folder} holds {state}; choose another --out, or give it up with --overwrite")


def reopen(folder: Path, resolved: config.Config) -> Run:
    """The run in a folder, to be continued with the configuration it was started with. Nothing is written.

    Only `train.steps` may have grown since, and with it `train.epochs`: the steps made are then the first steps of the
    longer run too, because all that the optimizer's schedules know is in the optimizer's table. And the optimizer may
    have changed: its state is then carried over from the checkpoint, see `resume`. So may callbacks, trackers, the mesh
    and the number of workers, which do not decide what is computed.

    Raises:
        InputError: the folder holds no run, one of another configuration, or one whose checkpoints another version of
            optchain wrote in another layout.
    """
    run = find(folder)
    run.require_layout()
    old = run.config
    changes = config.differences(old, resolved)
    longer = (resolved.train.steps or 0) > (old.train.steps or 0)
    own = ("gradient.workers:", "gradient.listen:")  # of a server
    allowed = ("optimizer", "callbacks", "trackers", "mesh", *own)
    allowed += ("train.steps:", "train.epochs:") if longer else ()
    refused = [line for line in changes if not line.startswith(allowed)]
    require_unchanged(folder, refused)
    return run


def opened(folder: Path, resolved: config.Config, command: str) -> Run:
    """The run in a folder, begun if it is not there yet.

    Raises:
        InputError: it has another configuration.
    """
    if not (folder / "config.json").is_file():  # never begun, or stopped before its first file was whole
        if folder.is_dir():
            empty(folder)
        return create(folder, resolved, command, overwrite=False)
    require_unchanged(folder, config.differences(Run(folder).config, resolved))
    return Run(folder)


def require_unchanged(folder: Path, changes: list[str]) -> None:
    """There are no differences from the configuration that a folder's run was started with, or an error lists them."""
    if changes:
        problem = f"{folder} was started with another configuration; undo these changes, or start anew"
        listed = "\n".join(f"  {line}" for line in changes)
        raise InputError(f"{problem} with another --out or --overwrite:\n{listed}")


def adopt(run: Run, resolved: config.Config) -> None:
    """Let a run go on with a configuration; the result of an earlier one is no longer that of the run."""
    if config.differences(run.config, resolved):
        # In this order: a run that is stopped in between has no result, and is not taken for a finished one.
        (run.folder / "result.json").unlink(missing_ok=True)
        run.write("config.json", resolved.written(run.folder))


def find(folder: Path) -> Run:
    """The run in a folder.

    Raises:
        InputError: there is none.
    """
    if not _is_run(folder):
        near = sorted(str(path.parent) for path in Path("runs").glob("*/*/config.json"))
        raise InputError(f"{folder} holds no run" + (f"; there are {', '.join(near)}" if near else ""))
    return Run(folder)


def versions() -> dict[str, str]:
    """The versions on which the numbers depend."""
    others = {name: version(name) for name in ("jax", "jaxlib", "flax", "numpy", "optax")}
    return {"python": platform.python_version(), "optchain": __version__, **others}


def machine() -> dict[str, Any]:
    """The device and the number of processor cores."""
    import jax

    return {"device": jax.devices()[0].device_kind, "platform": jax.default_backend(), "cores": os.cpu_count()}


def surroundings() -> str:
    """The versions and the machine of this process in one line."""
    return _in_a_line(versions() | machine())


def _in_a_line(facts: dict[str, Any]) -> str:
    return "  ".join(f"{key} {value}" for key, value in facts.items())


def _is_run(folder: Path) -> bool:
    return (folder / "config.json").is_file() and (folder / "run.json").is_file()
