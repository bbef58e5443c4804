"""Checkpoints of a run: the last carry, the best models, and the progress; written whole or not at all."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

import optchain as oc
from optchain.lab.base import processes
from optchain.lab.base.errors import InputError, first_line
from optchain.lab.settings.links import placed, relative_to
from optchain.lab.training.chunk import Carry
from optchain.lab.training.empty import with_empty, without_empty
from optchain.lab.training.scoring import models

LONG = 200  # characters of a cause; some hold the whole specification of an array


class _Damaged(Exception):
    """A checkpoint cannot be read."""


class Checkpoints:
    """The two newest checkpoints in a folder: one may be damaged. An older one is removed only when a newer one is
    complete."""

    def __init__(self, folder: Path) -> None:
        options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
        self.folder = folder
        self.manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, carry: Carry, best: Any, progress: dict[str, Any]) -> None:
        """Write a checkpoint of the step in `progress`, unless there is one."""
        if progress["step"] == self.manager.latest_step():
            return
        state, run = without_empty({"carry": _saved(carry), "best": best}), self.folder.parent
        told = {name: relative_to(x, run) if name == "optimizer" else x for name, x in progress.items()}
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(told))
        self.manager.save(progress["step"], args=args)

    def restore(self, fresh: Callable[[dict[str, Any]], Carry]) -> tuple[Carry, Any, dict[str, Any]] | None:
        """The carry, the best models and the progress of the newest checkpoint that can be read; None if there is none.

        Of every newer one that cannot be read a line says why. Nothing is written.

        Args:
            fresh: given the progress, the carry before the first step with the optimizer that it names, for structure,
                shapes and dtypes. What it raises is raised.

        Raises:
            InputError: there are checkpoints, and none can be read.
        """
        damage = ""
        for step in sorted(self.manager.all_steps(), reverse=True):
            if damage:
                print(f"{damage}; going back to step {step}", file=sys.stderr)
            try:
                return self._restored(step, fresh)
            except _Damaged as error:
                damage = f"{self.folder / str(step)} is damaged: {error}"
        if damage:
            raise InputError(f"{damage}; there is no checkpoint before it, begin again with --overwrite")
        return None

    def cut(self, step: int) -> None:
        """Set aside those after a step, which could not be read: into the folder `damaged` beside them."""
        processes.of_first(lambda: self._set_aside([saved for saved in self.manager.all_steps() if saved > step]))
        self.manager.reload()

    def _set_aside(self, steps: list[int]) -> None:
        for later in steps:
            place = self.folder.with_name("damaged") / str(later)
            shutil.rmtree(place, ignore_errors=True)
            place.parent.mkdir(exist_ok=True)
            (self.folder / str(later)).rename(place)

    def _restored(self, step: int, fresh: Callable[[dict[str, Any]], Carry]) -> tuple[Carry, Any, dict[str, Any]]:
        progress = self._read(step, progress=ocp.args.JsonRestore())["progress"]
        if "optimizer" in progress:  # as it is not in that of a population
            progress["optimizer"] = placed(progress["optimizer"], self.folder.parent)
        like = fresh(progress)
        whole = {"carry": _saved(like), "best": models(like)}
        read = self._read(step, state=ocp.args.StandardRestore(without_empty(whole)))["state"]
        state = with_empty(read, whole)
        opt_state = oc.unpack_bits(state["carry"]["opt_state"], oc.without_metrics(like["opt_state"]))
        opt_state = oc.with_metrics(opt_state, like["opt_state"])
        return state["carry"] | {"opt_state": opt_state}, state["best"], progress

    def _read(self, step: int, **items: Any) -> Any:
        try:
            return self.manager.restore(step, args=ocp.args.Composite(**items))
        except Exception as error:  # of many kinds: files that are missing, cut off, or hold something else
            first = first_line(error)
            raise _Damaged(f"{type(error).__name__}: {first[:LONG]}") from error

    def close(self) -> None:
        """Release the folder."""
        self.manager.close()


def _saved(carry: Carry) -> Carry:
    """The carry without the metrics, which the next step computes anew, and with masks as bits."""
    return carry | {"opt_state": oc.pack_bits(oc.without_metrics(carry["opt_state"]))}
