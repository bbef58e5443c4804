"""How cost grows: seconds of a trial with the workers, of a step with the devices, the processes and the data."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks import record
from experiments.benchmarks.mesh import address

TUNE, TRAIN = "configs/digits/tune.toml", "configs/digits/mlp.toml"
NUMBERS = (1, 2, 4)
BATCH = 256  # of the runs on devices: each of eight has something to do
COLUMNS = 32


def run(trials: int, steps: int, rows: list[int], out: Path) -> Path:
    """Measure, print and record; the path of the record.

    Args:
        trials: of the shorter of two studies; the longer has three times as many, and the difference is theirs.
        steps: of each run of training.
        rows: of the data, a number for each size.
        out: file to append the rows to.
    """
    sections = {
        f"{TUNE}: a trial": of_workers(trials),
        f"{TRAIN}, batches of {BATCH}: a step": of_devices(steps),
        f"{COLUMNS} columns, an MLP, batches of {BATCH}: a step": of_data(steps, rows),
    }
    for title, measured in sections.items():
        results = []
        for row in measured:
            results.append(row)
            record.append(out, [row])  # each as soon as it is there: the whole takes minutes
        record.show(title, results)
    return out


def of_workers(trials: int) -> Iterator[record.Row]:
    """Studies one after another, by processes, and side by side in one compiled call."""
    ways = {"one after another": (1, [])}
    ways |= {f"{n} processes": (n, ["search.parallel=processes", f"search.workers={n}"]) for n in NUMBERS}
    ways |= {f"{n} lanes": (n, ["search.parallel=vmap", f"search.lanes={n}"]) for n in (4, 16)}
    base = ["search.fresh=0", "search.sampler=random", "search.pruner.trials=1000000"]
    for name, (number, sets) in ways.items():
        short, long = (study([*base, *sets, f"search.trials={n}"]) for n in (trials, 3 * trials))
        each = (long["seconds"] - short["seconds"]) / (2 * trials)
        yield {
            "run": name,
            "side by side": number,
            "seconds of one": each,
            "seconds before": short["seconds"] - trials * each,
            "cores": long["cores"],
        }


def study(sets: list[str]) -> dict[str, Any]:
    """What a study costs."""
    with tempfile.TemporaryDirectory() as folder:
        return timed(["tune", TUNE, "--out", str(Path(folder) / "study"), *setting(sets)])


def of_devices(steps: int) -> Iterator[record.Row]:
    """A run on devices that share the cores of this machine, and by processes that do."""
    base = [f"train.batch={BATCH}", f"train.steps={2 * steps}", f"train.evaluate_every={steps}"]
    for number in (1, 2, 8):
        for zero1 in ("false", "true")[: min(number, 2)]:
            mesh = f"mesh={{data = {number}, zero1 = {zero1}}}"
            row = of_run(TRAIN, [*base, mesh], environment=devices(number))
            yield {"run": f"{number} devices" + ", ZeRO-1" * (zero1 == "true"), **row}
    for number in NUMBERS[1:]:
        yield {"run": f"{number} processes", **of_run(TRAIN, [*base, f"mesh={{data = {number}}}"], number, devices(1))}


def devices(number: int) -> dict[str, str]:
    """The environment in which JAX makes so many devices of this machine's cores."""
    return {"XLA_FLAGS": f"--xla_force_host_platform_device_count={number}"}


def of_data(steps: int, rows: list[int]) -> Iterator[record.Row]:
    """Runs on a table in memory and in its file."""
    for number in rows:
        with tempfile.TemporaryDirectory() as folder:
            table(Path(folder) / "data.npz", number)
            for stream in ("false", "true"):
                config = Path(folder) / f"{stream}.toml"
                config.write_text(CONFIG.format(stream=stream, batch=BATCH, steps=2 * steps, every=steps))
                yield {
                    "run": "streamed" if stream == "true" else "in memory",
                    "rows": number,
                    **of_run(str(config), []),
                }


CONFIG = """
[task]
use = "arrays"
path = "data.npz"
inputs = "x"
targets = "y"
validation = 1000
stream = {stream}

[model]
hidden = [128, 128]

[train]
steps = {steps}
batch = {batch}
evaluate_every = {every}

[optimizer.adam]
use = "adamw"
learning_rate = 1e-3
"""


def table(path: Path, rows: int) -> None:
    """Rows of numbers with a class each, not compressed."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((rows, COLUMNS), dtype=np.float32)
    np.savez(path, x=x, y=(x[:, 0] * x[:, 1] > 0).astype(np.int32))


def of_run(config: str, sets: list[str], processes: int = 1, environment: dict[str, str] = {}) -> record.Row:  # noqa: B006
    """The seconds of a step between the first evaluation and the second, and those before and after."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        whole = timed(["train", config, "--out", str(out), *setting(sets)], processes, environment)
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    evaluations = [row["evaluation"] for row in rows if "evaluation" in row]
    return {
        "seconds of one": 1 / evaluations[-1]["steps_per_second"],
        "compiling": evaluations[-1]["compiling_seconds"],
        "seconds before": whole["seconds"] - evaluations[-1]["seconds"] - evaluations[-1]["compiling_seconds"],
        "cores": whole["cores"],
        "peak MB": whole["peak MB"],
    }


def setting(sets: list[str]) -> list[str]:
    """The options of a command that set these keys."""
    return [part for text in sets for part in ("--set", text)]


def timed(arguments: list[str], processes: int = 1, environment: dict[str, str] = {}) -> dict[str, Any]:  # noqa: B006
    """The seconds of a command, how many cores it kept busy, and the memory of its largest process.

    Raises:
        RuntimeError: the command failed.
    """
    command = [sys.executable, "-m", "optchain", *arguments]
    at = address()
    joined = [["--processes", str(processes), "--coordinator", at, "--process", str(i)] for i in range(processes)]
    began, cpu, peak = time.perf_counter(), 0.0, 0
    with tempfile.TemporaryFile("w+") as said:
        started = [
            subprocess.Popen(
                [*command, *(own if processes > 1 else [])],
                env=os.environ | environment,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            for own in joined
        ]
        for process in started:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu, peak = cpu + usage.ru_utime + usage.ru_stime, max(peak, usage.ru_maxrss)
        seconds = time.perf_counter() - began
        if any(process.returncode for process in started):
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{said.read()}")
    return {"seconds": seconds, "cores": cpu / seconds, "peak MB": peak / 1000}
