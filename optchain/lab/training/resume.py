"""Going on from a checkpoint, with the optimizer it was made with or an edited one."""

import dataclasses
import math
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import optchain as oc
from optchain.lab.base.errors import InputError
from optchain.lab.runs.config import Config, differences
from optchain.lab.runs.run import Run
from optchain.lab.training.assemble import optimizer_of
from optchain.lab.training.checkpoints import Checkpoints
from optchain.lab.training.chunk import Carry
from optchain.lab.training.experiment import Experiment
from optchain.lab.training.grow import staged
from optchain.lab.training.owners import by_owners
from optchain.lab.training.program import Program
from optchain.lab.training.scoring import models
from optchain.lab.training.seconds import none_yet

Resumed = tuple[Carry, Any, dict[str, Any]]  # the carry, the best models and the progress


def resume(checkpoints: Checkpoints, built: Experiment, folder: Path, renames: dict[str, str | None]) -> Resumed | None:
    """What a run goes on from, or None before its first checkpoint. Nothing is written.

    Where the optimizer has changed since the checkpoint, its state is carried over by name, and what became of it is
    printed. The patience starts anew then; so does the search for the best model where other models are kept.

    Raises:
        InputError: the change is ambiguous, no step is left to be made with the edited optimizer, or the checkpoint
            has another layout of states; or no checkpoint can be read.
    """

    def fresh(progress: dict[str, Any]) -> Carry:
        Run(folder).require_layout()
        return _with_optimizer(staged(built, progress.get("stage", 0)), progress["optimizer"]).start()

    restored = checkpoints.restore(fresh)
    if restored is None:
        return None
    carry, best, progress = restored
    built = staged(built, progress.setdefault("stage", 0))
    changes = differences(_with_optimizer(built, progress["optimizer"]).config, built.config)
    if not changes:
        return by_owners(built, carry), best, progress
    if progress["step"] >= built.config.train.steps:
        cure = "give it more train.steps to go on with another optimizer"
        raise InputError(f"{folder} has made all of its {progress['step']} steps; {cure}")
    try:
        edited = _with_optimizer(built, built.config.optimizer)
        state, report = oc.migrate_state(carry["opt_state"], edited.tx, carry["params"], renames)
    except ValueError as error:
        hint = "on the command line: --rename OLD=NEW, or --rename OLD= to drop; `.` is the whole optimizer"
        raise InputError(f"{folder}: {error}\n({hint})") from error
    lines = [f"going on from step {progress['step']} with another optimizer:", *(f"  {line}" for line in changes)]
    # Copies, for the carry is donated, and a new slot may share the buffer of a parameter; laid out for the new chain.
    state, layout = jax.tree.map(jnp.copy, state), edited.layout.carry
    carry |= {"opt_state": state if layout is None else jax.device_put(state, layout["opt_state"])}
    progress |= {"optimizer": built.config.optimizer, "stale": 0, "control": {}}  # whose names may be gone
    if set(best) != set(models(carry)):
        best = jax.tree.map(jnp.copy, models(carry))
        progress |= {"best_step": progress["step"], "best_loss": math.inf, "stale_loss": math.inf}
        lines.append(f"the best model is sought anew, among the {' and the '.join(best)}")
    print("\n".join([*lines, str(report)]), file=sys.stderr)
    return by_owners(built, carry), best, progress


def beginning(program: Program, config: Config) -> Resumed:
    """The carry, the best models and the progress before the first step."""
    carry = program.start(config)
    # The best models outlive the carry, whose buffers are donated to the next chunk.
    best = jax.tree.map(jnp.copy, models(carry))
    return carry, best, no_progress(config)


def no_progress(config: Config) -> dict[str, Any]:
    """What is noted of a run beside its carry and its best models, before the first step."""
    counts: dict[str, Any] = {"step": 0, "stage": 0, **none_yet(), "first_loss": None, "control": {}}
    counts |= {"best_step": 0, "best_loss": math.inf, "stale": 0, "stale_loss": math.inf}
    return counts | {"optimizer": config.optimizer}


def _with_optimizer(built: Experiment, table: dict[str, Any]) -> Experiment:
    """The same experiment with the optimizer of a checkpoint, whose state is by parameters."""
    try:
        config = built.config.model_copy(update={"optimizer": table})
        tx = optimizer_of(config, built.task)
    except (ValueError, InputError) as error:
        raise InputError(f"the optimizer of the checkpoint cannot be built any more: {error}") from error
    return dataclasses.replace(built, config=config, tx=tx)
