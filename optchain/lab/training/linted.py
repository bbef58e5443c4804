"""What is probably a mistake in the optimizer of a run, found before the run begins."""

import dataclasses
from typing import Any

import jax

import optchain as oc
from optchain.lab.runs.run import Run
from optchain.lab.training.experiment import Experiment

LARGEST = 2**20  # parameters: with more of them the wait would be noticed


def lint(experiment: Experiment, run: Run) -> list[str]:
    """The errors and warnings of `optchain.lint`, a line each; they are written to the run, whose report shows them.

    Of a small model on a CPU this takes from 300 to 800 ms, nearly all of it compiling two small programs. Models
    above `LARGEST` are left out, and so is what fails: no run fails because of an advice.
    """
    found = [finding for finding in _found(experiment) if finding.severity != "note"]
    run.write_doubts([dataclasses.asdict(finding) for finding in found])
    return [finding.line for finding in found]


def _found(experiment: Experiment) -> Any:
    try:
        params = jax.eval_shape(experiment.start)["params"]
        if sum(x.size for x in jax.tree.leaves(params)) > LARGEST:
            return ()
        return oc.lint(experiment.tx, params, steps=experiment.config.train.steps)
    except Exception:  # noqa: BLE001, as said above
        return ()
