"""The command line: `python -m experiments COMMAND`, of which `--help` lists all."""

import argparse
import shlex
import sys
from pathlib import Path

from experiments.errors import InputError

DIVERGED = 3


def main(arguments: list[str]) -> int:
    """Run a command; the exit code."""
    options = parser().parse_args(arguments)
    try:
        return options.command(options)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the first step or after the last: there is nothing to save
        return 130


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="python -m experiments",
        description="Train Flax models with optchain.",
        epilog="Exit codes: 0 done, 2 bad input, 3 the loss diverged, 130 and 143 stopped by a signal, after saving.",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train as a configuration says, and report")
    train.add_argument("config", type=Path, help="a TOML file, or the config.json of a run")
    train.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="override, optimizer.lr.peak=1e-3"
    )
    train.add_argument("--out", type=Path, help="folder of the run; runs/ and the configuration's name if left out")
    train.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in the folder from its checkpoint; the optimizer may be edited",
    )
    train.add_argument(
        "--rename",
        action="append",
        default=[],
        metavar="OLD=NEW",
        dest="renames",
        help="with --resume and an edited optimizer: a link's new name; OLD= drops it, . is the whole optimizer",
    )
    train.add_argument("--overwrite", action="store_true", help="remove the run in the folder first")
    train.set_defaults(command=_train)

    evaluate = commands.add_parser("evaluate", help="score the model of a run on every split")
    evaluate.add_argument("run", type=Path, help="folder of the run")
    evaluate.set_defaults(command=_evaluate)

    predict = commands.add_parser("predict", help="answer new inputs with the model of a run")
    predict.add_argument("run", type=Path, help="folder of the run")
    predict.add_argument("input", type=Path, help="rows of raw features, as .csv or .npy")
    predict.add_argument("--out", type=Path, help="CSV file to write; the standard output if left out")
    predict.set_defaults(command=_predict)

    report = commands.add_parser("report", help="write the report of runs, of a study, or of comparisons")
    report.add_argument(
        "runs", type=Path, nargs="+", metavar="run", help="folders of runs or comparisons, or that of a study"
    )
    report.add_argument(
        "--out", type=Path, help="HTML file to write; the report of one study or comparison goes to its folder"
    )
    report.set_defaults(command=_report)

    compare = commands.add_parser("compare", help="tune several optimizers and compare them on fresh seeds")
    compare.add_argument("config", type=Path, help="a TOML file with a chain and a space for each optimizer")
    compare.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="override")
    compare.add_argument("--out", type=Path, help="folder; the same one again goes on where it was stopped")
    compare.add_argument("--overwrite", action="store_true", help="remove the trials in the folder first")
    compare.set_defaults(command=_compare)

    tune = commands.add_parser("tune", help="search for the best values of a configuration")
    tune.add_argument("config", type=Path, help="a TOML file with the tables search and space")
    tune.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="override")
    tune.add_argument("--out", type=Path, help="folder; the same one again goes on where it was stopped")
    tune.add_argument("--overwrite", action="store_true", help="remove the study in the folder first")
    tune.set_defaults(command=_tune)

    claims = commands.add_parser("claims", help="measure claims about tuning, and say which hold")
    claims.add_argument("configs", type=Path, nargs="*", help="TOML files; all of configs/claims if left out")
    claims.add_argument("--quick", action="store_true", help="only those that take a minute together")
    claims.add_argument("--out", type=Path, default=Path("runs/claims"), help="folder; the same one goes on")
    claims.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="override")
    claims.set_defaults(command=_claims)

    find_lr = commands.add_parser("find-lr", help="train with a rising learning rate, and suggest one")
    find_lr.add_argument("config", type=Path, help="a TOML file, or the config.json of a run")
    find_lr.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="override")
    find_lr.add_argument("--key", help="the rate, optimizer.lr.peak; left out, the optimizer's only one")
    find_lr.add_argument("--from", type=float, default=1e-6, dest="low", metavar="RATE", help="the first (1e-6)")
    find_lr.add_argument("--to", type=float, default=10.0, dest="high", metavar="RATE", help="the last (10)")
    find_lr.add_argument("--steps", type=int, default=200, help="rates that are tried, one a step (200)")
    find_lr.add_argument("--out", type=Path, help="folder for rates.csv and report.html")
    find_lr.set_defaults(command=_find_lr)

    find_batch = commands.add_parser("find-batch", help="measure batches by doubling them, and suggest one")
    find_batch.add_argument("config", type=Path, help="a TOML file, or the config.json of a run")
    find_batch.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets", help="override")
    find_batch.add_argument(
        "--memory", type=float, metavar="GIB", help="what a step may need; all there is if left out"
    )
    find_batch.add_argument(
        "--steps", type=int, default=300, help="of training, after which the noise is measured (300)"
    )
    find_batch.set_defaults(command=_find_batch)
    return top


def _train(options: argparse.Namespace) -> int:
    import jax

    from experiments import config, experiment, run
    from experiments.report import summary, write
    from experiments.train import Trainer
    from experiments.transfer import transferred

    if options.resume and options.overwrite:
        raise InputError("--resume and --overwrite exclude each other")
    if options.renames and not options.resume:
        raise InputError("--rename is for --resume")
    renames = dict(map(_rename, options.renames))
    resolved = config.load(options.config, options.sets)
    built = experiment.build(resolved, str(options.config))
    folder = _folder(options)
    if options.resume:
        opened = run.reopen(folder, resolved)
    else:
        if resolved.start is not None:  # to be found, and to fit, before a folder is made or removed
            if Path(resolved.start.run).resolve().is_relative_to(folder.resolve()):
                raise InputError(f"start.run: {resolved.start.run} would be overwritten; choose another --out")
            transferred(resolved.start, jax.eval_shape(built.start))
        opened = run.create(folder, resolved, _command(options), options.overwrite)
    done = opened.result is not None and not config.differences(opened.config, resolved)
    done = done and opened.ending != run.BY_HAND
    signal = None if done else Trainer(built, opened, renames).train()
    if signal is not None and opened.result is None:
        return 128 + signal
    write([opened], opened.folder / "report.html")
    print("\n".join([*summary(opened), f"report: {opened.folder / 'report.html'}"]))
    return DIVERGED if opened.ending == "diverged" else 0


def _compare(options: argparse.Namespace) -> int:
    from experiments import compare, config
    from experiments.comparison import Comparison
    from experiments.comparison_report import lines_of, write
    from experiments.signals import Interrupted

    comparison = config.load(options.config, options.sets, Comparison)
    folder, command, done = _folder(options), _command(options), []
    tunings = compare.studies(comparison, folder, str(options.config), command)
    # All are built before anything is removed or run: a misspelled name is not to be found after an hour.
    compare.require_valid(comparison, tunings)
    compare.prepare(folder, comparison, tunings, command, options.overwrite)
    try:
        for name in compare.perform(comparison, tunings):
            done.append(name)
            compare.write_trials({name: tunings[name] for name in done}, folder / "trials.csv")
    except Interrupted as interrupted:
        there = f"{len(done)} of {len(tunings)} optimizers are done"
        print(f"stopped; {there}; the same command goes on from there", file=sys.stderr)
        return 128 + interrupted.signal
    ranked = write(comparison, tunings, folder)
    print("\n".join([*lines_of(ranked, comparison), f"report: {folder / 'report.html'}"]))
    return 0


def _tune(options: argparse.Namespace) -> int:
    from experiments import config
    from experiments.signals import Interrupted
    from experiments.tuning.report import lines_of, write
    from experiments.tuning.tables import Study
    from experiments.tuning.tune import Tuning

    folder = _folder(options)
    study = config.load(options.config, options.sets, Study)
    tuning = Tuning(study, folder, str(options.config), _command(options))
    tuning.require_valid()
    tuning.prepare(options.overwrite)
    try:
        tuning.search()
        tuning.finish()
    except Interrupted as interrupted:
        print("stopped; the same command goes on from there", file=sys.stderr)
        return 128 + interrupted.signal
    print("\n".join([*lines_of(tuning, write(tuning)), f"report: {folder / 'report.html'}"]))
    return 0


def _claims(options: argparse.Namespace) -> int:
    import time

    from experiments import config, run
    from experiments.claims.report import Tried, lines_of, write
    from experiments.claims.tables import Claim
    from experiments.claims.try_out import try_out
    from experiments.claims.verdict import outcomes
    from experiments.signals import Interrupted

    paths = options.configs or sorted(Path("configs/claims").glob("*.toml"))
    claims = {path: config.load(path, options.sets, Claim) for path in paths}
    if options.quick:
        claims = {path: claim for path, claim in claims.items() if claim.quick}
    if not claims:
        raise InputError("no claims: name files, or run it where configs/claims is")
    tried, report = [], options.out / "report.html"
    try:
        for path, claim in sorted(claims.items(), key=lambda item: int(item[1].id[1:])):
            began = time.perf_counter()
            command = shlex.join(["python", "-m", "experiments", "claims", str(path)])
            arms = try_out(claim, options.out / claim.id, str(path), command, lambda line: print(line, file=sys.stderr))
            findings = outcomes(claim, arms)
            tried.append(Tried(claim, arms, findings, time.perf_counter() - began, command))
            write(tried, report, run.surroundings())
            print(lines_of(tried[-1:])[0], flush=True)
    except Interrupted as interrupted:
        print("stopped; the same command goes on from there", file=sys.stderr)
        return 128 + interrupted.signal
    print(f"report: {report}")
    return 0


def _find_lr(options: argparse.Namespace) -> int:
    from experiments import config, experiment, find_lr

    if not 0 < options.low < options.high:
        raise InputError(f"--from {options.low:g} --to {options.high:g}: wanted positive rates that rise")
    if options.steps < 2 * find_lr.CHUNK:
        raise InputError(f"--steps {options.steps}: wanted at least {2 * find_lr.CHUNK}")
    resolved = config.load(options.config, options.sets)
    key, limits = find_lr.rate_of(resolved, options.key), (options.low, options.high, options.steps)
    built = experiment.build(find_lr.with_sweep(resolved, key, *limits), str(options.config))
    folder = options.out or _folder(options).with_name(f"{options.config.stem}-find-lr")
    find_lr.prepare(folder)
    found = find_lr.sweep(built, key, *limits)
    told = find_lr.lines(found)
    find_lr.write(found, folder, _command(options))
    print("\n".join([*told, f"report: {folder / 'report.html'}"]))
    return 0


def _find_batch(options: argparse.Namespace) -> int:
    from experiments import config, experiment, find_batch

    if options.steps <= find_batch.FEW:
        raise InputError(f"--steps {options.steps}: wanted more than the {find_batch.FEW} at the start")
    if options.memory is not None and not options.memory > 0:
        raise InputError(f"--memory {options.memory:g}: wanted a positive number of GiB")
    built = experiment.build(config.load(options.config, options.sets), str(options.config))
    limit = find_batch.available() if options.memory is None else int(options.memory * 2**30)
    found = find_batch.measure(built, limit)
    print("\n".join(find_batch.lines(found, find_batch.measure_noise(built, options.steps), limit)))
    return 0


def _folder(options: argparse.Namespace) -> Path:
    """Where a run goes: as the command says, else named after its configuration."""
    return options.out or Path("runs") / options.config.parent.name / options.config.stem


def _rename(text: str) -> tuple[str, str | None]:
    old, equals, new = text.partition("=")
    if not equals or not old:
        raise InputError(f"--rename {text}: wanted OLD=NEW, or OLD= to drop the link")
    return "" if old == "." else old, {"": None, ".": ""}.get(new, new)


def _evaluate(options: argparse.Namespace) -> int:
    from experiments import run
    from experiments.evaluate import restore
    from experiments.report import score_lines

    trained = restore(run.find(options.run))
    print("\n".join(score_lines(trained.experiment.task, trained.scores())))
    return 0


def _predict(options: argparse.Namespace) -> int:
    from experiments import run
    from experiments.evaluate import read_rows, restore, write_answers

    trained = restore(run.find(options.run))
    task = trained.experiment.task
    answers = trained.answers(read_rows(options.input, task.features, missing=task.imputes))
    if options.out is None:
        write_answers(answers, sys.stdout)
    else:
        with options.out.open("w", newline="") as file:
            write_answers(answers, file)
    return 0


def _report(options: argparse.Namespace) -> int:
    if any((folder / "study.json").is_file() for folder in options.runs):
        return _report_study(options)
    if any((folder / "comparison.json").is_file() for folder in options.runs):
        return _report_comparison(options)
    from experiments import run
    from experiments.report import write

    if options.out is None:
        raise InputError("wanted --out, the HTML file to write")
    write([run.find(folder) for folder in options.runs], options.out)
    print(f"report: {options.out}")
    return 0


def _report_study(options: argparse.Namespace) -> int:
    from experiments.tuning.report import lines_of, write
    from experiments.tuning.tune import reopened

    if len(options.runs) > 1 or options.out is not None:
        raise InputError("the report of a study goes to its folder; wanted that folder alone and no --out")
    tuning = reopened(options.runs[0])
    print("\n".join([*lines_of(tuning, write(tuning)), f"report: {tuning.folder / 'report.html'}"]))
    return 0


def _report_comparison(options: argparse.Namespace) -> int:
    from experiments.compare import reopened
    from experiments.comparison_report import lines_of, write

    if len(options.runs) > 1:
        return _report_profiles(options)
    if options.out is not None:
        raise InputError("the report of a comparison goes to its folder; leave out --out, or name several comparisons")
    (folder,) = options.runs
    comparison, tunings = reopened(folder)
    ranked = write(comparison, tunings, folder)
    print("\n".join([*lines_of(ranked, comparison), f"report: {folder / 'report.html'}"]))
    return 0


def _report_profiles(options: argparse.Namespace) -> int:
    from experiments.profiles import write

    others = [folder for folder in options.runs if not (folder / "comparison.json").is_file()]
    if others:
        raise InputError(f"{others[0]} holds no comparison, as the others do")
    if options.out is None:
        raise InputError("wanted --out, the HTML file to write")
    print("\n".join([*write(options.runs, options.out), f"report: {options.out}"]))
    return 0


def _command(options: argparse.Namespace) -> str:
    """The command that starts the same run, without what concerns the folder."""
    sets = [part for text in options.sets for part in ("--set", text)]
    name = options.command.__name__.removeprefix("_").replace("_", "-")
    return shlex.join(["python", "-m", "experiments", name, str(options.config), *sets])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
