"""Examine the model of a run: its calibration, what it bears, labels that it doubts, and what it looks at."""

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("run", type=Path, help="folder of the run, of a task of classes")
    parser.add_argument("--examples", type=int, default=500, help="of the test split, which are examined (500)")
    parser.add_argument("--other", type=Path, metavar="FILE", help="inputs of another kind, as `predict` reads them")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (0)")
    parser.add_argument("--out", type=Path, help="HTML file to write; examination.html in the run's folder if left out")


def run(options: argparse.Namespace) -> int:
    """Print what came of it, and write the page."""
    from optchain.lab.api.examination import examine
    from optchain.lab.api.results import Run
    from optchain.lab.api.results import open as opened
    from optchain.lab.base.errors import InputError
    from optchain.lab.probes.examination.report import lines_of, write

    found = opened(options.run)
    if not isinstance(found, Run):
        raise InputError(f"{options.run} is no run; expected the folder of one, such as a fresh one of a study")
    other = None if options.other is None else found.trained.read(options.other)
    came = examine(found, other=other, examples=options.examples, seed=options.seed)
    page = options.out or found.folder / "examination.html"
    write(came, page, f"Examination of {found.folder.name}")
    print("\n".join(lines_of(came)))
    print(f"report: {page}")
    return 0
