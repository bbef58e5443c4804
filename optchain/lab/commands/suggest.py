"""Look at data and model, and write a configuration to begin with, with a reason for every number."""

import argparse
import shlex
from pathlib import Path

from optchain.lab.base.errors import InputError
from optchain.lab.commands.options import takes_config


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    takes_config(parser, "a TOML file with a table [task]; all else that it says stands as it is")
    parser.add_argument("--out", type=Path, help="file to be written, beside the other one (NAME-suggested.toml)")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if there is one")


def run(options: argparse.Namespace) -> int:
    """Measure, write and print; the exit code."""
    from optchain.lab.probes.advice import file
    from optchain.lab.probes.advice.suggest import suggest
    from optchain.lab.settings import load

    path: Path = options.out or options.config.with_name(f"{options.config.stem}-suggested.toml")
    if path.parent.resolve() != options.config.parent.resolve():
        folder = options.config.parent
        raise InputError(f"--out {path}: expected a file in {folder}, because paths in it are relative to its folder")
    if path.exists() and not options.overwrite:
        raise InputError(f"{path} exists; choose another --out, or replace it by --overwrite")
    found = suggest(load.read(options.config, options.sets), options.config.parent, str(options.config))
    command = shlex.join(["optchain", "train", str(path)])
    path.write_text(file.text(found, command), encoding="utf-8")
    print("\n".join(file.lines(found.advice)))
    print(f"\nwritten: {path}\n  {command}")
    return 0
