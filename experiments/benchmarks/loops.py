"""What a compiled program does in one call, where what stands in a loop counts each time that the loop goes round.

The compiler's own counts take the body of a loop once.
"""

import math
import re
from collections.abc import Iterator

from optchain.inspect.collectives import Sent, collectives

COMPUTATION = re.compile(r"^(ENTRY )?%(\S+) \(.*?\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
CALLED = re.compile(r"(?:body|calls|to_apply|true_computation|false_computation)=%([\w.-]+)")
BRANCHES = re.compile(r"branch_computations=\{(.*?)\}")
ROUNDS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
ARRAY = re.compile(r"%(\S+) = \w+\[([\d,]*)\]")
PRODUCT = re.compile(r"%\S+ = \w+\[([\d,]*)\]\S* dot\(%([\w.-]+), .*lhs_contracting_dims=\{([\d,]*)\}")


def computations(text: str) -> Iterator[tuple[str, int]]:
    """The lines of each computation of `compiled.as_text()`, and how often it is run; all branches are.

    A loop whose rounds the compiler does not know counts once.
    """
    found = {name: lines for _, name, lines in COMPUTATION.findall(text)}
    times = dict.fromkeys(found, 0)

    def run(name: str, often: int) -> None:
        times[name] += often
        for line in found[name].splitlines():
            rounds = ROUNDS.search(line)
            inner = often * (int(rounds[1]) if rounds and " while(" in line else 1)
            branches = [name.strip().lstrip("%") for names in BRANCHES.findall(line) for name in names.split(",")]
            for called in (*CALLED.findall(line), *branches):
                run(called, inner)

    run(next(name for entry, name, _ in COMPUTATION.findall(text) if entry), 1)
    return ((lines, times[name]) for name, lines in found.items())


def sent(text: str) -> dict[str, Sent]:
    """The collectives by kind, and the bytes of their results."""
    total: dict[str, Sent] = {}
    for lines, times in computations(text):
        for kind, x in collectives(lines).items():
            before = total.get(kind, Sent(0, 0))
            total[kind] = Sent(before.count + times * x.count, before.bytes + times * x.bytes)
    return {kind: x for kind, x in total.items() if x.count}


def flops(text: str) -> int:
    """The multiplications and additions of matrix products; what LAPACK does is not among them."""
    total = 0
    for lines, times in computations(text):
        shapes = {name: sizes(dims) for name, dims in ARRAY.findall(lines)}
        for dims, left, contracted in PRODUCT.findall(lines):
            summed = [shapes[left][axis] for axis in sizes(contracted)]
            total += times * 2 * math.prod(sizes(dims)) * math.prod(summed)
    return total


def sizes(dims: str) -> list[int]:
    """The numbers of `64,32`."""
    return [int(n) for n in dims.split(",") if n]
