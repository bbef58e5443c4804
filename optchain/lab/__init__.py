"""The lab: train, tune and compare Flax models with chains of `optchain`. It needs the extra `lab`."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optchain.lab.base.errors import InputError as InputError
    from optchain.lab.data.examples import Examples as Examples
    from optchain.lab.data.preprocess.scaling import MinMax as MinMax
    from optchain.lab.data.preprocess.scaling import Standardize as Standardize
    from optchain.lab.data.preprocess.step import Fitted as Fitted
    from optchain.lab.data.preprocess.step import Step as Step

# Where each name comes from. They are imported when they are first asked for: each command needs a few of them.
NAMES = {
    "Examples": "data.examples",
    "Fitted": "data.preprocess.step",
    "InputError": "base.errors",
    "MinMax": "data.preprocess.scaling",
    "Standardize": "data.preprocess.scaling",
    "Step": "data.preprocess.step",
}


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{NAMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *NAMES])
