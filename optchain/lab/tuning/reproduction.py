"""How a study can be repeated, as a part of its report."""

import tomli_w

from optchain.lab.reports.page import card
from optchain.lab.runs.run import Run
from optchain.lab.tuning.outcome import Outcome
from optchain.lab.tuning.tune import Tuning


def reproduction(tuning: Tuning, result: Outcome) -> list[str]:
    """The commands, the versions and the tables of a study."""
    run, study = Run(tuning.folder), tuning.study
    commands = [f"{tuning.command} --out {tuning.folder}", f"optchain report {tuning.folder}"]
    if result.winner is not None:
        configs = sorted(result.winner.folder.glob("*/config.json"))
        commands += [f"optchain train {path}" for path in (tuning.folder / "best.toml", *configs[:1])]
    tables = {
        "search": study.search.model_dump(
            exclude_none=True, exclude=None if study.search.sampler == "population" else {"population"}
        ),
        "space": {name: dimension.model_dump(exclude_defaults=True) for name, dimension in study.space.items()},
    }
    return [
        "<h2>How to repeat it</h2>",
        "<h3>The study, this page, the best configuration, and a run of the best trial; any other has its config.json "
        "in the folder trials</h3>",
        card("\n".join(commands)),
        "<h3>Versions and machine</h3>",
        card(run.surroundings),
        "<h3>What was searched</h3>",
        card(tomli_w.dumps(tables)),
    ]
