"""Train as a configuration says, and report."""

import argparse
import contextlib
import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from optchain.lab.base import processes
from optchain.lab.base.doing import say
from optchain.lab.base.errors import InputError
from optchain.lab.commands.options import command_of, folder_of, takes_run

if TYPE_CHECKING:
    from optchain.lab.runs.config import Config
    from optchain.lab.runs.run import Run
    from optchain.lab.training.experiment import Experiment
    from optchain.lab.training.program import Program

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
        "--processes",
        metavar="N",
        help="how many processes compute the run, each started with this command on its own machine, in a [mesh]; "
        "auto where Slurm, MPI or Kubernetes tell",
    )
    parser.add_argument("--process", type=int, metavar="I", help="the number of this one, from 0, which alone writes")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 listens")
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
    processes.start(options.processes, options.process, options.coordinator)
    built = experiment.build(config.load(options.config, options.sets), str(options.config))
    require_installed(built.config.trackers)
    resolved = built.config  # whose epochs are steps
    resolved.require_epochs(built.task.size)
    if processes.count() > 1 and resolved.mesh is None:
        cure = "expected a table [mesh], on whose devices all processes compute"
        raise InputError(f"{options.config}: got {processes.count()} processes and no mesh; {cure}")
    folder = folder_of(options)
    processes.of_first(lambda: _look(options, folder, resolved))
    if resolved.start is not None and not options.resume:  # to be found, and to fit, before a folder is made or removed
        transferred(resolved.start, built.shapes)
    with contextlib.ExitStack() as stack, processes.losing_none():
        # From here on: what was looked at before may be another process's by now.
        processes.of_first(lambda: stack.enter_context(sole_writer(folder)))
        processes.of_first(lambda: _open(options, folder, resolved))
        opened = runs.Run(folder)
        if not processes.is_first():  # what is written is written by the first alone, but for its share of checkpoints
            own = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            opened = dataclasses.replace(runs.create(own, resolved, command_of(options), False), kept=folder)
        return _trained(built, opened, renames, options.profile)


def _look(options: argparse.Namespace, folder: Path, resolved: "Config") -> None:
    """A run may be made or continued in a folder, or an error says why not. Nothing is written."""
    from optchain.lab.runs import run as runs

    if options.resume:
        runs.reopen(folder, resolved)
        return
    if resolved.start is not None:
        kind, place = resolved.start.source
        if Path(place).resolve().is_relative_to(folder.resolve()):
            raise InputError(f"start.{kind}: {place} would be overwritten; choose another --out")
    runs.require_place(folder, options.overwrite)


def _open(options: argparse.Namespace, folder: Path, resolved: "Config") -> None:
    from optchain.lab.runs import run as runs

    if options.resume:
        runs.reopen(folder, resolved).say_changed()
    else:
        runs.create(folder, resolved, command_of(options), options.overwrite)


def _trained(built: "Experiment", opened: "Run", renames: dict[str, str | None], profile: bool) -> int:
    """Train, unless it was done, and report; the exit code."""
    from optchain.lab.reports.report import write
    from optchain.lab.reports.scores import summary
    from optchain.lab.training.linted import lint
    from optchain.lab.training.progress import Quiet
    from optchain.lab.training.train import Trainer

    first, signal = processes.is_first(), None
    if not processes.of_first(lambda: _is_done(opened, built.config)):
        program = _program(built, opened, profile and first)
        trainer = Trainer(built, opened, renames, program, None if first else Quiet())
        for line in lint(built, opened) if first else ():  # once it is known that the run can go on
            say(line)
        signal = trainer.train()
    if signal is not None and opened.result is None:
        return 128 + signal
    if first:
        write([opened], opened.folder / "report.html")
        print("\n".join([*summary(opened), f"report: {opened.folder / 'report.html'}"]))
    return DIVERGED if opened.ending == "diverged" else 0


def _program(built: "Experiment", opened: "Run", profile: bool) -> "Program | None":
    """What is compiled for a run, if it is anything special."""
    from optchain.lab.models.gradients import WorkerGradients
    from optchain.lab.training.profiled import ProfiledProgram
    from optchain.lab.workers.served import ServedProgram

    if isinstance(built.config.gradient, WorkerGradients):
        if profile:
            raise InputError("--profile: the steps of workers are made in other processes; leave it out")
        return ServedProgram(built, opened.folder)
    return ProfiledProgram(built, opened.folder / "profile") if profile else None


def _is_done(opened: "Run", resolved: "Config") -> bool:
    from optchain.lab.runs import config
    from optchain.lab.runs.run import BY_HAND

    done = opened.result is not None and not config.differences(opened.config, resolved)
    return done and opened.ending != BY_HAND


def _rename(text: str) -> tuple[str, str | None]:
    old, equals, new = text.partition("=")
    if not equals or not old:
        raise InputError(f"--rename {text}: expected OLD=NEW, or OLD= to drop the link")
    return "" if old == "." else old, {"": None, ".": ""}.get(new, new)
