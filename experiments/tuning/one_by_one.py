"""Runs a trial by the trainer, one run after the other."""

import pydantic

from experiments import config, run
from experiments.errors import InputError
from experiments.progress import Quiet
from experiments.run import Run
from experiments.signals import Interrupted
from experiments.tables import Config
from experiments.train import Trainer
from experiments.tuning.claims import Claim, run_folder
from experiments.tuning.programs import Programs


def perform(claim: Claim, programs: Programs, command: str) -> None:
    """Run a trial to its end, from where it was stopped if it was begun before.

    Raises:
        Interrupted: a signal came; what was running is saved.
    """
    try:
        for resolved in claim.configs():
            found = run.opened(run_folder(claim.folder, resolved), resolved, command)
            if found.result is None:
                _train(claim, programs, found, resolved)
            if claim.ended(found.result or {}):
                return
    except pydantic.ValidationError as error:
        claim.infeasible(config.explained(error))
    except InputError as error:
        claim.infeasible(str(error))


def _train(claim: Claim, programs: Programs, found: Run, resolved: Config) -> None:
    experiment, program = programs.of(resolved, claim.numbers())
    trainer = Trainer(
        experiment, found, program=program, display=Quiet(), scored=("validation",), prunes=claim.evaluated
    )
    signal = trainer.train()
    if signal is not None:
        raise Interrupted(signal)
