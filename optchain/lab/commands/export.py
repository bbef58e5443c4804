"""Write a run's model to one file: its parameters by path, or a model to call with jax and numpy alone."""

import argparse
from pathlib import Path


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument(
        "file",
        type=Path,
        help="file to write: .safetensors or .npz holds the parameters by path, which `[start] file` reads; "
        ".zip holds all that answers raw inputs, for `python FILE INPUTS` and for `import` with the file in sys.path",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file if there is one")


def run(options: argparse.Namespace) -> int:
    """Write the model that counts."""
    from optchain.lab.runs.run import find
    from optchain.lab.training import export
    from optchain.lab.training.evaluate import restore

    export.require_place(options.file, options.overwrite)
    print(export.write(options.file, restore(find(options.run))))
    return 0
