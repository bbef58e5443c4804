"""The command line: `python -m experiments claims`; the benchmarks are `python -m experiments.benchmarks`."""

import sys

from experiments.claims import command
from optchain.lab.commands import main as lab


def main(arguments: list[str]) -> int:
    """Run a command; the exit code."""
    return lab.main(arguments, {"claims": command}, "python -m experiments", "Put claims about tuning to the test.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
