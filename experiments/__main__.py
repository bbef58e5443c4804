"""The command line: `python -m experiments COMMAND`, of which `--help` lists all."""

import argparse
import sys

from experiments.commands import claims, compare, evaluate, find_batch, find_lr, predict, report, train, tune
from experiments.doing import say
from experiments.errors import InputError

COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "report": report,
    "compare": compare,
    "tune": tune,
    "claims": claims,
    "find-lr": find_lr,
    "find-batch": find_batch,
}


def main(arguments: list[str]) -> int:
    """Run a command; the exit code."""
    options = parser().parse_args(arguments)
    say(f"{options.name}: loading")  # JAX and the task: seconds
    try:
        return COMMANDS[options.name].run(options)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the first step or after the last: there is nothing to save
        return 130


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="python -m experiments",
        description="Train Flax models with optchain, and find out how they are best trained.",
        epilog="Exit codes: 0 done, 2 bad input, 3 the loss diverged or no trial finished, "
        "130 and 143 stopped by a signal, after saving.",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND", dest="name")
    for name, command in COMMANDS.items():
        said = (command.__doc__ or name).rstrip(".")
        command.add_options(commands.add_parser(name, help=said[0].lower() + said[1:], description=command.__doc__))
    return top


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
