"""The command line of the experiments; the benchmarks are `python -m experiments.benchmarks`."""

import argparse
import sys

from experiments.claims import command as claims
from experiments.gallery import command as gallery
from experiments.race import command as race
from experiments.translate import command as survey
from optchain import lab

COMMANDS = {"claims": claims, "gallery": gallery, "race": race, "survey": survey}


def main(arguments: list[str]) -> int:
    """Run a command; the exit code."""
    try:
        options = parser().parse_args(arguments)
        return COMMANDS[options.command].run(options)
    except (lab.InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # where nothing was running that could be saved
        return 130


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="python -m experiments",
        description="Put claims and the survey's question to the test, race optimizers, draw the gallery.",
        epilog="Exit codes: 0 done, 2 bad input, 130 and 143 stopped by a signal, after saving.",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name, command in COMMANDS.items():
        command.add_options(commands.add_parser(name, help=command.__doc__, description=command.__doc__))
    return top


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
