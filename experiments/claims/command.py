"""Measure claims about tuning, and say which hold."""

import argparse
import json
import shlex
import time
from pathlib import Path

from optchain.lab.base.errors import InputError
from optchain.lab.commands.options import goes_on, takes_sets


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("configs", type=Path, nargs="*", help="TOML files; all of configs/claims if left out")
    parser.add_argument("--quick", action="store_true", help="only those that take a minute together")
    parser.add_argument("--out", type=Path, default=Path("runs/claims"), help="folder; the same one goes on")
    parser.add_argument("--overwrite", action="store_true", help="remove what was measured of these claims first")
    takes_sets(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, judge and report; the exit code."""
    from experiments.claims.report import Tried, lines_of, write
    from experiments.claims.tables import Claim
    from experiments.claims.try_out import try_out
    from experiments.claims.verdict import outcomes
    from optchain.lab.base.doing import say
    from optchain.lab.base.signals import Interrupted
    from optchain.lab.runs import config
    from optchain.lab.runs.run import surroundings

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
            whole, claim = claim, claim.feasible()
            if not claim.checks:
                say(f"{claim.id}: left out, for the samplers of its checks are not installed")
                continue
            arms = try_out(claim, options.out / claim.id, str(path), command, say, options.overwrite)
            findings = outcomes(claim, arms)
            seconds = _spent(options.out / claim.id, time.perf_counter() - began)
            tried.append(
                Tried(claim, arms, findings, seconds, command, [name for name in whole.arms if name not in claim.arms])
            )
            write(tried, report, surroundings())
            print(lines_of(tried[-1:])[0], flush=True)
    except Interrupted as interrupted:
        say(f"stopped; {goes_on(options)}")
        return 128 + interrupted.signal
    if tried:
        print(f"report: {report}")
    return 0


def _spent(folder: Path, more: float) -> float:
    """The seconds that a claim has taken in all calls that came to their end, this one too."""
    from optchain.lab.runs.run import Run

    path = folder / "seconds.json"
    seconds = more + (json.loads(path.read_text())["seconds"] if path.exists() else 0.0)
    Run(folder).write(path.name, {"seconds": seconds})
    return seconds
