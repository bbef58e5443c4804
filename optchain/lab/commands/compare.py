"""Tune several optimizers and compare them on fresh seeds."""

import argparse
import sys

from optchain.lab.commands.options import command_of, folder_of, goes_on, takes_config, takes_folder


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    takes_config(parser, "a TOML file with a chain and a space for each optimizer")
    takes_folder(parser, "trials")


def run(options: argparse.Namespace) -> int:
    """Tune, compare and report; the exit code."""
    from optchain.lab.base.signals import Interrupted
    from optchain.lab.comparison import compare
    from optchain.lab.comparison.report import lines_of, write
    from optchain.lab.comparison.tables import Comparison
    from optchain.lab.runs import config
    from optchain.lab.runs.run import Run

    comparison = config.load(options.config, options.sets, Comparison)
    folder, command, done = folder_of(options), command_of(options), []
    tunings = compare.studies(comparison, folder, str(options.config), command)
    # All are built before anything is removed or run: a misspelled name is not to be found after an hour.
    compare.require_valid(comparison, tunings)
    compare.prepare(folder, comparison, tunings, command, options.overwrite)
    Run(folder).say_changed()
    try:
        for name in compare.perform(comparison, tunings):
            done.append(name)
            compare.write_trials({name: tunings[name] for name in done}, folder / "trials.csv")
    except Interrupted as interrupted:
        there = f"{len(done)} of {len(tunings)} optimizers are done"
        print(f"stopped; {there}; {goes_on(options)}", file=sys.stderr)
        return 128 + interrupted.signal
    ranked = write(comparison, tunings, folder)
    print("\n".join([*lines_of(ranked, comparison), f"report: {folder / 'report.html'}"]))
    return 0
