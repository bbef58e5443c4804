"""Search for the best values of a configuration."""

import argparse
import sys

from optchain.lab.base.errors import InputError
from optchain.lab.commands.options import command_of, folder_of, goes_on, takes_config, takes_folder

NONE_FINISHED = 3  # the exit code


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    takes_config(parser, "a TOML file with the tables search and space")
    takes_folder(parser, "study")


def run(options: argparse.Namespace) -> int:
    """Search, run the best with fresh seeds, and report; the exit code."""
    from optchain.lab.base.signals import Interrupted
    from optchain.lab.runs import config
    from optchain.lab.runs.run import Run
    from optchain.lab.tuning import working
    from optchain.lab.tuning.report import lines_of, write
    from optchain.lab.tuning.tables import Study
    from optchain.lab.tuning.tune import Tuning

    folder = folder_of(options)
    study = config.load(options.config, options.sets, Study)
    if not study.space:
        raise InputError(f"{options.config}: space: nothing is varied; expected a dimension, or the command train")
    tuning = Tuning(study, folder, str(options.config), command_of(options))
    tuning.require_valid()
    tuning.prepare(options.overwrite)
    Run(folder).say_changed()
    tuning.invite()
    try:
        working.search(tuning)
        tuning.finish()
    except Interrupted as interrupted:
        print(f"stopped; {goes_on(options)}", file=sys.stderr)
        return 128 + interrupted.signal
    outcome = write(tuning)
    print("\n".join([*lines_of(tuning, outcome), f"report: {folder / 'report.html'}"]))
    return 0 if outcome.winner else NONE_FINISHED
