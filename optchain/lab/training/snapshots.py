"""The models that a run keeps of some of its steps, and what they answer together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from optchain.lab.training.chunk import Carry
from optchain.lab.training.empty import with_empty, without_empty
from optchain.lab.training.evaluate import Trained
from optchain.lab.training.experiment import Experiment
from optchain.lab.training.scoring import Evaluate, make_evaluate, models


class Snapshots:
    """Models by step, in a folder; each is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False)
        self.manager = ocp.CheckpointManager(folder.absolute(), options=options)

    @property
    def steps(self) -> list[int]:
        """The steps that there are snapshots of, in order."""
        return sorted(self.manager.all_steps())

    def save(self, step: int, models: dict[str, Any]) -> None:
        """Keep the models of a step."""
        self.manager.save(step, args=ocp.args.StandardSave(without_empty(models)))

    def cut(self, step: int) -> None:
        """Remove those after a step, as if the run had stopped there."""
        for later in (saved for saved in self.steps if saved > step):
            self.manager.delete(later)

    def restore(self, step: int, like: dict[str, Any]) -> dict[str, Any]:
        """The models of a step, with the structure of others."""
        return with_empty(self.manager.restore(step, args=ocp.args.StandardRestore(without_empty(like))), like)

    def together(self, like: dict[str, Any]) -> dict[str, Any]:
        """The models of all steps, stacked along a new first axis."""
        models = [self.restore(step, like) for step in self.steps]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)

    def scored(self, built: Experiment, carry: Carry, evaluate: Evaluate, splits: Sequence[str]) -> dict[str, Any]:
        """The scores of each snapshot where models are chosen, and of what all of them answer together.

        Args:
            built: the experiment of the run.
            carry: of the run, for the structure of its models.
            evaluate: what `make_evaluate` made.
            splits: where the answers of all together are scored.
        """
        split, like = built.task.held_out("validation"), models(carry)
        rows = []
        for step in self.steps:
            trained = Trained(built, self.restore(step, like), step)
            rows.append({"step": step, "scores": trained.scores((split,), evaluate)})
        together = Trained(built, self.together(like), int(carry["step"]))
        ensemble = make_evaluate(built.task, built.model, members=True)
        return {"snapshots": rows, "ensemble": together.scores(splits, ensemble)}

    def close(self) -> None:
        """Release the folder."""
        self.manager.close()
