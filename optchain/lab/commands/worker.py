"""Join a study and run trials of it, until none are left."""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from optchain.lab.base.doing import say
from optchain.lab.base.errors import InputError

if TYPE_CHECKING:
    from optchain.lab.tuning.tune import Tuning


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "study", metavar="study", help="the folder of a study, or the URL of the database that keeps it"
    )
    parser.add_argument("--study", dest="called", metavar="NAME", help="which study of the database")
    parser.add_argument("--out", type=Path, help="folder for the runs of trials; a temporary one if left out")
    parser.add_argument(
        "--trust", action="store_true", help="take pickled objects from the database, which may run code"
    )


def run(options: argparse.Namespace) -> int:
    """Run trials of somebody else's study; the exit code."""
    from optchain.lab.base.signals import Interrupted, interrupting
    from optchain.lab.tuning import working

    try:
        # Also between trials, or the temporary folder would stay.
        with interrupting(), contextlib.ExitStack() as stack:
            working.search(_joined(options, stack))
    except Interrupted as interrupted:
        print("left; another worker takes the trial over", file=sys.stderr)
        return 128 + interrupted.signal
    return 0


def _joined(options: argparse.Namespace, stack: contextlib.ExitStack) -> "Tuning":
    """The study, in a folder that is removed with the stack where it is a temporary one."""
    from optchain.lab.base.files import is_taken
    from optchain.lab.tuning import joining

    if "://" not in options.study:
        if options.called or options.out or options.trust:
            raise InputError("--study, --out and --trust are for the URL of a database; expected a folder alone")
        return joining.by_folder(Path(options.study))
    if options.out is not None and is_taken(options.out):
        raise InputError(f"--out {options.out} is not empty; expected a folder for this worker alone")
    folder = options.out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="optchain-worker-")))
    folder.mkdir(parents=True, exist_ok=True)
    tuning = joining.by_database(options.study, options.called, folder, options.trust)
    if tuning.study.search.keep and options.out is None:
        say("search.keep: the models of trials that run here are lost at the end; --out keeps them")
    return tuning
