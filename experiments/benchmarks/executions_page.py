"""The page of executions: what is wrong, the table, what it means, and what other libraries offer."""

import textwrap
from collections import Counter

from experiments.benchmarks.record import Row
from experiments.benchmarks.ways import WAYS

RIGHT, REFUSED, NOT_CONCERNED, EXEMPTED, WRONG = "right", "refused", "-", "exempt", "WRONG"
SHOWN = 130  # characters of a refusal

HEAD = """\
# Which technique runs in which execution

Written by `python -m experiments.benchmarks executions`, which runs every pair on two 8 x 8 kernels and a bias of 5,
with the arguments of the technique's example, and Adam in wrappers whose example has no slots: edit nothing here.
{counts}

"""

LEGEND = """\

A cell is

- `right`: the parameters are those of dense steps, as near as the last column below says. A word after it says how:
  `exact`, `decay_corrected` or `lazy` is the mode of `oc.rows` (in the last two all rows are touched, because a row at
  rest is another algorithm there; all begin from parameters that one dense step has made), `flat` that `oc.flat` takes
  it, `inside` that the wrapper is not put around the technique but inside it;
- `refused`, with the number of its error below, which names the technique or the wrapper;
- `exempt`: another algorithm by design, for the reason below;
- `-`: the execution does not concern it, as its declarations say: no link with `core_ndim = 2` for owners, no slot in
  `kinds` for codes;
- `WRONG`: anything else. {wrong}
"""

NEAR = """
One number is the largest distance from the parameters of dense steps, as a part of the way that two of these go;
rounding may add 1e-6 of the parameters, in bfloat16 2^-8. All are norms of the whole tree. Two numbers are the relative
and the absolute tolerance of each entry, as in the law of composition that is run.
"""

LIBRARIES = """\

## Other libraries

What their documentation or code says of these executions. Where nothing is said here, nothing was found.

| execution | [optax](https://github.com/google-deepmind/optax) | [HeavyBall](https://github.com/HomebrewML/HeavyBall) | [torchao](https://github.com/pytorch/ao) |
| --- | --- | --- | --- |
| ZeRO-1 | with explicit axes the state keeps its layouts from `init` on (`optax/_src/sharding_test.py`, 26 optimizers) | elementwise optimizers step FSDP's shards as they are (README, Distributed Training) | low-bit Adam takes FSDP2's shards ([#484](https://github.com/pytorch/ao/pull/484)); whether a state is in 8 bits depends on the size of the shard ([#4912](https://github.com/pytorch/ao/issues/4912)) |
| owners | | Muon, SOAP and PSGD: each matrix is assigned to one rank in turn, which rebuilds it, steps it and broadcasts (README, Distributed Training) | |
| packed | `flatten(tx)`: all leaves as one vector within the step (`optax/transforms/_layouts.py`) | | |
| int8, int4 | `mu_dtype`, the dtype of the momentum of Muon and of its Adam (`optax/contrib/_muon.py`) | `ecc=`: 16 bits and a correction of 8 or 16, for any optimizer built in (README, ECC) | `Adam8bit`, `Adam4bit`, `AdamFp8`, and of AdamW the same (`torchao/optim/README.md`) |
| split | | `param_ecc=`: parameters in the same way (README, ECC) | `bf16_stochastic_round=True`: parameters rounded at random, no rest (`torchao/optim/README.md`) |
"""  # noqa: E501


def page_of(cells: dict[tuple[str, str], Row], techniques: int = 0) -> str:
    """The page of these cells, by technique and execution, of so many techniques as there are."""
    wrong = [cell for cell in cells.values() if cell["outcome"] == WRONG]
    numbers = _numbered(cells)
    count = Counter(cell["outcome"] for cell in cells.values())
    counts = ", ".join(f"{count[outcome]} `{outcome}`" for outcome in (RIGHT, REFUSED, NOT_CONCERNED, EXEMPTED, WRONG))
    missing = max(techniques, len({name for name, _ in cells})) * len(WAYS) - len(cells)
    counts = f"Of {len(cells)} pairs {counts}" + (
        f"; {missing} were not run and are empty, or their technique has no line." if missing else "."
    )
    said = "Those are listed at the top of the page." if wrong else "There are none."
    parts = [HEAD.format(counts=counts), *_wrongs(wrong)]
    for title, of_rule in (("Techniques of one rule", True), ("Wrappers, and laws of their own", False)):
        parts += [
            f"## {title}\n\n",
            *_table({k: cell for k, cell in cells.items() if cell["rule"] == of_rule}, numbers),
        ]
        parts.append("\n")
    return "".join([*parts, "## What it means\n", LEGEND.format(wrong=said), *_ways(), *_reasons(numbers), LIBRARIES])


def _wrongs(wrong: list[Row]) -> list[str]:
    if not wrong:
        return []
    lines = [f"- `{cell['technique']}`, {cell['execution']}: {_escaped(cell['text'])}\n" for cell in wrong]
    return ["## WRONG\n\n", *lines, "\n"]


def _table(cells: dict[tuple[str, str], Row], numbers: dict[str, int]) -> list[str]:
    lines = [f"| technique | {' | '.join(WAYS)} |\n", f"| --- |{' --- |' * len(WAYS)}\n"]
    for name in sorted({name for name, _ in cells}):
        shown = [_cell(cells.get((name, column)), numbers) for column in WAYS]
        lines.append(f"| `{name}` | {' | '.join(shown)} |\n")
    return lines


def _cell(cell: Row | None, numbers: dict[str, int]) -> str:
    if cell is None:
        return ""
    if cell["outcome"] == RIGHT:
        return " ".join(filter(None, (RIGHT, cell["text"])))
    if cell["outcome"] in (REFUSED, EXEMPTED):
        return f"{cell['outcome']} {numbers[_general(cell)]}"
    return cell["outcome"]


def _numbered(cells: dict[tuple[str, str], Row]) -> dict[str, int]:
    """The reasons that cells refer to, with their numbers in the order of the page."""
    order = sorted(cells, key=lambda key: (not cells[key]["rule"], key[0], list(WAYS).index(key[1])))
    reasons = [_general(cells[key]) for key in order if cells[key]["outcome"] in (REFUSED, EXEMPTED)]
    return {reason: n for n, reason in enumerate(dict.fromkeys(reasons), 1)}


def _general(cell: Row) -> str:
    """A reason with `T` in the place of the technique, so that those of many techniques are one."""
    return textwrap.shorten(cell["text"].replace(cell["technique"], "T"), SHOWN, placeholder=" ...")


def _ways() -> list[str]:
    lines = ["\n| column | what is run | how near |\n", "| --- | --- | --- |\n"]
    lines += [f"| {name} | {way.says} | {way.near} |\n" for name, way in WAYS.items()]
    return [*lines, NEAR]


def _reasons(numbers: dict[str, int]) -> list[str]:
    if not numbers:
        return []
    lines = [f"{n}. {_escaped(reason)}\n" for reason, n in numbers.items()]
    return ["\n## What is refused, and what is exempt\n\nT is the technique.\n\n", *lines]


def _escaped(text: str) -> str:
    """A message as Markdown shows it letter for letter."""
    return f"`{text.replace('`', chr(39))}`" if text else ""
