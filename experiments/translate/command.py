"""Answer the survey's question from finished comparisons, in one report."""

import argparse
import sys
from pathlib import Path

from optchain import lab


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "comparisons",
        type=corpus,
        nargs="+",
        metavar="NAME=FOLDER",
        help="what the corpus is called, and the folder that `optchain compare` made on it",
    )
    parser.add_argument("--sentences", type=int, default=500, help="of the test split, which are translated")
    parser.add_argument("--out", type=Path, default=Path("runs/translate/report.html"), help="the report")


def corpus(text: str) -> tuple[str, Path]:
    """The name of a corpus and the folder of its comparison."""
    name, equals, folder = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected NAME=FOLDER, such as tatoeba=runs/translate/tatoeba")
    return name, Path(folder)


def run(options: argparse.Namespace) -> int:
    """Translate, judge and report; the exit code."""
    from experiments.translate.report import Survey, write  # imports jax, which --help need not wait for

    surveys = []
    for name, folder in options.comparisons:
        comparison = lab.open(folder)
        if not isinstance(comparison, lab.Comparison):
            raise lab.InputError(f"{folder} is not a comparison; expected a folder that `optchain compare` made")
        print(f"{name}: translating", file=sys.stderr, flush=True)
        surveys.append(Survey.of(name, comparison, options.sentences))
        print(surveys[-1].answer, flush=True)
    write(surveys, options.out)
    print(f"report: {options.out}")
    return 0
