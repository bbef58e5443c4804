"""Score the model of a run on every split."""

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("run", type=Path, help="folder of the run")


def run(options: argparse.Namespace) -> int:
    """Print the scores."""
    from experiments.doing import say
    from experiments.evaluate import restore
    from experiments.report import score_lines
    from experiments.run import find

    trained = restore(find(options.run))
    say("compiling, and scoring every split")
    print("\n".join(score_lines(trained.experiment.task, trained.scores())))
    return 0
