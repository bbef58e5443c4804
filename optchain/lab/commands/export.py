"""Write the parameters of a run's model to a file, by path."""

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("file", type=Path, help="file to write, .safetensors or .npz; `[start] file` reads it back")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if there is one")


def run(options: argparse.Namespace) -> int:
    """Write the parameters and the rest of the model that counts."""
    from optchain.lab.base.errors import InputError
    from optchain.lab.runs.run import find
    from optchain.lab.training import leaves
    from optchain.lab.training.evaluate import restore
    from optchain.lab.training.transfer import by_path

    leaves.require_suffix(options.file)
    if options.file.exists() and not options.overwrite:
        raise InputError(f"{options.file} exists; choose another name, or replace it with --overwrite")
    trained = restore(find(options.run))
    arrays = by_path(trained.whole)
    leaves.write(options.file, arrays)
    print(f"{options.file}: {len(arrays)} arrays of step {trained.step}")
    return 0
