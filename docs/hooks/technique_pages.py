"""A page for each room of techniques, with what each keeps and computes; nothing of it is kept in a file."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from optchain.inspect.technique_tables import optimizers_table, rooms, tables_of

TITLES = {
    "averaging": "Averages of parameters",
    "clipping": "Clipping",
    "compression": "Compressed means",
    "control": "Guards and accumulation",
    "decay": "Weight decay",
    "directions": "Directions",
    "embeddings": "Tables of rows",
    "federated": "Many clients",
    "masking": "Groups and masks",
    "matrices": "Matrices",
    "moments": "Moments",
    "multitask": "Several tasks",
    "packing": "Packed leaves",
    "parametrization": "Parametrization",
    "presets": "Full optimizers",
    "pruning": "Sparse weights",
    "schedules": "Schedules",
    "sharding": "Meshes",
    "sharpness": "Sharpness",
    "stepsize": "Step sizes",
    "storage": "Storage of states",
}

COLUMNS = (
    "*slots*: numbers that the state holds for each parameter, measured on a square matrix. *mixes*: the largest part "
    "of a parameter that one entry of the update depends on; a technique that mixes a matrix or an array has to know "
    "which axes are layers or heads: `over_layers`, `as_matrices`."
)
NAME = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)  # in the first column of a table


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, as mkdocs calls it."""
    for room, makers in rooms().items():
        page = "\n".join(_page(room, makers))
        files.append(File.generated(config, f"techniques/{room}.md", content=page))
    return files


def _page(room: str, makers: dict[str, Callable[..., Any]]) -> Iterator[str]:
    yield f"# {TITLES[room]}\n"
    tables = [optimizers_table()] if room == "presets" else tables_of(makers)
    yield f"{COLUMNS}\n"
    yield NAME.sub(r"| [`\1`](#optchain.\1) |", "\n\n".join(tables)) + "\n"
    yield from (f"::: optchain.{name}\n" for name in makers)
