"""Runs the arms of a claim: each is tuned as a study of its own, and its best point run anew with fresh seeds."""

from collections.abc import Callable
from pathlib import Path

import pydantic

from experiments.claims.leak import leaking
from experiments.claims.tables import Claim
from experiments.claims.verdict import Arm, require_scores
from optchain.lab.base.errors import InputError
from optchain.lab.runs.run import Run
from optchain.lab.runs.writer import remove
from optchain.lab.settings.load import problems
from optchain.lab.training.experiment import build, load_task
from optchain.lab.tuning.programs import Programs
from optchain.lab.tuning.tune import Tuning

FEW = 2  # best points of an arm's studies that are told one by one


def try_out(
    claim: Claim, folder: Path, source: str, command: str, shown: Callable[[str], None], overwrite: bool = False
) -> dict[str, Arm]:
    """The arms of a claim, their runs made or, where they were made before, read.

    Args:
        claim: what is tried.
        folder: for the runs.
        source: of the claim, to name in errors.
        command: that tries it, for the runs to remember.
        shown: told what has come of each arm.
        overwrite: whether runs that were made before are removed first.

    Raises:
        InputError: an arm that cannot be built, or whose every trial diverged.
        Interrupted: a signal came; the same call goes on from there.
    """
    tunings: dict[str, list[Tuning]] = {}
    for name in claim.arms:
        place = f"{source}: arms.{name}"
        try:
            studies = [claim.study(name, i) for i in range(claim.studies)]
        except pydantic.ValidationError as error:
            lines = (": ".join(filter(None, [place, *problem])) for problem in problems(error))
            raise InputError("\n".join(lines)) from None
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
        folders = [folder / "arms" / name / f"study={i}" for i in range(claim.studies)]
        programs = Programs(place, leaking if claim.arms[name].leaks else build)
        tunings[name] = [Tuning(*both, place, command, programs) for both in zip(studies, folders, strict=True)]
    for name, several in tunings.items():
        several[0].require_valid()
        study = several[0].study
        try:
            require_scores(claim, name, load_task(study))
        except InputError as error:
            raise InputError(f"{source}: {error}") from None
    if overwrite and (folder / "arms").is_dir():
        remove(folder)
    arms = {}
    for name, several in tunings.items():
        runs, best = zip(*map(_run, several), strict=True)
        points = list(dict.fromkeys(best))
        said = " | ".join(points) if len(points) <= FEW else f"{len(points)} different points of {len(best)} studies"
        arms[name] = Arm(name, said, runs)
        shown(f"{claim.id}  {name}  {best[0]}  test loss {arms[name].mean('test loss')}")
    return arms


def _run(tuning: Tuning) -> tuple[list[Run], str]:
    """The fresh runs of an arm, and the values that were chosen for it."""
    tuning.prepare(overwrite=False)
    if not tuning.study.space:
        return tuning.fresh(tuning.study.config({}), "as it is"), ""
    tuning.search(quiet=True)
    winner = tuning.winner
    if winner is None:
        raise InputError(f"{tuning.source}: every trial diverged; widen its space downwards")
    point = (f"{name} {words}" for name, words in winner.words.items())
    return tuning.finish(), ", ".join(point)
