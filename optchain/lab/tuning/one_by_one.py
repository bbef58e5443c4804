"""Runs a trial by the trainer, one run after the other."""

import functools

from optchain.lab.base.errors import InputError
from optchain.lab.base.signals import Interrupted
from optchain.lab.runs import run
from optchain.lab.runs.writer import sole_writer
from optchain.lab.training.progress import Quiet
from optchain.lab.training.train import Trainer
from optchain.lab.tuning.claim import Claim, run_folder
from optchain.lab.tuning.constraints import parameters_of
from optchain.lab.tuning.programs import Programs

REST = 10.0  # seconds from one checkpoint of a trial to the next: most trials would take longer to save than to run


def perform(claim: Claim, programs: Programs, command: str) -> None:
    """Run a trial to its end, from where it was stopped if it was begun before.

    Raises:
        Interrupted: a signal came; what was running is saved.
    """
    try:
        built = [programs.of(one, claim.numbers()) for one in claim.configs()]
        if "parameters" in claim.study.search.constraints:
            claim.parameters = parameters_of(built[0][0])
    except InputError as error:
        return claim.infeasible(str(error))
    for experiment, program in built:
        resolved = experiment.config
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
                    prunes=functools.partial(claim.evaluated, resolved),
                    rest=REST,
                    keeps=claim.study.search.keep > 0,
                )
                signal = trainer.train()
                if signal is not None:
                    raise Interrupted(signal)
        if claim.ended(trial_run.result or {}):
            return
