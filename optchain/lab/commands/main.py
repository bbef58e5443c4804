"""What the command line is made of: the commands and their options, and what becomes of errors."""

import argparse
import sys
from types import ModuleType

from optchain.lab.base.doing import say
from optchain.lab.base.errors import InputError, LostError
from optchain.lab.commands import (
    as_python,
    clean,
    compare,
    evaluate,
    examine,
    export,
    find_batch,
    find_lr,
    join,
    new,
    predict,
    report,
    suggest,
    train,
    tune,
    worker,
)
from optchain.version import __version__

COMMANDS = {
    "new": new,
    "suggest": suggest,
    "train": train,
    "join": join,
    "tune": tune,
    "worker": worker,
    "compare": compare,
    "find-lr": find_lr,
    "find-batch": find_batch,
    "evaluate": evaluate,
    "examine": examine,
    "predict": predict,
    "export": export,
    "as-python": as_python,
    "report": report,
    "clean": clean,
}
SAID = "Train, tune and compare Flax models with optchain."


def main(
    arguments: list[str], commands: dict[str, ModuleType] = COMMANDS, program: str = "optchain", said: str = SAID
) -> int:
    """Run a command; the exit code."""
    options = parser(commands, program, said).parse_args(arguments)
    say(f"{options.name}: loading")  # JAX and the task: seconds
    try:
        return commands[options.name].run(options)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except LostError as error:
        print(error, file=sys.stderr)
        return error.code
    except KeyboardInterrupt:  # before the first step or after the last: there is nothing to save
        return 130


def parser(
    commands: dict[str, ModuleType] = COMMANDS, program: str = "optchain", said: str = SAID
) -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog=program,
        description=said,
        epilog="Exit codes: 0 done, 2 bad input, 3 the loss diverged or no trial finished, 4 another process of the "
        "run is gone, 5 the database of the study, all workers of a run or "
        "their server went away, 130 and 143 stopped by a signal, after saving.",
    )
    top.add_argument("--version", action="version", version=f"{program} {__version__}")
    subparsers = top.add_subparsers(required=True, metavar="COMMAND", dest="name")
    for name, command in commands.items():
        doc = (command.__doc__ or name).rstrip(".")
        command.add_options(subparsers.add_parser(name, help=doc[0].lower() + doc[1:], description=command.__doc__))
    return top
