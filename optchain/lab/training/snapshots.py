"""The models that a run keeps of some of its steps, and what they answer together."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp


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
        self.manager.save(step, args=ocp.args.StandardSave(models))

    def cut(self, step: int) -> None:
        """Remove those after a step, as if the run had stopped there."""
        for later in (saved for saved in self.steps if saved > step):
            self.manager.delete(later)

    def restore(self, step: int, like: dict[str, Any]) -> dict[str, Any]:
        """The models of a step, with the structure of others."""
        return self.manager.restore(step, args=ocp.args.StandardRestore(like))

    def together(self, like: dict[str, Any]) -> dict[str, Any]:
        """The models of all steps, stacked along a new first axis."""
        models = [self.restore(step, like) for step in self.steps]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)

    def close(self) -> None:
        """Release the folder."""
        self.manager.close()
