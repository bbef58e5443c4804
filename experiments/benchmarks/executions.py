"""Which technique runs in which execution: each pair is run beside dense steps, and a page is written of what comes."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from experiments.benchmarks import record
from experiments.benchmarks.cases import Case
from experiments.benchmarks.executions_page import EXEMPTED, NOT_CONCERNED, REFUSED, RIGHT, WRONG, page_of
from experiments.benchmarks.twins import techniques
from experiments.benchmarks.ways import WAYS, Exempt, Way
from optchain.core.paths import nearest
from optchain.core.registry import Registered
from optchain.inspect.laws.check import Refused, Skipped

# As in the tests, where compiling is most of the work too.
QUICKLY = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)
MARKS = {RIGHT: ".", REFUSED: "r", NOT_CONCERNED: "-", EXEMPTED: "e", WRONG: "X"}
LONGEST = 200  # characters of a reason that are kept

Cells = dict[tuple[str, str], record.Row]


def run(only: list[str], columns: list[str], page: Path, out: Path) -> Path:
    """Run what is missing in the record, and write the page of all that is in it; the path of the record.

    Args:
        only: names of techniques, which are run again; all if empty.
        columns: names of executions, which are run again; all if empty.
        page: the Markdown file to write.
        out: file to append each cell to as soon as it is known.
    """
    os.environ.setdefault("XLA_FLAGS", QUICKLY)
    made = dict(rows())
    for names, valid in ((only, made), (columns, WAYS)):
        for name in names:
            if name not in valid:
                raise SystemExit(f"executions: {name!r} is not one of them; {nearest(name, valid)}")
    known = recorded(out)
    for name in only or made:
        missing = [x for x in columns or WAYS if only or columns or (name, x) not in known]
        if not missing:
            continue
        print(f"{name:36}", end="", flush=True)
        for column, cell in cells(name, made[name], missing):
            record.append(out, [cell])
            known[name, column] = cell
            print(MARKS[cell["outcome"]], end="", flush=True)
        print(flush=True)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(page_of({key: cell for key, cell in known.items() if key[0] in made}, len(made)))
    print(f"page written to {page}")
    return out


def rows() -> Iterator[tuple[str, Registered]]:
    """The exported techniques but for the presets, which are chains of them."""
    return ((name, entry) for name, entry in techniques() if not entry.make.__module__.startswith("optchain.presets"))


def recorded(out: Path) -> Cells:
    """The last cell of each pair in a record, of which a line that was cut off is taken away."""
    text = out.read_text() if out.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        out.write_text(whole)
    found = map(json.loads, whole.splitlines())
    return {(cell["technique"], cell["execution"]): cell for cell in found}


def cells(name: str, entry: Registered, columns: list[str]) -> Iterator[tuple[str, record.Row]]:
    """A cell for each of these columns."""
    case = Case(name, entry)
    for column in columns:
        outcome, text = outcome_of(case, WAYS[column])
        own = {"technique": name, "rule": entry.rule is not None, "execution": column}
        yield column, own | {"outcome": outcome, "text": text}


def outcome_of(case: Case, way: Way) -> tuple[str, str]:
    """What comes of a technique in one execution, and what is to be said of it."""
    try:
        return RIGHT, way.run(case)
    except Exempt as reason:
        return EXEMPTED, first_words(reason)
    except Skipped as reason:
        return NOT_CONCERNED, first_words(reason)
    except Refused as error:
        return REFUSED, first_words(error)
    except (ValueError, TypeError) as error:
        text = first_words(error)
        # What another's error is about is known to nobody who does not know what stands within.
        return (REFUSED, text) if is_named(str(error), case, way) else (WRONG, f"it does not say who: {text}")
    except Exception as error:  # noqa: BLE001  # whatever it is, the page shows it
        return WRONG, f"{type(error).__name__}: {first_words(error)}"


def is_named(message: str, case: Case, way: Way) -> bool:
    """Whether an error says which technique or which wrapper does not fit."""
    wrappers = (f"{name}:" in message or f"oc.{name}" in message for name in way.called)
    return any(wrappers) or any(re.search(rf"\b{re.escape(name)}\b", message) for name in case.names())


def first_words(error: Exception) -> str:
    """The beginning of a message."""
    lines = str(error).splitlines() or [""]
    return lines[0][:LONGEST]
