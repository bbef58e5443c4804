"""Race optimizers over several tasks, each tuned with the same budget, and say which one to try first."""

import argparse
import shlex
import sys
import time
from pathlib import Path

from experiments.claims.command import change, spent
from optchain import lab

CONFIG = Path("configs/race/race.toml")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="of the configuration; all if left out")
    parser.add_argument("--config", type=Path, default=CONFIG, help=f"the tasks and optimizers; {CONFIG} if left out")
    parser.add_argument("--out", type=Path, default=Path("runs/race"), help="folder; the same one again resumes")
    parser.add_argument("--docs", type=Path, help="a folder for race.json, race.md and the charts, too")
    parser.add_argument("--from", type=Path, dest="source", help="a race.json, whose pages are made; nothing is run")
    parser.add_argument(
        "--set", type=change, action="append", default=[], metavar="KEY=VALUE", help="override, search.trials=4"
    )


def run(options: argparse.Namespace) -> int:
    """Race, judge and write the pages; the exit code."""
    from experiments.race import measured, page  # imports jax, which --help need not wait for
    from experiments.race.tables import comparisons_of

    if options.source:
        race = measured.read(options.source)
    else:
        comparisons = comparisons_of(options.config, options.tasks, dict(options.set))
        tasks = {}
        try:
            for name, configuration in comparisons.items():
                began, folder = time.perf_counter(), options.out / name
                print(f"{name}: {len(tasks) + 1} of {len(comparisons)} tasks", file=sys.stderr, flush=True)
                comparison = configuration.compare(folder)
                seconds = spent(folder / "seconds.json", time.perf_counter() - began)
                tasks[name] = measured.measured(comparison, seconds)
        except lab.Interrupted as interrupted:
            print("stopped; the same command resumes", file=sys.stderr)
            return 128 + interrupted.signal
        chosen = [*options.tasks, *(["--config", str(options.config)] if options.config != CONFIG else [])]
        command = shlex.join(["python", "-m", "experiments", "race", *chosen])
        race = measured.Race(command=command, machine=measured.machine(), tasks=tasks)
    options.out.mkdir(parents=True, exist_ok=True)
    race.write(options.out / "race.json")
    page.write_report(race, options.out / "report.html")
    if options.docs:
        page.write_docs(race, options.docs)
    print("\n".join(page.lines_of(race)))
    print(f"report: {options.out / 'report.html'}")
    return 0
