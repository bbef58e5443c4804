"""Remove the checkpoints of trials that have ended, and damaged ones, or compiled code; scores and logs stay."""

import argparse
import sys
from pathlib import Path

from optchain.lab.base.errors import InputError


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER", help="of a run, a study, or of several")
    parser.add_argument(
        "--all", action="store_true", help="also those of ended runs that are no trials, which then answer no more"
    )
    parser.add_argument(
        "--compiled", action="store_true", help="also the compiled code that studies and runs of this user share"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")


def run(options: argparse.Namespace) -> int:
    """Remove, and say how much there was."""
    from optchain.lab.base import compiled
    from optchain.lab.runs.clean import remove, spare

    if not options.folders and not options.compiled:
        raise InputError("clean: got nothing to remove from; expected a folder, or --compiled")
    total = 0
    for folder in options.folders:
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder")
        for freed in spare(folder, options.all):
            problem = None if options.dry_run else remove(freed)
            if problem is not None:
                print(problem, file=sys.stderr)
                continue
            total += freed.bytes
            print(f"{freed.folder}  {_shown(freed.bytes)}")
    if options.compiled:
        total += (size := compiled.size())
        print(f"{compiled.folder()}  {_shown(size)}")
        if not options.dry_run:
            compiled.remove()
    print(f"{'would free' if options.dry_run else 'freed'} {_shown(total)}")
    return 0


def _shown(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
