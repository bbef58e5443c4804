"""One run on one device, on several, and by several processes: how far the curves differ, what each device holds, and
what the devices send one another."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import record
from optchain.inspect.collectives import collectives
from optchain.lab.runs.config import load
from optchain.lab.training.experiment import build  # what is compiled is what is looked at
from optchain.lab.training.program import Program

CONFIG = "configs/digits/mlp.toml"
# A smooth network: what rounding errors become of is no matter of chance.
SMOOTH = ["model.activation=tanh", "model.norm=none", "model.dropout=0.0", "train.batch=64"]
MESHES = {
    "2 devices, copies": "{data = 2}",
    "8 devices, copies": "{data = 8}",
    "8 devices, ZeRO-1": "{data = 8, zero1 = true}",
    "8 devices, FSDP": "{data = 1, fsdp = 8}",
    "8 devices, 2 x FSDP 4": "{data = 2, fsdp = 4}",
}
PROCESSES = {"2 processes x 4": (2, 4), "4 processes x 2": (4, 2)}


def run(steps: int, out: Path) -> Path:
    """Measure, print and record; the path of the record.

    Args:
        steps: of each run, compiled as one loop.
        out: file to append the rows to.
    """
    base = [*SMOOTH, f"train.steps={steps}", f"train.evaluate_every={steps}"]
    first, rows = None, []
    for name, mesh in {"1 device": None, **MESHES}.items():
        row, curve = on_devices([*base, *([f"mesh={mesh}"] if mesh else [])], steps)
        first = curve if first is None else first
        rows.append({"run": name, "curve differs by": float(np.max(np.abs(curve - first))), **row})
    for name, (number, devices) in PROCESSES.items():
        curve, seconds = by_processes([*base, f"mesh={MESHES['8 devices, ZeRO-1']}"], number, devices)
        difference = float(np.max(np.abs(curve - first)))
        rows.append(dict.fromkeys(rows[0]) | {"run": name, "curve differs by": difference, "seconds": seconds})
    record.show(f"{CONFIG}, smooth, {steps} steps", rows)
    record.append(out, rows)
    return out


def on_devices(sets: list[str], steps: int) -> tuple[record.Row, np.ndarray]:
    """What a run holds and sends, and its losses."""
    began = time.perf_counter()
    built = build(load(CONFIG, sets), CONFIG)
    program, config = Program(built), built.config
    carry = program.start(config)
    compiled = program.compiled((carry, program.data["train"], program.setting(config)), steps)
    sent = {kind: f"{x.count} ({x.bytes} B)" for kind, x in collectives(compiled.as_text()).items()}
    carry, logs, _ = program.run(config, carry, steps)
    row = {
        "parameters B a device": held(carry["params"]),
        "state B a device": held(carry["opt_state"]),
        "all-reduce": sent.pop("all-reduce", None),
        "all-gather": sent.pop("all-gather", None),
        "others": ", ".join(f"{kind} {said}" for kind, said in sent.items()) or None,
        "seconds": time.perf_counter() - began,
    }
    return row, np.asarray(logs["loss"])


def held(tree: Any) -> int:
    """Bytes on one device."""
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))


def relative(x: Any, expected: Any) -> float:
    """The largest difference in units of the largest entry."""
    x, expected = np.asarray(x), np.asarray(expected)
    return float(np.abs(x - expected).max() / np.abs(expected).max())


def address() -> str:
    """Where processes on this machine may find one another."""
    with closing(socket.socket()) as listening:
        listening.bind(("localhost", 0))
        return f"localhost:{listening.getsockname()[1]}"


def by_processes(sets: list[str], number: int, devices: int) -> tuple[np.ndarray, float]:
    """The losses of a run by so many processes with so many devices each, and the seconds from start to end."""
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    at, began = address(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "optchain", "train", CONFIG, "--out", str(out)]
        command += [part for text in sets for part in ("--set", text)]
        own = ["--processes", str(number), "--coordinator", at, "--process"]
        started = [
            subprocess.Popen([*command, *own, str(i)], env=environment, stdout=subprocess.DEVNULL)
            for i in range(number)
        ]
        if any([process.wait() for process in started]):
            raise RuntimeError(f"a process of {number} failed")
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return np.array([row["loss"] for row in rows if "loss" in row]), time.perf_counter() - began
