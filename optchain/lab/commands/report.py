"""Write the report of runs, of a study, or of comparisons, or serve it while they continue."""

import argparse
from pathlib import Path

from optchain.lab.base.errors import InputError

HOST, PORT = "127.0.0.1", 8787  # at which a report is served


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="run", help="folders of runs or comparisons, or that of a study"
    )
    parser.add_argument(
        "--out", type=Path, help="HTML file to write; the report of one study or comparison goes to its folder"
    )
    parser.add_argument(
        "--optuna", type=Path, metavar="FILE", help="SQLite file to write as well, with a study's trials for Optuna"
    )
    parser.add_argument(
        "--watch", action="store_true", help="write nothing, and serve the report of one folder, which may still grow"
    )
    parser.add_argument("--port", type=int, help=f"of --watch ({PORT})")
    parser.add_argument("--host", help=f"of --watch; of any but {HOST} the address has a token")


def run(options: argparse.Namespace) -> int:
    """Write the report of whatever is in the folders, or serve it."""
    if options.watch:
        return _watched(options)
    if options.port is not None or options.host is not None:
        raise InputError("--port, --host: got no --watch; expected it too, for only then is anything served")
    if any((folder / "study.json").is_file() for folder in options.runs):
        return _of_study(options)
    if options.optuna is not None:
        raise InputError(f"--optuna writes the trials of a study; {options.runs[0]} holds none")
    if any((folder / "comparison.json").is_file() for folder in options.runs):
        return _of_comparison(options) if len(options.runs) == 1 else _of_comparisons(options)
    return _of_runs(options)


def _watched(options: argparse.Namespace) -> int:
    import jax

    jax.config.update("jax_platforms", "cpu")  # the accelerator is that of the process that trains
    from optchain.lab.base.signals import Interrupted
    from optchain.lab.commands.watched import watch

    if len(options.runs) > 1 or options.out is not None or options.optuna is not None:
        raise InputError(
            "--watch serves the report of one folder; expected that folder alone, no --out and no --optuna"
        )
    try:
        watch(options.runs[0], options.host or HOST, PORT if options.port is None else options.port)
    except Interrupted as interrupted:
        return 128 + interrupted.signal
    return 0


def _of_runs(options: argparse.Namespace) -> int:
    from optchain.lab.reports.report import write
    from optchain.lab.runs.run import find

    out = _wanted(options)
    found = [find(folder) for folder in options.runs]
    for run in found:
        run.say_changed()
    write(found, out)
    print(f"report: {out}")
    return 0


def _of_study(options: argparse.Namespace) -> int:
    from optchain.lab.runs.run import Run
    from optchain.lab.tuning.export import to_optuna
    from optchain.lab.tuning.report import lines_of, write
    from optchain.lab.tuning.tune import reopened

    if len(options.runs) > 1 or options.out is not None:
        raise InputError("the report of a study goes to its folder; expected that folder alone and no --out")
    Run(options.runs[0]).say_changed()
    tuning = reopened(options.runs[0])
    if options.optuna is not None:
        to_optuna(tuning, options.optuna)
    print("\n".join([*lines_of(tuning, write(tuning)), f"report: {tuning.folder / 'report.html'}"]))
    return 0


def _of_comparison(options: argparse.Namespace) -> int:
    from optchain.lab.comparison.compare import reopened
    from optchain.lab.comparison.report import lines_of, write
    from optchain.lab.runs.run import Run

    if options.out is not None:
        raise InputError("the report of a comparison goes to its folder; leave out --out, or name several comparisons")
    (folder,) = options.runs
    Run(folder).say_changed()
    comparison, tunings = reopened(folder)
    ranked = write(comparison, tunings, folder)
    print("\n".join([*lines_of(ranked, comparison), f"report: {folder / 'report.html'}"]))
    return 0


def _of_comparisons(options: argparse.Namespace) -> int:
    from optchain.lab.comparison.profiles import write

    others = [folder for folder in options.runs if not (folder / "comparison.json").is_file()]
    if others:
        raise InputError(f"{others[0]} holds no comparison, as the others do")
    out = _wanted(options)
    print("\n".join([*write(options.runs, out), f"report: {out}"]))
    return 0


def _wanted(options: argparse.Namespace) -> Path:
    if options.out is None:
        raise InputError("expected --out, the HTML file to write")
    return options.out
