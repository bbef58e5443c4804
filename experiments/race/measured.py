"""What a race has measured, as a file that pages and charts are made from."""

import json
import platform
import statistics
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import pydantic

import optchain as oc
from optchain import lab

STRICT = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)


class Fresh(pydantic.BaseModel):
    """A run of the best point with a fresh seed; losses are None where it diverged."""

    model_config = STRICT

    seed: int
    validation: float | None
    test: float | None
    curve: list[tuple[int, float]]  # steps and validation losses


class Entry(pydantic.BaseModel):
    """One optimizer on one task."""

    model_config = STRICT

    best: dict[str, Any]  # what was chosen, by dotted key
    trials: list[float | None]  # validation losses; None where it diverged
    fresh: list[Fresh]
    milliseconds: float  # a step of a fresh run, in the middle
    bytes: float  # of state, for each parameter


class Raced(pydantic.BaseModel):
    """One task."""

    model_config = STRICT

    steps: int
    batch: int
    parameters: int
    seconds: float  # that the comparison took, all calls together
    warnings: list[str]  # of its report, on the search
    entries: dict[str, Entry]


class Race(pydantic.BaseModel):
    """All tasks of a race."""

    model_config = STRICT

    command: str
    machine: str
    tasks: dict[str, Raced]

    def write(self, path: Path) -> None:
        """Write the file, a line for each optimizer and task."""
        tables = self.model_dump()
        lines = [f' "command": {json.dumps(self.command)},', f' "machine": {json.dumps(self.machine)},', ' "tasks": {']
        tasks = []
        for name, task in tables["tasks"].items():
            entries = ",\n".join(f"    {json.dumps(key)}: {json.dumps(x)}" for key, x in task.pop("entries").items())
            facts = "".join(f"   {json.dumps(key)}: {json.dumps(x)},\n" for key, x in task.items())
            tasks.append(f'  {json.dumps(name)}: {{\n{facts}   "entries": {{\n{entries}\n   }}\n  }}')
        path.write_text("\n".join(["{", *lines, ",\n".join(tasks), " }", "}"]) + "\n", encoding="utf-8")


def read(path: Path) -> Race:
    """The race in a file.

    Raises:
        InputError: it is not there, or no race.
    """
    try:
        return Race.model_validate_json(path.read_text(encoding="utf-8"), strict=False)
    except (OSError, ValueError) as error:
        raise lab.InputError(f"{path}: {error}") from None


def measured(comparison: lab.Comparison, seconds: float) -> Raced:
    """What a comparison has measured.

    Args:
        comparison: that has come to its end.
        seconds: that it took.
    """
    entries = {name: _entry(study) for name, study in comparison.studies.items()}
    run = next(iter(comparison.studies.values())).fresh[0]
    steps, batch = run.config.train.steps, run.config.train.batch
    assert isinstance(steps, int) and isinstance(batch, int)  # noqa: S101, as the configuration of a race has them
    size = sum(p.size for p in jax.tree.leaves(run.params))
    return Raced(
        steps=steps, batch=batch, parameters=size, seconds=round(seconds, 1), warnings=comparison.warnings,
        entries=entries,
    )  # fmt: skip


def machine() -> str:
    """What the race ran on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("jax", "optax", "flax"))
    devices = f"{jax.device_count()} {jax.devices()[0].platform} device{'s' if jax.device_count() > 1 else ''}"
    return f"{devices}, {platform.machine()}, Python {platform.python_version()}, {packages}"


def _entry(study: lab.Study) -> Entry:
    runs = study.fresh
    done = [run.result for run in runs if run.result is not None and run.ending.startswith("finished")]
    return Entry(
        best=study.best,
        trials=[row["validation_loss"] if row["state"] == "finished" else None for row in study.trials],
        fresh=[_fresh(run) for run in runs],
        milliseconds=statistics.median(1e3 * x["seconds"]["training"] / x["step"] for x in done),
        bytes=_bytes(runs[0]),
    )


def _fresh(run: lab.Run) -> Fresh:
    ended = run.ending.startswith("finished")
    loss = {split: run.scores[split]["loss"] if ended else None for split in ("validation", "test")}
    curve = [(row["step"], row["validation_loss"]) for row in run.history if row.get("validation_loss") is not None]
    return Fresh(seed=run.config.train.seed, curve=curve, **loss)


def _bytes(run: lab.Run) -> float:
    """The bytes of an optimizer's state for each parameter, by its shapes."""
    params: Mapping[str, Any] = run.params
    state = jax.eval_shape(oc.from_config(run.config.optimizer, "optimizer").init, params)
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)) / sum(p.size for p in jax.tree.leaves(params))
