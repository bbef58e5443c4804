"""Write a small project that runs at once: a task, a model, and what to train and to tune."""

import argparse
import shlex
import shutil
from pathlib import Path

from optchain.lab.base.errors import InputError
from optchain.lab.base.files import is_taken, naming

PROJECT = Path(__file__).parent / "project"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("folder", type=Path, help="folder to be made")


def run(options: argparse.Namespace) -> int:
    """Write the files, and say what to do with them."""
    folder: Path = options.folder
    if folder.is_file() or is_taken(folder):
        raise InputError(f"{folder} exists and is not empty; choose another folder")
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        files = sorted(path for path in PROJECT.iterdir() if path.suffix in (".py", ".toml"))
        for path in files:
            shutil.copyfile(path, folder / path.name)
    print(f"{folder}: {', '.join(path.name for path in files)}")
    print(f"\n  cd {shlex.quote(str(folder))}\n  optchain train train.toml\n  optchain tune tune.toml")
    return 0
