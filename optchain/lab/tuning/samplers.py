"""The tables of samplers, which propose the points of a study: built in, by name, or any of Optuna's, by place."""

from typing import Annotated, Any

from optuna.samplers import BruteForceSampler, GridSampler, QMCSampler, RandomSampler
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from optchain.core.paths import nearest
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.own import Own, parameters_of
from optchain.lab.settings.places import is_place
from optchain.lab.settings.table import Table

NAMES = {
    "cma_es": "an evolution strategy with an adapted covariance (CMA-ES)",
    "gp": "a Gaussian process",
    "grid": "a grid",
    "nsga2": "a genetic algorithm (NSGA-II)",
    "population": "a population",
    "quasi_random": "quasi-random points",
    "random": "random points",
    "tpe": "a tree-structured Parzen estimator",
}
ADAPTIVE = ("cma_es", "gp", "nsga2", "population", "tpe")
HINT = "or a place, such as 'optuna.samplers:BruteForceSampler' or 'file.py:Name'"


def _named(value: Any) -> Any:
    """A name that is built in, or the table of a place."""
    use = value.get("use") if isinstance(value, dict) else value
    if isinstance(use, str) and use in NAMES:
        if isinstance(value, dict) and len(value) > 1:
            key = next(key for key in value if key != "use")
            cure = "expected a sampler by place, such as 'optuna.samplers:TPESampler'"
            raise _error(f"{use!r} takes no parameters here, got {key!r}; {cure}")
        return use
    if isinstance(use, str) and not is_place(use):
        raise _error(f"got {use!r}; {nearest(use, NAMES)}, {HINT}")
    if not isinstance(value, str | dict | Own):
        raise _error(f"got {value!r}; expected the name of a sampler, {HINT}")
    if isinstance(value, dict) and value.get("seed") is not None:
        raise _error(f"got seed = {value['seed']!r}; leave it out: each trial's follows from search.seed")
    return {"use": value} if isinstance(value, str) else value


def _error(message: str) -> PydanticCustomError:
    return PydanticCustomError("unknown", "{message}", {"message": message})


FILLED = ("seed",)  # what the tuner gives to a sampler that takes it
BY_PLACE = Kinds("sampler", {}, base=Table, filled=FILLED, otherwise=str)
AnySampler = Annotated[Any, BY_PLACE, BeforeValidator(_named)]


def name_of(sampler: str | Own) -> str:
    """The name of a sampler, for people."""
    return sampler if isinstance(sampler, str) else sampler.use.rpartition(":")[2]


def described(sampler: str | Own) -> str:
    """What a sampler is, in words."""
    return NAMES[sampler] if isinstance(sampler, str) else f"{name_of(sampler)} ({sampler.use})"


def is_adaptive(sampler: str | Own) -> bool:
    """Whether the points depend on what became of earlier ones."""
    if isinstance(sampler, str):
        return sampler in ADAPTIVE
    return sampler.placed.target not in (BruteForceSampler, GridSampler, QMCSampler, RandomSampler)


def takes(sampler: Own, name: str) -> bool:
    """Whether a sampler by place has a parameter that its table leaves to the tuner."""
    return name in parameters_of(sampler.placed.target) and getattr(sampler, name, None) is None


def is_repeatable(sampler: str | Own) -> bool:
    """Whether a study that is stopped and resumed proposes what it would have proposed: the sampler takes a seed."""
    return isinstance(sampler, str) or takes(sampler, "seed")
