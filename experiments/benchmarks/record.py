"""What a benchmark leaves behind: a table to read and lines of JSON to compare."""

import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optchain.core.describe import in_columns

Row = dict[str, Any]


def surroundings() -> Row:
    """What the numbers depend on: commit, versions, device, cores, load, time."""
    import jax

    packages = [name for name in ("jax", "optax", "torch") if importlib.util.find_spec(name)]
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
        "device": jax.devices()[0].device_kind,
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],  # of all processes in the last minute; quiet is at most about one for each core
    }


def commit() -> str | None:
    """The commit of this checkout, with `-dirty` after it where files differ; None outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def append(path: Path, rows: Sequence[Row]) -> None:
    """Append the rows, each with its surroundings, as lines of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    around = surroundings()
    with path.open("a") as file:
        file.writelines(json.dumps(around | row) + "\n" for row in rows)


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows of the same keys as a table; as plain aligned lines where the output is no terminal."""
    from rich.console import Console
    from rich.table import Table

    cells = [[cell(value) for value in row.values()] for row in rows]
    console = Console()
    if console.is_terminal:
        table = Table(title=title, title_justify="left")
        for name, value in rows[0].items():
            table.add_column(name, justify="left" if isinstance(value, str) else "right")
        for line in cells:
            table.add_row(*line)
        console.print(table)
        return
    print("\n".join([title, *in_columns([list(rows[0]), *cells])]))


def cell(value: Any) -> str:
    """A value as short as it can be read."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else str(value)


def goal(name: str, value: float, limit: float, at_least: bool = False) -> Row:
    """One goal and whether it is met."""
    met = value >= limit if at_least else value <= limit
    return {"goal": f"{name} {'>=' if at_least else '<='} {limit:g}", "measured": float(value), "met": bool(met)}
