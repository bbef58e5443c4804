"""Answer new inputs with the model of a run."""

import argparse
import sys
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument(
        "input", type=Path, help="new inputs: a file as those of the task, or rows of raw features as .csv or .npy"
    )
    parser.add_argument("--out", type=Path, help="CSV file to write; the standard output if left out")


def run(options: argparse.Namespace) -> int:
    """Write the answers."""
    from optchain.lab.base.files import naming
    from optchain.lab.runs.run import find
    from optchain.lab.training.evaluate import restore, write_answers

    trained = restore(find(options.run))
    answers = trained.answers(trained.read(options.input))
    if options.out is None:
        write_answers(answers, sys.stdout)
    else:
        with naming(options.out), options.out.open("w", newline="") as file:
            write_answers(answers, file)
    return 0
