"""What a study needs on a machine that shares no folder with it, in the database as attributes of the study.

That is the resolved tables, the text of the user's `.py` files that they name and of those that these import from
beside them, and the pickles of objects that `lab.tune` was given. Files of data are named by path.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna

from optchain.lab.base.errors import InputError
from optchain.lab.runs.run import versions
from optchain.lab.runs.sources import sources
from optchain.lab.settings.links import with_places
from optchain.lab.settings.places import relative
from optchain.lab.settings.table import Table
from optchain.lab.tuning.tables import Study

PARCEL = "parcel"  # the attribute that says how many pieces there are, and the hash of the whole
PIECE = 30_000  # letters of an attribute: some databases take no more than twice as many
LARGEST = 16_000_000  # bytes of pickles that a database is burdened with


def send(optuna_study: optuna.Study, study: Study, command: str) -> None:
    """Put what workers need into the database, unless it is there already.

    Args:
        optuna_study: as Optuna keeps it.
        study: the tables.
        command: that began it.
    """
    text = json.dumps(content(study, command))
    label, pieces = {"pieces": -(-len(text) // PIECE), "sha256": _hash(text)}, range(0, len(text), PIECE)
    if optuna_study.user_attrs.get(PARCEL) != label:
        for i, at in enumerate(pieces):
            optuna_study.set_user_attr(f"{PARCEL}:{i}", text[at : at + PIECE])
        optuna_study.set_user_attr(PARCEL, label)


def content(study: Study, command: str) -> dict[str, Any]:
    """What workers need; `root` is the folder of the files, to which their paths are relative.

    Args:
        study: the tables.
        command: that began it.
    """
    named = [entry for entry in sources(study, Path("/")) if entry["use"].partition(":")[0].endswith(".py")]
    files = [Path("/", file) for entry in named for file in entry["files"]]
    root = Path(os.path.commonpath([file.parent for file in files])) if files else Path("/")
    pickles: dict[str, Path] = {}

    def placed(use: str) -> str:
        path, _, role = use.partition(":")
        if not path.endswith(".pkl"):
            return relative(use, root)
        pickles[Path(path).name] = Path(path)
        return f"{Path(path).name}:{role}"

    tables = with_places(study.model_dump(mode="json"), placed)
    tables["search"] |= {"storage": None, "warm_start": []}  # the address may hold a password; earlier trials are there
    size = sum(path.stat().st_size for path in pickles.values())
    kept = {
        name: base64.b64encode(path.read_bytes()).decode() if size <= LARGEST else None
        for name, path in pickles.items()
    }
    texts = {file.relative_to(root).as_posix(): file.read_text(encoding="utf-8") for file in files}
    return {"tables": tables, "files": texts, "pickles": kept, "command": command, "versions": versions()} | {
        "root": str(root)
    }


def received(attributes: dict[str, Any]) -> dict[str, Any]:
    """What was sent.

    Args:
        attributes: of the study in the database.

    Raises:
        InputError: it is being changed at this moment.
    """
    label = attributes[PARCEL]
    text = "".join(attributes.get(f"{PARCEL}:{i}", "") for i in range(label["pieces"]))
    if _hash(text) != label["sha256"]:
        raise InputError("the study is being changed by the command that began it; start the worker again")
    return json.loads(text)


def unpack(content: dict[str, Any], folder: Path, trusts: bool) -> None:
    """Write the user's files and pickles into a folder.

    Args:
        content: see `received`.
        folder: of the project.
        trusts: whether pickles are taken.

    Raises:
        InputError: there are pickles, and they are not trusted or were too large to be sent.
    """
    pickles, cure = content["pickles"], "put the objects into a .py file and name them by place"
    if pickles and not trusts:
        names = ", ".join(pickles)
        why = "reading a pickle runs what is in it, and anyone who can write to the database may have put it there"
        raise InputError(f"the study has objects without a file, as pickles: {names}; {why}. Give --trust, or {cure}")
    for name, text in {**content["files"], **pickles}.items():
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise InputError(f"the study has a file {name!r}, which would be written outside of {folder}")
        if text is None:
            raise InputError(f"{name}: the pickles of the study have more than {LARGEST // 10**6} MB together; {cure}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(text) if name in pickles else text.encode())


def require_paths(study: Study) -> None:
    """The files and folders that a study names are on this machine.

    Raises:
        InputError: naming those that are not.
    """
    lost = [f"{key} = {path}" for key, path in _paths(study) if not key.startswith("trackers.") and not path.exists()]
    if lost:
        raise InputError("not on this machine, where data must be at the same paths: " + ", ".join(lost))


def _paths(x: Any, key: str = "") -> Iterator[tuple[str, Path]]:
    if isinstance(x, Path):
        yield key, x
    elif isinstance(x, Table | dict):
        items = x.items() if isinstance(x, dict) else [(name, getattr(x, name)) for name in type(x).model_fields]
        for name, inner in items:
            yield from _paths(inner, f"{key}.{name}" if key else name)
    elif isinstance(x, list | tuple):
        for i, inner in enumerate(x):
            yield from _paths(inner, f"{key}.{i}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
