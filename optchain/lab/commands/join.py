"""Join a run with workers as one more of them, until it ends."""

import argparse
from pathlib import Path

WAIT = 60.0  # seconds


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("run", type=Path, help="folder of the run, which `optchain train` is training")
    parser.add_argument(
        "--wait", type=float, default=WAIT, help=f"seconds without a server after which to give up ({WAIT:.0f})"
    )


def run(options: argparse.Namespace) -> int:
    """Make steps of somebody else's run; the exit code."""
    from optchain.lab.base.doing import say
    from optchain.lab.workers.working import work

    signal = work(options.run, options.wait, say)
    return 0 if signal is None else 128 + signal
