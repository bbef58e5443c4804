"""The pieces of a run: each is handed in once, whoever dies meanwhile."""

import random

import pytest

from optchain.lab.workers.pieces import Pieces


def test_what_a_dead_worker_had_is_given_again_first():
    pieces = Pieces(5, together=1, done=0)
    assert [pieces.give(worker) for worker in (1, 2)] == [0, 1]
    assert pieces.lose(1) == 0 and pieces.lose(1) is None
    assert pieces.open == [0, 1] and pieces.give(3) == 0 and pieces.give(4) == 2
    for worker in (3, 2, 4):
        pieces.take(worker)
    assert pieces.done == 3 and pieces.open == [] and not pieces.all_made


def test_those_that_step_together_begin_from_the_same_parameters():
    pieces = Pieces(4, together=2, done=0)
    assert [pieces.give(worker) for worker in (1, 2, 3)] == [0, 1, None]
    pieces.take(1)
    assert pieces.give(1) is None
    pieces.take(2)
    assert [pieces.give(worker) for worker in (1, 2, 3)] == [2, 3, None]


@pytest.mark.parametrize("together", [1, 3])
def test_each_piece_is_made_once_through_deaths_and_restarts(together):
    draw, made, workers = random.Random(0), [], 4
    pieces = Pieces(30, together, done=0)
    while not pieces.all_made:
        worker = draw.randrange(workers)
        if worker in pieces.out:
            if draw.random() < 0.3:
                pieces.lose(worker)
            else:
                made.append(pieces.out[worker])
                pieces.take(worker)
        else:
            pieces.give(worker)
        if pieces.done % together == 0 and draw.random() < 0.1:  # a checkpoint, from which another server begins
            pieces = Pieces(30, together, pieces.done, pieces.open)
    assert sorted(made) == list(range(30))
