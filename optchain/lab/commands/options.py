"""What several commands take, and what follows from it."""

import argparse
import shlex
from pathlib import Path


def takes_run(parser: argparse.ArgumentParser) -> None:
    """The configuration of a run, and overrides."""
    takes_config(parser, "a TOML file, or the config.json of a run")


def takes_config(parser: argparse.ArgumentParser, what: str) -> None:
    """A configuration, and overrides."""
    parser.add_argument("config", type=Path, help=what)
    takes_sets(parser)


def takes_sets(parser: argparse.ArgumentParser) -> None:
    """Overrides of a configuration."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="override, train.seed=1"
    )


def takes_folder(parser: argparse.ArgumentParser, what: str) -> None:
    """A folder in which the same command goes on where it was stopped."""
    parser.add_argument("--out", type=Path, help="folder; the same one again goes on where it was stopped")
    parser.add_argument("--overwrite", action="store_true", help=f"remove the {what} in the folder first")


def goes_on(options: argparse.Namespace) -> str:
    """How to go on after the command was stopped, in words."""
    return f"the same command{' without --overwrite' if options.overwrite else ''} goes on from there"


def folder_of(options: argparse.Namespace) -> Path:
    """Where a run goes: as the command says, else named after its configuration."""
    return options.out or Path("runs") / options.config.parent.name / options.config.stem


def command_of(options: argparse.Namespace, **others: object) -> str:
    """The command that starts the same run again, without the options about the folder.

    Args:
        options: what was parsed.
        others: the command's own options by name, `to=10.0` for `--to 10.0`; one that is None is left out.
    """
    own = [part for name, x in others.items() if x is not None for part in (f"--{name.strip('_')}", str(x))]
    sets = [part for text in options.sets for part in ("--set", text)]
    return shlex.join(["optchain", options.name, *own, str(options.config), *sets])
