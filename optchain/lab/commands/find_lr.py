"""Train with a rising learning rate, and suggest one."""

import argparse
from pathlib import Path

from optchain.lab.base.errors import InputError
from optchain.lab.commands.options import command_of, folder_of, takes_run


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    takes_run(parser)
    parser.add_argument("--key", help="the rate, optimizer.lr.peak; left out, the optimizer's only one")
    parser.add_argument("--from", type=float, default=1e-6, dest="low", metavar="RATE", help="the first (1e-6)")
    parser.add_argument("--to", type=float, default=10.0, dest="high", metavar="RATE", help="the last (10)")
    parser.add_argument("--steps", type=int, default=200, help="rates that are tried, one a step (200)")
    parser.add_argument("--out", type=Path, help="folder for rates.csv and report.html")


def run(options: argparse.Namespace) -> int:
    """Test the rates, and report."""
    from optchain.lab.probes import find_lr
    from optchain.lab.runs import config
    from optchain.lab.training import experiment

    if not 0 < options.low < options.high:
        raise InputError(f"--from {options.low:g} --to {options.high:g}: expected positive rates that rise")
    if options.steps < 2 * find_lr.CHUNK:
        raise InputError(f"--steps {options.steps}: expected at least {2 * find_lr.CHUNK}")
    resolved = config.load(options.config, options.sets)
    key, limits = find_lr.rate_of(resolved, options.key), (options.low, options.high, options.steps)
    built = experiment.build(find_lr.with_sweep(resolved, key, *limits), str(options.config))
    folder = options.out or folder_of(options).with_name(f"{options.config.stem}-find-lr")
    find_lr.prepare(folder)
    sweep = find_lr.sweep(built, key, *limits)
    told = find_lr.lines(sweep)
    command = command_of(options, key=options.key, from_=options.low, to=options.high, steps=options.steps)
    find_lr.write(sweep, folder, command)
    print("\n".join([*told, f"report: {folder / 'report.html'}"]))
    return 0
