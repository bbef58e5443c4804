"""How many examples a step sees, whatever it is compiled for."""

import functools
import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_runs
from tiers import one_of_each

from optchain.lab.base.errors import InputError
from optchain.lab.data.batches import batches
from optchain.lab.runs import config
from optchain.lab.settings.train import Growing, Train
from optchain.lab.training.batch_policies import build as policy_of
from optchain.lab.training.chunk import Setting, make_chunk
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program

PLAIN = ("model.dropout=0.0", 'model.norm="none"')
NOISE = "train.batch={use='noise_scale', min=4, max=128, micro=2, decay=0.9}"


def experiment(tmp_path, *sets):
    return build(config.load(small_runs.small(tmp_path), [*PLAIN, *sets]), "small.toml")


def steps(built, *lengths, hyper=None):
    program, carry, logs = Program(built), built.start(), []
    for count in lengths:
        carry, log, _ = program.run(built.config, carry, count, hyper)
        logs.append(log)
    return carry, jax.tree.map(lambda *parts: np.concatenate(parts), *logs)


@pytest.mark.full
def test_micro_batches_are_one_batch(tmp_path):
    """To rounding; the gradients, the loss and the metric are means over all of the examples."""
    (one, logs), (many, parts) = (
        steps(experiment(tmp_path, f"train.batch={batch}"), 8) for batch in ("48", "{use='fixed', size=48, micro=8}")
    )
    chex.assert_trees_all_close(one["params"], many["params"], rtol=1e-4, atol=1e-6)
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(logs[name], parts[name], rtol=1e-5)
    assert parts["batch"].tolist() == [48] * 8 and "batch" not in logs
    assert int(one["examples"]) == int(many["examples"]) == 8 * 48


@pytest.mark.full
def test_batch_statistics_are_the_means_of_those_of_the_micro_batches(tmp_path):
    built = experiment(tmp_path, 'model.norm="batch"', "train.batch={use='fixed', size=32, micro=16}")
    start, (after, _) = built.start(), steps(built, 1)
    _, _, order = jax.random.split(jax.random.key(0), 3)
    rows = np.asarray(batches(order, jnp.int32(0), 1, 32, 600)[0]).reshape(2, 16)
    found = [
        built.model.apply(
            start["params"], start["rest"], built.task.splits["train"].inputs[part], jax.random.key(0), train=True
        )[1]
        for part in rows
    ]
    chex.assert_trees_all_close(after["rest"], jax.tree.map(lambda a, b: (a + b) / 2, *found), rtol=1e-5)


@pytest.mark.parametrize(
    "batch, sizes",
    [
        ("{use='growing', micro=16, max=64, size={use='piecewise', values=[10, 40, 999], boundaries=[2, 4]}}",
         [16, 16, 32, 32, 64, 64]),
        ("{use='growing', micro=8, max=320, size={use='step_decay', start=8, factor=2, every=2}}",
         [8, 8, 16, 16, 32, 32]),
    ],
)  # fmt: skip
@pytest.mark.full
def test_a_growing_batch_follows_its_schedule(tmp_path, batch, sizes):
    carry, logs = steps(experiment(tmp_path, f"train.batch={batch}"), 6)
    assert logs["batch"].tolist() == sizes and int(carry["examples"]) == sum(sizes)


@pytest.mark.full
def test_random_sizes_are_drawn_from_the_step_alone(tmp_path):
    built = experiment(tmp_path, "train.batch={use='random', sizes=[16, 32, 64], micro=16}")
    whole, cut = steps(built, 12), steps(built, 5, 7)
    assert set(whole[1]["batch"].tolist()) == {16, 32, 64}
    np.testing.assert_array_equal(whole[1]["batch"], cut[1]["batch"])
    np.testing.assert_allclose(whole[1]["loss"], cut[1]["loss"], rtol=1e-6)
    # The first batch is the head of the stream.
    _, _, order = jax.random.split(jax.random.key(0), 3)
    (inputs, targets, _), seen = built.task.splits["train"], int(whole[1]["batch"][0])
    rows = np.asarray(batches(order, jnp.int32(0), 1, seen, 600)[0])
    outputs = built.model.apply(built.start()["params"], {}, inputs[rows])[0]
    np.testing.assert_allclose(built.task.loss.of(outputs, targets[rows]).mean(), whole[1]["loss"][0], rtol=1e-5)


def test_all_sizes_share_one_trace(tmp_path):
    built = experiment(tmp_path, NOISE)
    traced = chex.assert_max_traces(built.parts, n=1)
    chunk, carry = make_chunk(built.task, traced), built.start()
    data, sizes = jax.device_put(built.task.splits["train"]), []
    for _ in range(3):
        carry, logs = chunk(carry, data, Setting(0), steps=10)
        sizes += logs["batch"].tolist()
    assert len(set(sizes)) > 1 and set(sizes) <= set(range(4, 129, 2))


@pytest.mark.full
def test_runs_with_other_sizes_are_vectorized(tmp_path):
    """Each run of a stack does what it does alone, though the loop goes on for the largest batch among them."""
    built = experiment(tmp_path, NOISE, "train.evaluate_every=6")
    chunk = make_chunk(built.task, built.parts)
    data = built.task.splits["train"]
    starts = [Program(built)._start(Setting(seed)) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *starts)
    together = jax.vmap(functools.partial(chunk, steps=6), (0, None, 0))(stacked, data, Setting(jnp.arange(2)))
    for seed, start in enumerate(starts):
        alone = chunk(start, data, Setting(seed), steps=6)
        mine = jax.tree.map(lambda x, seed=seed: x[seed], together)
        np.testing.assert_array_equal(alone[1]["batch"], mine[1]["batch"])
        chex.assert_trees_all_close(alone[0]["params"], mine[0]["params"], rtol=1e-4, atol=1e-5)


@pytest.mark.full
@pytest.mark.parametrize("rule, factor", one_of_each([("linear", 4.0), ("sqrt", 2.0)]))
def test_the_rate_follows_the_size(tmp_path, rule, factor):
    """The whole update, decoupled decay too, is what the multiplied rate makes of it."""
    decay = "optimizer.decay={use='add_decayed_weights', weight_decay=0.1}"
    order = "optimizer.rate={use='scale_by_learning_rate', learning_rate=%g}"
    fixed = ("optimizer.lr={use='scale', step_size=1.0}", decay)
    scaled = f"train.batch={{use='fixed', size=32, micro=16, scale_rate='{rule}', base=8}}"
    found, logs = steps(experiment(tmp_path, *fixed, order % 0.01, scaled), 4)
    by_hand = steps(
        experiment(tmp_path, *fixed, order % (0.01 * factor), "train.batch={use='fixed', size=32, micro=16}"), 4
    )
    chex.assert_trees_all_close(found["params"], by_hand[0]["params"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logs["rate_factor"], factor)


def test_numbers_of_a_policy_are_traced(tmp_path):
    """One compiled chunk serves all values of the numbers of a schedule and of a decay."""
    table = "{use='growing', micro=16, max=64, size={use='exponential', start=16.0, factor=1.5}}"
    built = experiment(tmp_path, f"train.batch={table}")
    program = Program(built, ("train.batch.size.factor",))
    for factor, last in ((1.5, 64), (1.0, 16)):
        resolved = config.with_values(built.config, {"train.batch.size.factor": factor})
        _, logs, _ = program.run(resolved, program.start(resolved), 5)
        assert logs["batch"][-1] == last
    assert len(program._compiled) == 1


@pytest.mark.parametrize(
    "batch, message",
    [
        ("{use='growin', micro=16}", "train.batch.use: got 'growin'; did you mean 'growing'?"),
        ("{micro=16}", "train.batch.use: missing"),
        ("0", "train.batch: got 0; input should be greater than 0"),
        ("{use='fixed', size=50, micro=16}", "train.batch: size = 50 is no multiple of micro = 16"),
        ("{use='random', sizes=[16, 40], micro=16}", "sizes.1 = 40 is no multiple of micro = 16"),
        ("{use='random', size=[16, 32], micro=16}", "train.batch.size: unknown key; did you mean 'sizes'?"),
        ("{use='noise_scale', min=16, max=64, micro=16}", "min = 16; expected from 2 * micro = 32 to max = 64"),
        ("{use='fixed', size=32, scale_rate='linear'}", "scale_rate = 'linear' needs a base"),
        ("{use='fixed', size=32, base=8}", "scale_rate = 'none' takes no base"),
        ("{use='growing', micro=8, max=64, size={use='cosin'}}",
         "train.batch.size.use: there is no technique 'cosin'; did you mean 'cosine'"),
        ("{use='growing', micro=8, max=64, size={use='adam'}}", "train.batch.size"),
        ("{use='fixed', size=1073741824, micro=1}", "examples; expected fewer than 2**31"),
    ],
)  # fmt: skip
def test_errors_name_the_place(tmp_path, batch, message):
    with pytest.raises(InputError) as error:
        experiment(tmp_path, f"train.batch={batch}")
    assert message in str(error.value)


def test_an_optimizer_without_a_rate_has_none_to_scale(tmp_path):
    sets = (
        "optimizer.lr={use='scale', step_size=-0.1}",
        "train.batch={use='fixed', size=32, base=8, scale_rate='sqrt'}",
    )
    with pytest.raises(InputError, match="train.batch.scale_rate: no link of optchain's in the optimizer has a"):
        experiment(tmp_path, *sets)


def test_touched_rows_are_not_added_up():
    path = small_runs.ROOT / "configs" / "embedding" / "adam.toml"
    text = json.dumps(config.load(path).optimizer)
    assert "rows" in text
    with pytest.raises(InputError, match="train.batch.micro: gradients of touched rows cannot be added up"):
        build(config.load(path, ["train.batch={use='fixed', size=64, micro=32}"]), str(path))


def test_a_size_that_is_no_number_is_the_smallest():
    table = Growing(use="growing", micro=8, max=64, size={"use": "constant", "value": 1.0})
    policy = policy_of(Train(steps=1, batch=table))
    found = [int(policy._rounded(jnp.float32(x))) for x in (np.nan, -np.inf, np.inf, 20.0, 21.0)]
    assert found == [1, 1, 8, 2, 3]
