"""The runs with fresh seeds, by which the best configuration of a study is judged."""

from pathlib import Path

import numpy as np

from optchain.lab.base.signals import Interrupted
from optchain.lab.runs import run
from optchain.lab.runs.config import Config
from optchain.lab.runs.run import Run
from optchain.lab.runs.writer import sole_writer
from optchain.lab.training.progress import Quiet
from optchain.lab.training.train import Trainer
from optchain.lab.tuning.programs import Programs
from optchain.lab.tuning.tables import Search


def seeds(search: Search) -> list[int]:
    """The seeds of the runs that judge the best trial; no trial has one of them."""
    sequences = [np.random.SeedSequence(search.seed, spawn_key=(1, i)) for i in range(search.fresh)]
    return [int(sequence.generate_state(1)[0] >> 1) for sequence in sequences]


def ended(folder: Path, config: Config, command: str, programs: Programs, numbers: list[str]) -> Run:
    """The ended run of a configuration, made unless that was done before.

    Args:
        folder: of the run.
        config: with its seed.
        command: of the study, for the run to remember.
        programs: what is compiled for the study.
        numbers: dotted keys at which trials have other numbers.

    Raises:
        Interrupted: a signal came; what was made is saved.
    """
    with sole_writer(folder):
        fresh_run = run.opened(folder, config, command)
        if fresh_run.result is None:
            experiment, program = programs.of(config, numbers)
            signal = Trainer(experiment, fresh_run, program=program, display=Quiet()).train()
            if signal is not None:
                raise Interrupted(signal)
    return fresh_run
