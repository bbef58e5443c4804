"""A page for each room of techniques, with what each keeps and computes; nothing of it is kept in a file."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from optchain.inspect.technique_tables import rooms, tables_of

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

NAME = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)  # in the first column of a table


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, as mkdocs calls it."""
    for room, makers in rooms().items():
        page = "\n".join(_page(room, makers))
        files.append(File.generated(config, f"techniques/{room}.md", content=page))
    return files


def _page(room: str, makers: dict[str, Callable[..., Any]]) -> Iterator[str]:
    yield f"# {TITLES[room]}\n"
    yield NAME.sub(r"| [`\1`](#optchain.\1) |", "\n\n".join(tables_of(makers))) + "\n"
    yield from (f"::: optchain.{name}\n" for name in makers)
