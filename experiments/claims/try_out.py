"""Runs the arms of a claim: each is tuned as a study of its own, and its best point run again with fresh seeds."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from experiments.claims.tables import Claim
from experiments.claims.verdict import Arm, require_scores
from optchain import lab

FEW = 2  # best points of an arm's studies that are told one by one


def try_out(
    claim: Claim,
    folder: Path,
    arms: Mapping[str, Sequence[lab.Configuration]],
    shown: Callable[[str], None],
    overwrite: bool = False,
) -> dict[str, Arm]:
    """The arms of a claim, their runs made or, where they were made before, read.

    Args:
        claim: what is tried.
        folder: for the runs.
        arms: the studies of each.
        shown: told what has come of each arm.
        overwrite: whether runs that were made before are removed first.

    Raises:
        InputError: an arm that cannot be built, or whose every trial diverged.
        Interrupted: a signal came; the same call resumes.
    """
    for name, studies in arms.items():
        studies[0].check()
        require_scores(claim, name, studies[0])
    done = {}
    for name, studies in arms.items():
        folders = [folder / "arms" / name / f"study={i}" for i in range(len(studies))]
        runs, best = zip(*(_run(*both, overwrite) for both in zip(studies, folders, strict=True)), strict=True)
        points = list(dict.fromkeys(best))
        said = " | ".join(points) if len(points) <= FEW else f"{len(points)} different points of {len(best)} studies"
        done[name] = Arm(name, said, runs)
        shown(f"{claim.id}  {name}  {best[0]}  test loss {done[name].mean('test loss')}")
    return done


def _run(study: lab.Configuration, folder: Path, overwrite: bool) -> tuple[list[lab.Run], str]:
    """The fresh runs of an arm, and the values that were chosen for it."""
    if not study.tables["space"]:
        again = {seed: study.changed({"train.seed": seed}) for seed in study.fresh_seeds}
        return [one.train(folder / f"seed={seed}", overwrite=overwrite, quiet=True) for seed, one in again.items()], ""
    tuned = study.tune(folder, overwrite=overwrite, quiet=True)
    if math.isnan(tuned.score):
        raise lab.InputError(f"{study.source}: every trial diverged; widen its space downwards")
    point = (f"{name} {x:.4g}" if isinstance(x, float) else f"{name} {x}" for name, x in tuned.best.items())
    return tuned.fresh, ", ".join(point)
