"""The command `optchain`, also `python -m optchain`: `--help` lists what it does."""

import sys

# What the extra `lab` installs, by the names under which it is imported.
LAB = {
    *("filelock", "flax", "matplotlib", "optuna", "orbax", "psutil", "pydantic", "rich"),
    *("scipy", "skimage", "sklearn", "tomli_w"),
}


def main() -> int:
    """Run the command of `sys.argv`; the exit code."""
    try:
        from optchain.lab.commands import main as lab

        return lab.main(sys.argv[1:])
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in LAB:
            raise
        print(
            f"{missing!r} is not installed; it comes with the extra `lab`: pip install 'optchain[lab]'", file=sys.stderr
        )
        return 2


if __name__ == "__main__":
    sys.exit(main())
