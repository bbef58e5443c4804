"""Small configurations, and runs of the command line in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

SMALL = """
[task]
use = "circles"
validation = 200
test = 200

[model]
hidden = [10]
dropout = 0.1
batch_norm = true

[train]
steps = {steps}
batch = 32
evaluate_every = {every}
log_every = 5

[optimizer]
watch = true

[optimizer.adam]
use = "scale_by_adam"

[optimizer.lr]
use = "cosine"
start = 1e-2
steps = 300

[optimizer.average]
use = "average_params"
decay = 0.9
"""


def small(folder: Path, steps: int = 60, every: int = 20) -> Path:
    """The file of a small configuration: 600 examples in batches of 32, so that no chunk ends with an epoch."""
    path = folder / "small.toml"
    path.write_text(SMALL.format(steps=steps, every=every))
    return path


def start(*arguments: object) -> subprocess.Popen:
    """Start the command line from the repository's root."""
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: object) -> subprocess.CompletedProcess:
    """Run the command line to its end."""
    process = start(*arguments)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
