"""Measure claims about tuning, and say which hold."""

import argparse
import json
import shlex
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

from experiments.claims import page
from experiments.claims.report import Tried, lines_of, write
from experiments.claims.tables import read
from experiments.claims.try_out import try_out
from experiments.claims.verdict import outcomes
from optchain import lab


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("configs", type=Path, nargs="*", help="TOML files; all of configs/claims if left out")
    parser.add_argument("--quick", action="store_true", help="only those that take a minute together")
    parser.add_argument("--out", type=Path, default=Path("runs/claims"), help="folder; the same one again resumes")
    parser.add_argument("--docs", type=Path, help="a folder for claims.json and claims.md, too")
    parser.add_argument("--overwrite", action="store_true", help="remove what was measured of these claims first")
    parser.add_argument(
        "--set", type=change, action="append", default=[], metavar="KEY=VALUE", help="override, train.seed=1"
    )


def change(text: str) -> tuple[str, Any]:
    """A key of the configuration and its value, as in TOML or else a string."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"got {text!r}; expected KEY=VALUE, such as train.seed=1")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def run(options: argparse.Namespace) -> int:
    """Measure, judge and report; the exit code."""
    say("claims: loading")
    claims = {path: read(path) for path in options.configs or sorted(Path("configs/claims").glob("*.toml"))}
    if options.quick:
        claims = {path: claim for path, claim in claims.items() if claim.quick}
    if not claims:
        raise lab.InputError("got no claims; expected files, or configs/claims in the folder where this is run")
    tried, report = [], options.out / "report.html"
    try:
        for path, whole in sorted(claims.items(), key=lambda item: int(item[1].id[1:])):
            began, folder, claim = time.perf_counter(), options.out / whole.id, whole.feasible()
            command = shlex.join(["python", "-m", "experiments", "claims", str(path)])
            if not claim.checks:
                say(f"{claim.id}: left out, because what its checks need is not installed")
                continue
            arms = try_out(claim, folder, claim.all_studies(path, dict(options.set)), say, options.overwrite)
            findings = outcomes(claim, arms)
            seconds = spent(folder / "seconds.json", time.perf_counter() - began, options.overwrite)
            left_out = [name for name in whole.arms if name not in claim.arms]
            tried.append(Tried(claim, arms, findings, seconds, command, left_out))
            write(tried, report)
            if options.docs:
                page.write(tried[-1:], options.docs)
            print(lines_of(tried[-1:])[0], flush=True)
    except lab.Interrupted as interrupted:
        say(f"stopped; the same command{' without --overwrite' if options.overwrite else ''} resumes")
        return 128 + interrupted.signal
    if tried:
        print(f"report: {report}")
    return 0


def say(text: str) -> None:
    """Say on the standard error what is being done."""
    print(text, file=sys.stderr, flush=True)


def spent(path: Path, more: float, overwritten: bool = False) -> float:
    """The seconds that something has taken in all calls that came to their end, this one too."""
    before = json.loads(path.read_text())["seconds"] if path.exists() and not overwritten else 0.0
    path.write_text(json.dumps({"seconds": before + more}) + "\n")
    return before + more
