"""Runs a trial by the trainer, one run after the other."""

from experiments import run
from experiments.errors import InputError
from experiments.progress import Quiet
from experiments.signals import Interrupted
from experiments.train import Trainer
from experiments.tuning.claims import Claim, run_folder
from experiments.tuning.programs import Programs
from experiments.writer import sole_writer

REST = 10.0  # seconds from one checkpoint of a trial to the next: most trials would take longer to save than to run


def perform(claim: Claim, programs: Programs, command: str) -> None:
    """Run a trial to its end, from where it was stopped if it was begun before.

    Raises:
        Interrupted: a signal came; what was running is saved.
    """
    try:
        configs = claim.configs()
        built = [programs.of(resolved, claim.numbers()) for resolved in configs]
    except InputError as error:
        return claim.infeasible(str(error))
    for resolved, (experiment, program) in zip(configs, built, strict=True):
        folder = run_folder(claim.folder, resolved)
        with sole_writer(folder):
            trial_run = run.opened(folder, resolved, command)
            if trial_run.result is None:
                trainer = Trainer(
                    experiment,
                    trial_run,
                    program=program,
                    display=Quiet(),
                    scored=("validation",),
                    prunes=claim.evaluated,
                    rest=REST,
                )
                signal = trainer.train()
                if signal is not None:
                    raise Interrupted(signal)
        if claim.ended(trial_run.result or {}):
            return
