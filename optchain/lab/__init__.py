"""The lab: train, tune and compare Flax models with chains of `optchain`. It needs the extra `lab`."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optchain.lab.api.arrays import Arrays as Arrays
    from optchain.lab.api.calls import compare as compare
    from optchain.lab.api.calls import train as train
    from optchain.lab.api.calls import tune as tune
    from optchain.lab.api.configuration import Configuration as Configuration
    from optchain.lab.api.configuration import load as load
    from optchain.lab.api.coordinates import coordinate_check as coordinate_check
    from optchain.lab.api.dimensions import choice as choice
    from optchain.lab.api.dimensions import integers as integers
    from optchain.lab.api.dimensions import log as log
    from optchain.lab.api.dimensions import uniform as uniform
    from optchain.lab.api.examination import examine as examine
    from optchain.lab.api.page import Page as Page
    from optchain.lab.api.rates import find_lr as find_lr
    from optchain.lab.api.results import Comparison as Comparison
    from optchain.lab.api.results import Run as Run
    from optchain.lab.api.results import Study as Study
    from optchain.lab.api.results import open as open
    from optchain.lab.api.script import as_python as as_python
    from optchain.lab.api.suggestions import suggest as suggest
    from optchain.lab.base.errors import InputError as InputError
    from optchain.lab.base.intervals import Interval as Interval
    from optchain.lab.base.intervals import interval as interval
    from optchain.lab.base.signals import Interrupted as Interrupted
    from optchain.lab.data.examples import Examples as Examples
    from optchain.lab.data.preprocess.scaling import MinMax as MinMax
    from optchain.lab.data.preprocess.scaling import Standardize as Standardize
    from optchain.lab.data.preprocess.step import Fitted as Fitted
    from optchain.lab.data.preprocess.step import Step as Step
    from optchain.lab.data.stream import Stream as Stream

# Where each name comes from. They are imported when they are first asked for: each command needs a few of them.
NAMES = {
    "Arrays": "api.arrays",
    "Comparison": "api.results",
    "Configuration": "api.configuration",
    "Examples": "data.examples",
    "Fitted": "data.preprocess.step",
    "InputError": "base.errors",
    "Interrupted": "base.signals",
    "Interval": "base.intervals",
    "MinMax": "data.preprocess.scaling",
    "Page": "api.page",
    "Run": "api.results",
    "Standardize": "data.preprocess.scaling",
    "Step": "data.preprocess.step",
    "Stream": "data.stream",
    "Study": "api.results",
    "as_python": "api.script",
    "choice": "api.dimensions",
    "compare": "api.calls",
    "coordinate_check": "api.coordinates",
    "examine": "api.examination",
    "find_lr": "api.rates",
    "integers": "api.dimensions",
    "interval": "base.intervals",
    "load": "api.configuration",
    "log": "api.dimensions",
    "open": "api.results",
    "suggest": "api.suggestions",
    "train": "api.calls",
    "tune": "api.calls",
    "uniform": "api.dimensions",
}


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{NAMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *NAMES])
