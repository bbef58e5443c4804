"""Checkpoints of a run: the last carry, the best models, and the progress; written whole or not at all."""

from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

import optchain as oc
from experiments.chunk import Carry, models


class Checkpoints:
    """The newest checkpoint in a folder. An older one is removed only when a newer one is complete."""

    def __init__(self, folder: Path) -> None:
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
        self.manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, carry: Carry, best: Any, progress: dict[str, Any]) -> None:
        """Write a checkpoint of the step in `progress`, unless there is one."""
        if progress["step"] == self.manager.latest_step():
            return
        state = {"carry": _saved(carry), "best": best}
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(progress))
        self.manager.save(progress["step"], args=args)

    def progress(self) -> dict[str, Any] | None:
        """The progress of the newest checkpoint, or None if there is none."""
        step = self.manager.latest_step()
        if step is None:
            return None
        return self.manager.restore(step, args=ocp.args.Composite(progress=ocp.args.JsonRestore()))["progress"]

    def restore(self, fresh: Carry) -> tuple[Carry, Any, dict[str, Any]]:
        """The carry, the best models and the progress of the newest checkpoint.

        Args:
            fresh: the carry before the first step with the optimizer that `progress` names, for structure, shapes and
                dtypes.
        """
        step = self.manager.latest_step()
        template = ocp.args.StandardRestore({"carry": _saved(fresh), "best": models(fresh)})
        args = ocp.args.Composite(state=template, progress=ocp.args.JsonRestore())
        saved = self.manager.restore(step, args=args)
        carry = saved["state"]["carry"]
        opt_state = oc.unpack_bits(carry["opt_state"], oc.without_metrics(fresh["opt_state"]))
        opt_state = oc.with_metrics(opt_state, fresh["opt_state"])
        return carry | {"opt_state": opt_state}, saved["state"]["best"], saved["progress"]

    def close(self) -> None:
        """Release the folder."""
        self.manager.close()


def _saved(carry: Carry) -> Carry:
    """The carry without the metrics, which the next step computes anew, and with masks as bits."""
    return carry | {"opt_state": oc.pack_bits(oc.without_metrics(carry["opt_state"]))}
