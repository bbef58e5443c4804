"""The arithmetic of the deal: bounds of the greedy one, the best one of small cases, and when there is a rest."""

import itertools

import pytest

from optchain.sharding.deal import fullest_of_rest, fullest_of_stacks, greedy, load, rest_of

D = 1024
GPT = (((D, D), 96), ((D, 4 * D), 24), ((4 * D, D), 24))
ODD = tuple(((256 + 32 * i, 512), 1) for i in range(12))


def fullest(loads, owners, found):
    """The greater of the shares of all entries and of all work that one owner has."""
    totals = [sum(column) for column in zip(*loads, strict=True)]
    own = [[x for x, to in zip(loads, found, strict=True) if to == owner] for owner in range(owners)]
    return max(sum(x[i] for x in mine) / totals[i] for mine in own for i in range(2))


@pytest.mark.parametrize("owners", [2, 3])
def test_the_greedy_deal_beside_the_best_of_all(owners):
    loads = [load(shape) for shape in [(7, 7), (6, 7), (5, 3), (3, 3), (8, 2), (2, 2), (4, 4)]]
    best = min(fullest(loads, owners, found) for found in itertools.product(range(owners), repeat=len(loads)))
    assert fullest(loads, owners, greedy(loads, owners)) <= 4 / 3 * best  # Graham's bound of one measure


def test_large_matrices_go_first_and_each_to_another_owner():
    loads = [load((n, n)) for n in (2, 9, 4, 8)]
    assert greedy(loads, 3) == [2, 0, 2, 1]
    assert greedy(loads, 8) == [3, 0, 2, 1]
    assert greedy([load((3, 3))] * 5, 2) == [0, 1, 0, 1, 0]


def counted(counts, owners):
    """Entries and work of the fullest owner over an even part: with stacks, and with a rest, where there is one."""
    found = rest_of(counts, owners)
    return fullest_of_stacks(counts, owners), found and fullest_of_rest(counts, owners, found)


def test_a_rest_where_stacks_waste():
    stacks, rest = counted(ODD, 8)
    assert stacks[0] == pytest.approx(8)
    assert max(rest) < 1.2
    stacks, rest = counted(GPT, 64)
    assert stacks == pytest.approx((20 / 9, 4 / 3))
    assert rest == pytest.approx((10 / 9, 10 / 9))
    # One owner has the largest matrix at the least: no deal of these is even on 64 owners.
    stacks, rest = counted(ODD, 64)
    largest, sizes = 608 * 512, sum(a * b for (a, b), _ in ODD)
    assert stacks[0] == pytest.approx(64)
    assert rest[0] == pytest.approx(64 * largest / sizes)


@pytest.mark.parametrize("counts", [GPT, (((8, 8), 3),), (((8, 8), 16), ((800, 800), 1)), (), (((8, 8), 7),)], ids=str)
def test_no_rest_where_it_saves_nothing(counts):
    assert rest_of(counts, 8) is None
    assert rest_of(counts, 1) is None


def test_no_owner_is_left_out_of_the_count():
    found = rest_of(GPT, 64)
    assert len(found) == 32 + 24 + 24
    assert set(found) <= set(range(64))
