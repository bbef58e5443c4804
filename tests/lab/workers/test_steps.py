"""What workers and the server compute, beside one process, and beside the server's step by hand in NumPy."""

import queue
import threading
import types

import jax
import numpy as np
import pytest
import smooth_project
from tiers import one_of_each

from optchain.lab.base.errors import InputError
from optchain.lab.base.signals import Interrupted, Signals
from optchain.lab.runs import config
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program
from optchain.lab.workers.listening import Said
from optchain.lab.workers.meeting import Meeting
from optchain.lab.workers.outer import Outer
from optchain.lab.workers.pieces import Pieces
from optchain.lab.workers.served import ServedProgram
from optchain.lab.workers.working import Worker
from optchain.version import __version__

RATE = "{use = 'cosine', start = 1e-2, steps = 'train.steps'}"
LOCAL = f"{{adam = {{use = 'adamw', learning_rate = {RATE}}}}}"
PIECES, STEPS = 8, 5


def sets(outer, *more, local=LOCAL, together=1):
    table = f"{{use = 'workers', local_steps = {STEPS}, together = {together}, local = {local}}}"
    steps = f"train.steps={PIECES // together}"
    return [steps, "train.batch=16", "train.evaluate_every=1", f"gradient={table}", f"optimizer={{{outer}}}", *more]


@pytest.fixture
def experiment(tmp_path):
    project = smooth_project.write(tmp_path)
    return lambda sets: build(config.load(project, sets), "train.toml")


class Loop:
    """A server and its workers in this process, which take turns as they are told."""

    def __init__(self, built, together=1):
        self.together, self.lines, self.rows = together, [], []
        self.meeting = Meeting(built, Pieces(PIECES, together, done=0), self.lines.append)
        self.carry, self.outer = built.start(), Outer(built, STEPS * together * 16)
        self.workers, self.said, self.handed = {}, {}, {}

    def turn(self, number, built=None):
        """Let a worker hand in what it has made since its last turn, or come."""
        if number not in self.workers:
            self.workers[number] = Worker(built)
            said = Said(number, self.workers[number].introduce())
        else:
            said = Said(number, self.workers[number].make(self.said[number].answer.get_nowait()))
        self.said[number] = said
        self.handed |= self.meeting.hear(said, self.carry)
        if len(self.handed) == self.together:
            self.carry, row = self.outer(self.carry, [self.handed[i] for i in sorted(self.handed)], {})
            self.rows.append(row)
            self.handed = {}
        self.meeting.give(self.carry)

    def leave(self, number):
        self.meeting.hear(Said(number, None), self.carry)
        del self.workers[number]
        self.meeting.give(self.carry)


def require_near(found, expected, atol=2e-6):
    for name in ("params", "rest"):
        for x, y in zip(jax.tree.leaves(found[name]), jax.tree.leaves(expected[name]), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=atol)


@pytest.mark.parametrize(
    "more",
    one_of_each(
        [
            [],
            ["model.use='models.py:Nnx'"],
            ["lora={rank = 2, alpha = 2.0, paths = ['Dense_0/kernel']}"],
            ["train.batch={use = 'fixed', size = 16, micro = 8}", "train.compute='bfloat16'"],
        ]
    ),
    ids=["linen", "nnx", "lora", "micro"],
)
@pytest.mark.parametrize(
    ("outer", "chain"),
    [
        (
            "lr = {use = 'scale_by_learning_rate', learning_rate = 1.0}",
            f"adam = {{use = 'adamw', learning_rate = {RATE}}}",
        ),
        (
            "lr = {use = 'sgd', learning_rate = 0.7, momentum = 0.9, nesterov = true}",
            f"outer = {{use = 'outer_nesterov', every = {STEPS}, tx = {{use = 'adamw', learning_rate = {RATE}}}}}",
        ),
    ],
    ids=["averaging", "nesterov"],
)
def test_one_worker_is_one_process(experiment, outer, chain, more):
    """With dropout, statistics of batches and a schedule: the batches, the keys and the schedule are those of the run,
    and the server's step is that of `outer_nesterov`. Rounding alone differs: p - (p - q) is not always q."""
    alone = experiment([f"train.steps={PIECES * STEPS}", "train.batch=16", f"optimizer={{{chain}}}", *more])
    expected, logs, _ = Program(alone).run(alone.config, alone.start(), PIECES * STEPS)
    built = experiment(sets(outer, *more))
    loop = Loop(built)
    for _ in range(PIECES + 1):
        loop.turn(1, built)
    require_near(loop.carry, expected)
    losses = np.asarray(logs["loss"]).reshape(PIECES, STEPS).mean(1)
    np.testing.assert_allclose([row["loss"] for row in loop.rows], losses, rtol=1e-5)
    assert loop.meeting.pieces.all_made and int(loop.carry["examples"]) == PIECES * STEPS * 16


def test_a_worker_that_comes_late_has_the_schedule_of_the_run(experiment):
    """And begins from the parameters as they are then."""
    built = experiment(
        sets(
            "lr = {use = 'scale_by_learning_rate', learning_rate = 1.0}",
            local=f"{{sgd = {{use = 'sgd', learning_rate = {RATE}}}}}",
        )
    )
    loop = Loop(built)
    for number in (1, 1, 1, 2, 1, 2):
        loop.turn(number, built)
    worker = loop.workers[2]
    assert int(worker.carry["opt_state"]["step"]) == int(worker.carry["step"]) == 3 * STEPS + STEPS
    assert [int(row["staleness"]) for row in loop.rows] == [0, 0, 0, 1]
    assert loop.lines == ["worker 1 joined after step 0", "worker 2 joined after step 2"]


def test_the_server_steps_by_stale_differences_as_in_numpy(experiment):
    """Two workers in an irregular order, of which one dies with a piece: momentum, and rates over the staleness."""
    outer = "stale = {use = 'scale_by_staleness'}, lr = {use = 'sgd', learning_rate = 0.5, momentum = 0.8}"
    built = experiment(sets(outer))
    loop = Loop(built)
    read = lambda tree: [np.asarray(x, np.float64) for x in jax.tree.leaves(tree)]  # noqa: E731
    expected, momentum, seen = read(loop.carry["params"]), 0, []
    for number in (1, 2, 1, 1, 2, 2, 1):
        if number in loop.workers:
            began = read(loop.meeting.given[number].params)
        loop.turn(number, built)
        if len(loop.rows) > len(seen):
            seen.append(int(loop.rows[-1]["staleness"]))
            ended = read(loop.workers[number].carry["params"])
            way = [(x - y) / max(seen[-1], 1) for x, y in zip(began, ended, strict=True)]
            momentum = [0.8 * v + x for v, x in zip(momentum or [0] * len(way), way, strict=True)]
            expected = [p - 0.5 * v for p, v in zip(expected, momentum, strict=True)]
    assert seen == [0, 0, 2, 0, 2]
    for x, y in zip(read(loop.carry["params"]), expected, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)
    had = loop.meeting.given[2].number
    loop.leave(2)
    assert loop.lines[-1] == "worker 2 is gone; its 5 steps are given to another one"
    loop.turn(1)
    assert loop.meeting.given[1].number == had


def test_the_stale_parameters_are_those_that_the_worker_began_with(experiment):
    """`compensate_delay` adds the square of the difference times the way that the server has made meanwhile."""
    outer = "dc = {use = 'compensate_delay', strength = 3.0}, lr = {use = 'sgd', learning_rate = 1.0}"
    built = experiment(sets(outer))
    loop = Loop(built)
    for number in (1, 2, 1):
        loop.turn(number, built)
    began, now = loop.meeting.given[2].params, loop.carry["params"]
    loop.turn(2)
    way = jax.tree.map(np.subtract, began, loop.workers[2].carry["params"])
    expected = jax.tree.map(lambda p, g, old: p - (g + 3.0 * g * g * (p - old)), now, way, began)
    for x, y in zip(jax.tree.leaves(loop.carry["params"]), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


def test_together_is_the_mean_of_differences_from_the_same_parameters(experiment):
    """Synchronous DiLoCo: a worker that is ready waits, and which worker makes which piece does not matter."""
    outer = "lr = {use = 'sgd', learning_rate = 0.7, momentum = 0.9, nesterov = true}"
    built = experiment(sets(outer, local="{lr = {use = 'sgd', learning_rate = 0.1}}", together=2))
    loop, alone = Loop(built, together=2), Loop(built, together=2)
    for number in (1, 2, 2):
        loop.turn(number, built)
    assert loop.said[2].answer.empty() and not loop.rows  # it waits for the first
    for number in (1, 1, 2):
        loop.turn(number)
    for _ in range(5):
        alone.turn(1, built)
    assert len(loop.rows) == len(alone.rows) == 2
    require_near(loop.carry, alone.carry)
    assert all(int(row["staleness"]) == 0 for row in loop.rows)


@pytest.mark.parametrize(("together", "made", "still"), [(1, 3, [3]), (2, 1, [2, 3])])
def test_a_signal_ends_a_run_with_what_has_been_handed_in(experiment, tmp_path, together, made, still):
    """Three pieces are handed in and a fourth is given: those without a step of the server are to be made again."""
    built = experiment(sets("lr = {use = 'sgd', learning_rate = 1.0}", together=together))
    program, said, worker = ServedProgram(built, tmp_path, tell=lambda line: None), queue.SimpleQueue(), Worker(built)
    program.listening = types.SimpleNamespace(said=said)
    program.started = types.SimpleNamespace(alive=1, news=lambda: [])
    program.looked = 0.0

    def work(signals):
        message = worker.introduce()
        for _ in range(4):
            said.put(now := Said(1, message))
            message = worker.make(now.answer.get())
        signals.stop()

    with Signals() as signals:
        thread = threading.Thread(target=work, args=(signals,))
        thread.start()
        carry, rows, _ = program.run(built.config, built.start(), PIECES // together)
        thread.join()
        assert len(rows["loss"]) == int(carry["step"]) == made
        assert sorted(int(number) for number in carry["pieces"]["open"] if number >= 0) == still
        assert list(rows["workers"]) == [1] * made
        with pytest.raises(Interrupted):
            program.run(built.config, carry, 1)


def test_nobody_begins_before_all_workers_that_were_started_are_there(experiment, tmp_path):
    built = experiment(sets("lr = {use = 'sgd', learning_rate = 1.0}"))
    program, said, worker = ServedProgram(built, tmp_path, tell=lambda line: None), queue.SimpleQueue(), Worker(built)
    program.listening = types.SimpleNamespace(said=said)
    program.started = types.SimpleNamespace(alive=2, news=lambda: [])
    program.looked = 0.0
    early, given = [], []

    def work(signals):
        first, second = (Said(number, worker.introduce()) for number in (1, 2))
        said.put(first)
        try:
            early.append(first.answer.get(timeout=1.5))
        except queue.Empty:
            said.put(second)
            given.extend(one.answer.get(timeout=60)["piece"] for one in (first, second))
        signals.stop()

    with Signals() as signals:
        thread = threading.Thread(target=work, args=(signals,))
        thread.start()
        with pytest.raises(Interrupted):
            program.run(built.config, built.start(), PIECES)
        thread.join()
    assert not early and len(set(given)) == 2


def test_what_is_frozen_is_sent_once(experiment):
    built = experiment(sets("lr = {use = 'sgd', learning_rate = 1.0}", "train.freeze=['Dense_0/*']"))
    loop = Loop(built)
    before = jax.tree.map(np.asarray, loop.carry)
    loop.turn(1, built)
    first = loop.said[1].answer.get_nowait()
    loop.said[1].answer.put(first)
    loop.turn(1)
    second = loop.said[1].answer.get_nowait()
    loop.said[1].answer.put(second)
    assert any("Dense_0" in path for path in first["rest"]) and not any("Dense_0" in path for path in second["rest"])
    loop.turn(1)
    for x, y in zip(
        jax.tree.leaves(before["rest"]["frozen"]), jax.tree.leaves(loop.carry["rest"]["frozen"]), strict=True
    ):
        np.testing.assert_array_equal(x, y)


def test_what_is_handed_in_wrongly_is_refused_and_the_piece_given_again(experiment):
    built = experiment(sets("lr = {use = 'sgd', learning_rate = 1.0}"))
    loop = Loop(built)
    loop.turn(1, built)
    made = loop.workers[1].make(loop.said[1].answer.get_nowait())
    for changed, expected in (
        ({"piece": 7}, "worker 1 is refused: got piece 7; expected the one that it has, 0"),
        ({"logs": {"loss": "low"}}, "worker 1 is refused: got logs"),
        ({"difference": {}}, "worker 1 is refused: the difference of its parameters: "),
        ({"rest": {}}, "worker 1 is refused: the rest of its model: "),
    ):
        said = Said(1, made | changed)
        assert loop.meeting.hear(said, loop.carry) == {}
        assert isinstance(said.answer.get_nowait(), InputError) and loop.lines[-1].startswith(expected)
    loop.leave(1)
    loop.turn(2, built)
    assert loop.meeting.given[2].number == 0
    assert loop.meeting.hear(Said(3, {"optchain": __version__}), loop.carry) == {}
    assert loop.lines[-1].startswith("worker 3 is refused: it does not say what it computes")
    other = Worker(experiment(sets("lr = {use = 'sgd', learning_rate = 1.0}", "train.batch=8")))
    loop.meeting.hear(Said(4, other.introduce()), loop.carry)
    assert (
        loop.lines[-1]
        == "worker 4 is refused: train.batch: the worker has 8, the server 16; expected the same configuration"
    )
