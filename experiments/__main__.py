"""The command line: `python -m experiments train | evaluate | predict | report`."""

import argparse
import shlex
import sys
from pathlib import Path

from experiments.errors import InputError


def main(arguments: list[str]) -> int:
    """Run a command; the exit code."""
    options = parser().parse_args(arguments)
    try:
        return options.command(options)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="python -m experiments",
        description="Train Flax models with optchain.",
        epilog="Exit codes: 0 done, 2 bad input, 3 the loss diverged, 130 and 143 stopped by a signal, after saving.",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train as a configuration says, and report")
    train.add_argument("config", type=Path, help="a TOML file, or the config.json of a run")
    train.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="override, optimizer.lr.peak=1e-3"
    )
    train.add_argument("--out", type=Path, help="folder of the run; runs/ and the configuration's name if left out")
    train.add_argument("--resume", action="store_true", help="continue the run in the folder from its checkpoint")
    train.add_argument("--overwrite", action="store_true", help="remove the run in the folder first")
    train.set_defaults(command=_train)

    return top


def _train(options: argparse.Namespace) -> int:
    from experiments import config, experiment, run
    from experiments.train import Trainer

    if options.resume and options.overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    resolved = config.load(options.config, options.sets)
    built = experiment.build(resolved, str(options.config))
    folder = options.out or Path("runs") / options.config.parent.name / options.config.stem
    if options.resume:
        opened = run.reopen(folder, resolved)
    else:
        opened = run.create(folder, resolved, _command(options), options.overwrite)
    code = 0 if opened.result else Trainer(built, opened).train()
    print(opened.result)
    return code


def _command(options: argparse.Namespace) -> str:
    """The command that starts the same run, without what concerns the folder."""
    sets = [part for text in options.sets for part in ("--set", text)]
    return shlex.join(["python", "-m", "experiments", "train", str(options.config), *sets])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
