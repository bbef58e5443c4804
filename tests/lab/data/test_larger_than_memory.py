"""Files larger than the memory that reading them takes."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

READ = """
import resource, sys, time
from optchain.lab.data.formats import FORMATS
from optchain.lab.data.loading import made
from optchain.lab.data import loading

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before, began = peak(), time.perf_counter()
table = FORMATS["csv"].model_validate({"use": "csv", "path": sys.argv[1], "target": "y", "stream": True, "test": 500})
examples = table.load()
loaded = time.perf_counter()
task = made(examples, table)
task.stream.read(__import__("numpy").arange(64))
print(f"converted in {loaded - began:.1f} s, prepared in {time.perf_counter() - loaded:.1f} s")
print(before, peak())
"""


@pytest.mark.slow
def test_a_csv_of_300_megabytes_is_converted_in_blocks(tmp_path):
    """Reading it takes less memory than the file has bytes; all cells as texts would take several times as many."""
    draw, rows = np.random.default_rng(0), 50_000
    with (tmp_path / "data.csv").open("wb") as file:
        for part in range(35):
            columns = {f"x{i}": draw.normal(size=rows).astype(np.float32) for i in range(15)}
            columns |= {"color": draw.choice(["red", "blue", ""], rows), "y": draw.integers(0, 3, rows)}
            pl.DataFrame(columns).write_csv(file, include_header=part == 0)
        size = file.tell()
    assert size > 280e6
    command = [sys.executable, "-c", READ, str(tmp_path / "data.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    print(size, done.stderr, done.stdout)
    before, after = map(int, done.stdout.split()[-2:])
    assert after - before < size
