"""A program whose second chunk of steps is recorded by JAX's profiler: the first one compiles."""

from pathlib import Path
from typing import Any

import jax

from optchain.lab.training.experiment import Experiment
from optchain.lab.training.program import Program

RECORDED = 2  # the chunk


class ProfiledProgram(Program):
    """The compiled functions of an experiment, with a recording in a folder."""

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        super().__init__(experiment)
        self.folder, self.chunks = folder, 0

    def run(self, *args: Any, **more: Any) -> Any:
        self.chunks += 1
        if self.chunks != RECORDED:
            return super().run(*args, **more)
        with jax.profiler.trace(str(self.folder)):
            return super().run(*args, **more)
