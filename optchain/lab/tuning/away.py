"""A trial of a study in a task of Ray, on any machine of the cluster."""

# pyright: reportMissingImports=false

import contextlib
import dataclasses
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock

from optchain.lab.base import compiled
from optchain.lab.base.signals import Interrupted
from optchain.lab.runs.writer import LOCK
from optchain.lab.tuning import home, joining, one_by_one
from optchain.lab.tuning.claim import Claim
from optchain.lab.tuning.optuna_private import begun
from optchain.lab.tuning.trials import folder_of
from optchain.lab.tuning.tune import Tuning, reopened
from optchain.lab.tuning.validity import require_buildable

SEAL = "ray.seal"  # the file of a study's folder by which a task knows it
PATIENCE = 30.0  # seconds in which a worker that is taken for dead stops writing


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a study is at home."""

    folder: Path  # on the machine of the command
    seal: str  # what is in the file: whoever reads it there shares the folder
    content: dict[str, Any]  # of the parcel, for those who do not


@dataclasses.dataclass(frozen=True)
class Visitor:
    """A study in a worker of Ray, for all of its trials that run there: what is compiled serves them all."""

    tuning: Tuning
    optuna_study: optuna.Study
    own: tempfile.TemporaryDirectory[str] | None  # the folder, where that of the study is out of reach


VISITORS: dict[str, Visitor] = {}  # the last study only, by its seal


@compiled.kept(everything=True)
def run_trial(number: int, address: Address, actor: Any) -> None:
    """Run a trial to its end, or until the task is cancelled; what was running is saved then.

    Args:
        number: of the trial.
        address: of its study.
        actor: the handle of the study's home.
    """
    if address.seal not in VISITORS:
        VISITORS.clear()
        VISITORS[address.seal] = _visitor(address, actor)
    visitor = VISITORS[address.seal]
    tuning, optuna_study = visitor.tuning, visitor.optuna_study
    trial = begun(optuna_study, optuna_study.get_trials(deepcopy=False)[number])
    with _at_hand(visitor, number, actor) as folder, contextlib.suppress(Interrupted):
        claim = Claim(tuning.study, optuna_study, trial, folder, tuning.objective, threading.RLock())
        one_by_one.perform(claim, tuning.programs, tuning.command)


def _visitor(address: Address, actor: Any) -> Visitor:
    try:
        shares = (address.folder / SEAL).read_text() == address.seal
    except OSError:
        shares = False
    own = None if shares else tempfile.TemporaryDirectory(prefix="optchain-ray-")
    tuning = reopened(address.folder) if own is None else _copied(address, Path(own.name))
    if tuning.study.mesh:  # else every trial would be one that cannot be run, where the devices of a task are too few
        require_buildable(tuning.study, tuning.source)
    return Visitor(tuning, home.opened(tuning.study, actor), own)


def _copied(address: Address, own: Path) -> Tuning:
    """The study in a folder of this worker's own, in which the user's files lie as at home.

    The runs of trials name them relative to their own folders, and are to find them once they are at home.
    """
    root = Path(address.content["root"])
    common = os.path.commonpath([root, address.folder])
    folder, project = (own / path.relative_to(common) for path in (address.folder, root))
    return joining.by_parcel(address.content, address.folder.name, folder, project, trusts=True)


@contextlib.contextmanager
def _at_hand(visitor: Visitor, number: int, actor: Any) -> Iterator[Path]:
    """The folder of a trial, with what an earlier attempt has left; what is made there is at home afterwards."""
    import ray

    folder = folder_of(visitor.tuning.folder, number)
    if visitor.own is None:
        for lock in folder.glob(f"*/{LOCK}"):
            with FileLock(lock, timeout=PATIENCE):
                pass
        yield folder
        return
    home.unpack(ray.get(actor.files.remote(number)), folder)
    try:
        yield folder
    finally:
        ended = visitor.optuna_study.get_trials(deepcopy=False)[number].state.is_finished()
        leaves = ended and not visitor.tuning.study.search.keep
        ray.get(actor.take.remote(number, home.packed(folder, ("checkpoints",) if leaves else ())))
