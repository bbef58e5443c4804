"""How the trials of a study are run: one after the other, in processes, on devices, in lanes, or on a cluster."""

import contextlib
import os
from collections.abc import Callable

from optchain.lab.base import compiled
from optchain.lab.tuning import lost, one_by_one
from optchain.lab.tuning.display import Standings
from optchain.lab.tuning.kept import Kept
from optchain.lab.tuning.on_devices import on_devices
from optchain.lab.tuning.on_ray import on_ray
from optchain.lab.tuning.population import Population
from optchain.lab.tuning.programs import Programs
from optchain.lab.tuning.side_by_side import SideBySide
from optchain.lab.tuning.trials import write_trials
from optchain.lab.tuning.tune import SEARCHED, Tuning
from optchain.lab.tuning.workers import in_processes


@compiled.kept(everything=True)
def search(tuning: Tuning, quiet: bool = False) -> None:
    """Run all trials of a study that are left, and show how it stands.

    Args:
        tuning: the study.
        quiet: show nothing meanwhile.

    Raises:
        Interrupted: a signal came.
        LostError: the database went away.
    """
    with lost.told(tuning.study.search):
        models = Kept(tuning.study.search.keep, tuning.objective)
        with contextlib.nullcontext() if quiet else Standings(tuning.claims.budget, tuning.objective) as display:

            def look() -> None:
                with tuning.claims.turn:
                    tuning.claims.clock.tick()
                trials = tuning.trials()
                write_trials(trials, tuning.folder / "trials.csv", tuning.objective)
                models.remove_others(trials)
                if display:
                    display.show(trials)

            look()
            perform(tuning, look)
        if tuning.study.search.storage is not None:
            tuning.claims.optuna_study.set_user_attr(SEARCHED, True)


def perform(tuning: Tuning, look: Callable[[], None]) -> None:
    """Run all trials that are left, as the study says.

    Args:
        tuning: the study.
        look: called when trials have ended, and now and then.

    Raises:
        Interrupted: a signal came; what was running is saved.
    """
    search = tuning.study.search
    if search.sampler == "population":
        return Population(tuning.claims, tuning.programs, tuning.command, look).perform()
    match search.parallel:
        case "vmap":
            SideBySide(tuning.claims, tuning.programs, tuning.command, lambda _: look()).perform()
        case "processes":
            in_processes(work_in_process, (tuning,), search.workers or os.cpu_count() or 1, look)
        case "devices":
            on_devices(lambda number: work(tuning, device=number), look)
        case "ray":
            on_ray(tuning, look)
        case "none":
            work(tuning, look)


def work(tuning: Tuning, look: Callable[[], None] = lambda: None, device: int = 0) -> None:
    """Run trials, one after the other, as long as any are left.

    Args:
        tuning: the study.
        look: called when a trial has ended, and while only trials of others are left.
        device: the number of the device on which new arrays are made; each has programs of its own.

    Raises:
        Interrupted: a signal came; what was running is saved.
    """
    programs = tuning.programs if device == 0 else Programs(tuning.source)
    while (held := tuning.claims.next(look)) is not None:
        with held as claim:
            one_by_one.perform(claim, programs, tuning.command)
        look()


@compiled.kept(everything=True)
def work_in_process(tuning: Tuning) -> None:
    """The same in a process of its own."""
    with lost.told(tuning.study.search):
        work(tuning)
