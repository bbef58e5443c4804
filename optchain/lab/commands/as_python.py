"""Print the Python script that does what a configuration does."""

import argparse
import sys

from optchain.lab.commands.options import takes_config


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    takes_config(parser, "a TOML file of train, tune or compare; save the script beside it")


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from optchain.lab.api.script import as_python

    sys.stdout.write(as_python(options.config, options.sets))
    return 0
