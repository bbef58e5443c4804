"""Measure batches by doubling them, and suggest one."""

import argparse
import math

from optchain.lab.base.errors import InputError
from optchain.lab.commands.options import takes_run


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    takes_run(parser)
    parser.add_argument("--memory", type=float, metavar="GIB", help="what a step may need; all there is if left out")
    parser.add_argument("--steps", type=int, default=300, help="of training, after which the noise is measured (300)")


def run(options: argparse.Namespace) -> int:
    """Measure, and print what was found."""
    from optchain.lab.base.memory import free_memory
    from optchain.lab.probes import find_batch
    from optchain.lab.runs import config
    from optchain.lab.training import experiment

    if options.steps <= find_batch.FEW:
        raise InputError(f"--steps {options.steps}: expected more than the {find_batch.FEW} at the start")
    if options.memory is not None and not 0 < options.memory < math.inf:
        raise InputError(f"--memory {options.memory:g}: expected a positive number of GiB")
    built = experiment.build(config.load(options.config, options.sets), str(options.config))
    limit = free_memory() if options.memory is None else int(options.memory * 2**30)
    measured = find_batch.measure(built, limit)
    print("\n".join(find_batch.lines(measured, find_batch.measure_noise(built, options.steps), limit)))
    return 0
