"""The table of optimizers says what each is made of."""

import pytest

import optchain as oc
from optchain.core.registry import SCHEDULE, Registered, registered

ROWS = {row.name: row for row in oc.optimizers()}


@pytest.mark.parametrize(
    "name, links, slots, looks_across, paper",
    [
        ("sgd", ("lr",), 0.0, "entry", "Robbins and Monro, 1951"),
        ("adamw", ("adam", "decay", "lr"), 2.0, "entry", "arXiv:1412.6980"),
        ("lbfgs", ("lbfgs", "descent", "search"), 23.002, "array", "Liu and Nocedal, 1989"),
        ("lion", ("lion", "decay", "lr"), 1.0, "entry", "arXiv:2302.06675"),
    ],
)
def test_a_row_says_what_the_optimizer_is(name, links, slots, looks_across, paper):
    row = ROWS[name]
    assert (row.links, row.slots, row.looks_across, row.paper) == (links, slots, looks_across, paper)


def test_every_preset_is_there_and_the_table_shows_it():
    table = str(oc.optimizers())
    assert set(ROWS) == {n for n, make in oc.techniques().items() if make.__module__.startswith("optchain.presets")}
    assert len(ROWS) >= 8 and all(name in table for name in ROWS)


def test_what_an_example_of_a_docstring_defines_is_not_ours():
    def linear(begin, end):
        """A schedule that claims to stand where the example does."""

    linear.__module__ = "optchain.core.schedule"
    assert not Registered(linear, SCHEDULE, {}).is_builtin and registered()["linear"].is_builtin
