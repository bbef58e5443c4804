"""Train as a configuration says, and report."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from optchain.lab.base.errors import InputError
from optchain.lab.commands.options import command_of, folder_of, takes_run

if TYPE_CHECKING:
    from optchain.lab.runs.run import Run
    from optchain.lab.training.experiment import Experiment

DIVERGED = 3  # the exit code


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    takes_run(parser)
    parser.add_argument("--out", type=Path, help="folder of the run; runs/ and the configuration's name if left out")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in the folder from its checkpoint; the optimizer may be edited",
    )
    parser.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="OLD=NEW",
        dest="renames",
        help="with --resume and an edited optimizer: a link's new name; OLD= drops it, . is the whole optimizer",
    )
    parser.add_argument("--overwrite", action="store_true", help="remove the run in the folder first")
    parser.add_argument(
        "--profile", action="store_true", help="record some steps with JAX's profiler, into the folder `profile`"
    )


def run(options: argparse.Namespace) -> int:
    """Train; the exit code."""
    from optchain.lab.runs import config
    from optchain.lab.runs import run as runs
    from optchain.lab.runs.writer import sole_writer
    from optchain.lab.trackers.tables import require_installed
    from optchain.lab.training import experiment
    from optchain.lab.training.transfer import transferred

    if options.resume and options.overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    if options.renames and not options.resume:
        raise InputError("--rename is for --resume")
    renames = dict(map(_rename, options.renames))
    built = experiment.build(config.load(options.config, options.sets), str(options.config))
    require_installed(built.config.trackers)
    resolved = built.config  # whose epochs are steps
    resolved.require_epochs(built.task.splits["train"].size)
    folder = folder_of(options)
    if options.resume:
        runs.reopen(folder, resolved)
    else:
        if resolved.start is not None:  # to be found, and to fit, before a folder is made or removed
            kind, place = resolved.start.source
            if Path(place).resolve().is_relative_to(folder.resolve()):
                raise InputError(f"start.{kind}: {place} would be overwritten; choose another --out")
            transferred(resolved.start, built.shapes)
        runs.require_place(folder, options.overwrite)
    with sole_writer(folder):  # from here on: what was looked at before may be another process's by now
        if options.resume:
            opened = runs.reopen(folder, resolved)
            opened.say_changed()
        else:
            opened = runs.create(folder, resolved, command_of(options), options.overwrite)
        return _trained(built, opened, renames, options.profile)


def _trained(built: "Experiment", opened: "Run", renames: dict[str, str | None], profile: bool) -> int:
    """Train, unless it was done, and report; the exit code."""
    from optchain.lab.reports.report import write
    from optchain.lab.reports.scores import summary
    from optchain.lab.runs import config
    from optchain.lab.runs.run import BY_HAND
    from optchain.lab.training.profiled import ProfiledProgram
    from optchain.lab.training.train import Trainer

    done = opened.result is not None and not config.differences(opened.config, built.config)
    done = done and opened.ending != BY_HAND
    program = ProfiledProgram(built, opened.folder / "profile") if profile else None
    signal = None if done else Trainer(built, opened, renames, program).train()
    if signal is not None and opened.result is None:
        return 128 + signal
    write([opened], opened.folder / "report.html")
    print("\n".join([*summary(opened), f"report: {opened.folder / 'report.html'}"]))
    return DIVERGED if opened.ending == "diverged" else 0


def _rename(text: str) -> tuple[str, str | None]:
    old, equals, new = text.partition("=")
    if not equals or not old:
        raise InputError(f"--rename {text}: expected OLD=NEW, or OLD= to drop the link")
    return "" if old == "." else old, {"": None, ".": ""}.get(new, new)
