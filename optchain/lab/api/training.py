"""A training in its folder, begun or resumed."""

from collections.abc import Callable
from pathlib import Path

from optchain.lab.runs import config as configs
from optchain.lab.runs import run as runs
from optchain.lab.runs.writer import sole_writer
from optchain.lab.training.experiment import Experiment
from optchain.lab.training.local import require_in_process
from optchain.lab.training.program import Program
from optchain.lab.training.progress import Quiet
from optchain.lab.training.train import Trainer


def train_in(
    folder: Path,
    built: Experiment,
    command: str,
    *,
    overwrite: bool,
    quiet: bool,
    program: Program | None = None,
    created: Callable[[], None] = lambda: None,
) -> int | None:
    """Train to the end, unless that was done before.

    Args:
        folder: of the run.
        built: what is trained.
        command: that does so, for the run to remember.
        overwrite: whether a run in the folder is removed first.
        quiet: whether nothing is shown meanwhile.
        program: what has been compiled for it already.
        created: called when the folder is there.

    Returns:
        The number of the signal that came meanwhile, if any; what was made is saved.

    Raises:
        InputError: the folder holds something else, or a run of another configuration; or workers are to train.
    """
    require_in_process(built.config.gradient)
    exists = (folder / "config.json").is_file() and not overwrite
    if not exists:
        runs.require_place(folder, overwrite)
    with sole_writer(folder):
        if exists:
            opened = runs.reopen(folder, built.config)
        else:
            opened = runs.create(folder, built.config, command, overwrite)
        created()
        done = opened.result is not None and not configs.differences(opened.config, built.config)
        if done and opened.ending != runs.BY_HAND:
            return None
        return Trainer(built, opened, program=program, display=Quiet() if quiet else None).train()
