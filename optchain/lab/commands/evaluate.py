"""Score the model of a run on every split."""

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("run", type=Path, help="folder of the run")


def run(options: argparse.Namespace) -> int:
    """Print the scores."""
    from optchain.lab.base.doing import say
    from optchain.lab.reports.scores import score_lines
    from optchain.lab.runs.facts import Facts
    from optchain.lab.runs.run import find
    from optchain.lab.training.evaluate import restore

    trained = restore(find(options.run))
    say("compiling, and scoring every split")
    print("\n".join(score_lines(Facts.of(trained.experiment.task), trained.scores())))
    return 0
