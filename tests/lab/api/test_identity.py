"""What an object is, the same in every process."""

import subprocess
import sys

import numpy as np
import pytest

from optchain.lab.api.identity import identity

SCRIPT = """
import numpy as np
from optchain.lab.api.identity import identity
rate = 3
def helper(x): return x + {number}
class Net:
    def __init__(self, width): self.width = width
    def __call__(self, x): return helper(x)
print(identity(lambda x: helper(x)), identity(Net), identity(lambda: Net(2)), identity(np.arange(4)))
"""


def identities(number):
    command = [sys.executable, "-c", SCRIPT.format(number=number)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.full
def test_processes_agree_and_what_a_function_calls_is_part_of_it():
    first, again, other = identities(1), identities(1), identities(2)
    assert first == again and len(set(first)) == 4
    assert [a == b for a, b in zip(first, other, strict=True)] == [False, False, False, True]


def make(factor):
    return lambda x: factor * x


@pytest.mark.parametrize(
    "one, other",
    [
        (make(1.0), make(2.0)),
        (lambda x: x + 1, lambda x: x + 2),
        (lambda x, y=1: x, lambda x, y=2: x),
        (lambda x, *, y=1: x, lambda x, *, y=2: x),
        (np.zeros(3), np.zeros(3, np.float32)),
        ({"a": 1}, {"b": 1}),
        ([1, 2], (1, 2)),
        (1, 1.0),
    ],
)
def test_what_differs_has_another_identity(one, other):
    assert identity(one) != identity(other) and identity(one) == identity(one)


def test_what_holds_itself_has_one():
    held = []
    held.append(held)
    assert identity(held) == identity(held)
