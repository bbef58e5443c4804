"""Runs by their configuration: those that differ in the training seed alone belong together."""

import dataclasses
from typing import Any

from optchain.lab.base.intervals import Interval, interval
from optchain.lab.reports.charts import COLORS
from optchain.lab.runs.config import Config
from optchain.lab.runs.run import Run
from optchain.lab.settings.load import flat
from optchain.lab.training.progress import shown

SEED = "train.seed"


@dataclasses.dataclass(frozen=True)
class Configuration:
    """A configuration and its runs, by name."""

    values: dict[str, Any]  # by dotted key, without the seed
    runs: dict[str, Run]

    @property
    def seeds(self) -> list[int]:
        """The training seeds of the runs."""
        return [run.config.train.seed for run in self.runs.values()]

    @property
    def scored(self) -> list[Run]:
        """The runs that came to their end and have scores."""
        return [run for run in self.runs.values() if run.result and run.result["scores"]]

    def mean(self, split: str, model: str, name: str) -> Interval:
        """The mean of a loss or metric over the runs that have it, with its interval."""
        scores = [run.result["scores"].get(split, {}).get(model) for run in self.scored if run.result]
        return interval([values[name] for values in scores if values])


def configurations(runs: dict[str, Run]) -> list[Configuration]:
    """The configurations of runs, in the order in which they first occur."""
    groups: list[Configuration] = []
    for name, run in runs.items():
        values = _values(run.config)
        same = next((group for group in groups if group.values == values), None)
        if same is None:
            groups.append(same := Configuration(values, {}))
        same.runs[name] = run
    return groups


def colors_of(groups: list[Configuration]) -> dict[str, str]:
    """The color of each run, by name: one for each configuration, or for each run where there is one configuration."""
    alike = [list(group.runs) for group in groups] if len(groups) > 1 else [[name] for name in groups[0].runs]
    return {name: COLORS[i % len(COLORS)] for i, names in enumerate(alike) for name in names}


def differing(groups: list[Configuration]) -> list[dict[str, str]]:
    """What differs between configurations: a row for each, with its number from 1, its runs and their seeds."""
    keys = [
        key
        for key in dict.fromkeys(key for group in groups for key in group.values)
        if any(group.values.get(key) != groups[0].values.get(key) for group in groups)
    ]
    return [
        {"configuration": str(number)}
        | {key: _text(group.values.get(key)) for key in keys}
        | {"runs": ", ".join(group.runs), "seeds": ", ".join(map(str, group.seeds))}
        for number, group in enumerate(groups, 1)
    ]


def _values(config: Config) -> dict[str, Any]:
    """The values by their dotted keys, and the order of links and of steps, without the seed."""
    values = flat(config.model_dump())
    values |= {"order of links": list(config.optimizer), "order of steps": list(config.preprocess or {})}
    return {key: x for key, x in values.items() if key != SEED}


def _text(x: Any) -> str:
    if isinstance(x, list):
        return ", ".join(map(shown, x)) or "none"
    return "-" if x is None else shown(x)
