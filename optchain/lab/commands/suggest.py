"""Look at data and model, and write a configuration to begin with, with a reason for every number."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from optchain.lab.base.errors import InputError
from optchain.lab.commands.options import takes_config

NEIGHBOURS = 3  # earlier studies whose best points are tried


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    takes_config(parser, "a TOML file with a table [task]; all else that it says stands as it is")
    parser.add_argument("--study", action="store_true", help="write a study around what is suggested, for `tune`")
    parser.add_argument(
        "--earlier",
        type=Path,
        metavar="FOLDER",
        help="with --study: earlier studies; the best of those like it come first",
    )
    parser.add_argument("--out", type=Path, help="file to be written, beside the other one (NAME-suggested.toml)")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if there is one")


def run(options: argparse.Namespace) -> int:
    """Measure, write and print; the exit code."""
    from optchain.lab.probes.advice import file
    from optchain.lab.probes.advice.study import of_study
    from optchain.lab.probes.advice.suggest import suggest
    from optchain.lab.settings import load

    if options.earlier is not None and not options.study:
        raise InputError("--earlier: the points of earlier studies are those of a study; expected --study too")
    path: Path = options.out or options.config.with_name(f"{options.config.stem}-suggested.toml")
    if path.parent.resolve() != options.config.parent.resolve():
        folder = options.config.parent
        raise InputError(f"--out {path}: expected a file in {folder}, because paths in it are relative to its folder")
    if path.exists() and not options.overwrite:
        raise InputError(f"{path} exists; choose another --out, or replace it by --overwrite")
    found = suggest(load.read(options.config, options.sets), options.config.parent, str(options.config))
    if options.study:
        found.add(*of_study(found.advice, _earlier(found, options.earlier) if options.earlier else []))
    command = shlex.join(["optchain", "tune" if options.study else "train", str(path)])
    path.write_text(file.text(found, command), encoding="utf-8")
    print("\n".join(file.lines(found.advice)))
    print(f"\nwritten: {path}\n  {command}")
    return 0


def _earlier(found: Any, folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """The best points of the earlier studies whose tasks are most alike, and where they are from."""
    from optchain.lab.probes.advice.study import SEARCHED
    from optchain.lab.runs.facts import Facts
    from optchain.lab.training.experiment import load_task
    from optchain.lab.tuning.nearest import nearest_studies

    like = Facts.of(load_task(found.config()))
    return [
        (f"best of {near.folder}, at a distance of {near.distance:.2g}", near.point)
        for near in nearest_studies(folder, like, SEARCHED, NEIGHBOURS)
    ]
