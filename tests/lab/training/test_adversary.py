"""Training on attacked inputs: how far they move, what the gradient is then, and what it does to a model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_runs
import smooth_project

from optchain import lab
from optchain.core.paths import named_leaves
from optchain.lab.base.errors import InputError
from optchain.lab.data.batches import batches
from optchain.lab.models.adversary import Fgsm, Pgd, Trades, ends_of
from optchain.lab.probes.examination.report import write
from optchain.lab.runs import config
from optchain.lab.training.attacked import Batch, trained_pass
from optchain.lab.training.chunk import Setting, make_chunk
from optchain.lab.training.experiment import build
from optchain.lab.training.keys import folded, keys_of_run, keys_of_steps
from optchain.lab.training.mixing import Pair
from optchain.lab.training.objective import Objective
from optchain.lab.training.program import Program
from optchain.lab.training.start import make_start
from optchain.lab.tuning.programs import probed

SGD = "optimizer={sgd={use='sgd', learning_rate=1.0}}"
LINEAR = "model={use='network', hidden=[], channels=[]}"
ATTACKS = {
    "fgsm": "adversary={use='fgsm', eps=0.2}",
    "pgd": "adversary={use='pgd', eps=0.2, steps=3, restarts=2}",
    "trades": "adversary={use='trades', eps=0.2, steps=3}",
}


def built(folder, *sets):
    path = smooth_project.write(folder)
    return build(config.load(path, [SGD, *sets]), path.name)


def trained(experiment, steps=1):
    """The carry before and after some steps, and the losses."""
    carry = jax.tree.map(np.array, experiment.start())
    chunk = make_chunk(experiment.task, experiment.parts)
    data = jax.device_put(experiment.task.splits["train"])
    after, logs = chunk(jax.tree.map(jnp.asarray, carry), data, Setting(experiment.config.train.seed), steps=steps)
    return carry, jax.tree.map(np.asarray, after), np.asarray(logs["loss"])


def near(one, other, **more):
    pairs = zip(named_leaves(one), named_leaves(other), strict=True)
    for (path, x), (_, y) in pairs:
        np.testing.assert_allclose(np.float64(x), np.float64(y), err_msg=path, **more)


class Spy:
    """A model that keeps what it is trained on."""

    def __init__(self, model):
        self.model, self.seen, self.asked = model, [], []

    def apply(self, params, rest, inputs, key=None, train=False):
        self.asked.append((train, key is not None))
        if train:
            self.seen.append(inputs)
        return self.model.apply(params, rest, inputs, key, train)


def seen(experiment, table, count=200):
    """The first training examples, what a model is trained on in their place, and its losses of both."""
    carry, task = experiment.start(), experiment.task
    part = jax.tree.map(lambda x: jnp.asarray(x[:count]), task.splits["train"])
    spy, objective = Spy(experiment.model), Objective(task, task.loss.table, part.targets)
    batch = Batch(part.inputs, [Pair(1.0, part.targets)], None)
    variables = carry["params"], carry["rest"]
    trained_pass(table, task, spy, objective, variables, batch, jax.random.key(1))(*variables, jax.random.key(0))
    passes = 2 if isinstance(table, Trades) else 1  # the attack before them is of the model of evaluation
    assert len(spy.asked) > passes
    assert spy.asked == [(False, False)] * (len(spy.asked) - passes) + [(True, True)] * passes
    answers = [experiment.model.apply(*variables, x)[0] for x in (part.inputs, spy.seen[-1])]
    apart = objective.divergence(*answers, batch.pairs)
    return part.inputs, spy.seen[-1], *(objective.of_each(x, batch.pairs) for x in answers), apart


@pytest.mark.parametrize("table", [Fgsm(eps=0.2), Pgd(eps=0.2), Pgd(eps=0.2, random_start=False), Trades(eps=0.2)])
def test_inputs_stay_within_the_box_and_are_worse(tmp_path, table):
    experiment = built(tmp_path)
    inputs, moved, clean, loss, apart = seen(experiment, table)
    far = jnp.abs(moved - inputs)
    assert 0.19 < far.max() <= 0.2 + 1e-6 and (far > 0.15).mean() > 0.5
    low, high = ends_of(experiment.task)
    assert low <= moved.min() and moved.max() <= high
    bounded = seen(experiment, table.model_copy(update={"low": -0.5, "high": 0.5}))[1]
    beyond = jnp.abs(inputs) > 0.5
    assert (jnp.abs(bounded)[~beyond] <= 0.5).all() and (jnp.abs(bounded) <= jnp.abs(inputs) + 1e-6)[beyond].all()
    if isinstance(table, Trades):
        assert (apart > 1e-3).all() and apart.mean() > 0.04
        return
    assert loss.mean() > clean.mean() + 0.3
    if isinstance(table, Pgd):
        assert (loss >= clean).all()


def test_more_steps_and_restarts_are_worse(tmp_path):
    experiment = built(tmp_path)
    plain = {"eps": 1.0, "steps": 2, "step_size": 0.3}
    few, more, again = (
        seen(experiment, Pgd(**(plain | x)))[3] for x in ({}, {"steps": 12}, {"restarts": 6, "steps": 2})
    )
    assert more.mean() > few.mean() + 0.05 and again.mean() > few.mean() + 0.005


def test_a_share_of_the_examples_is_attacked(tmp_path):
    experiment = built(tmp_path)
    for share in (0.0, 0.4, 1.0):
        inputs, moved, *_ = seen(experiment, Fgsm(eps=0.2, share=share), count=500)
        attacked = (moved != inputs).any(1)
        assert attacked.mean() == pytest.approx(share, abs=0.06 if 0 < share < 1 else 0)


def softmax(logits):
    likely = np.exp(logits - logits.max(1, keepdims=True))
    return likely / likely.sum(1, keepdims=True)


def linear(params, inputs):
    return inputs @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"][None]


def by_hand(inputs, slopes):
    """The gradients of a linear model from those of its logits."""
    return {"Dense_0": {"bias": slopes.sum(0), "kernel": inputs.T @ slopes}}


def first_batch(experiment):
    """The parameters, and the first batch of 64 in float64; and the key of its attack."""
    part, order = experiment.task.splits["train"], keys_of_run(0)[2]
    rows = np.asarray(batches(order, jnp.int32(0), 1, 64, part.size)[0])
    params = jax.tree.map(np.float64, experiment.start()["params"])
    key = jax.random.split(folded(keys_of_steps(0), 0)[3])[0]
    return params, np.float64(part.inputs[rows]), np.eye(8)[part.targets[rows]], key


def test_the_gradient_is_that_of_the_paper_of_one_step(tmp_path):
    experiment = built(tmp_path, LINEAR, ATTACKS["fgsm"], "adversary.low=-9", "adversary.high=9")
    params, x, y, _ = first_batch(experiment)
    slopes = softmax(linear(params, x)) - y
    moved = x + 0.2 * np.sign(slopes @ params["Dense_0"]["kernel"].T)
    likely = softmax(linear(params, moved))
    grads = by_hand(moved, (likely - y) / 64)
    _, after, losses = trained(experiment)
    near(after["params"], jax.tree.map(np.subtract, params, grads), atol=2e-6)
    assert losses[0] == pytest.approx(-np.log(likely[y == 1]).mean(), rel=1e-5)


def test_the_gradient_is_that_of_the_paper_of_trades(tmp_path):
    experiment = built(tmp_path, LINEAR, ATTACKS["trades"], "adversary.beta=3.0")
    params, x, y, key = first_batch(experiment)

    def divergences(inputs):
        log_p, log_q = (jax.nn.log_softmax(linear(params, z)) for z in (x, inputs))
        return (jnp.exp(log_p) * (log_p - log_q)).sum(1)

    moved = Trades(eps=0.2, steps=3).moved(divergences, jnp.float32(x), ends_of(experiment.task), key)
    moved = np.float64(moved)
    p, q = (softmax(linear(params, z)) for z in (x, moved))
    ratio = np.log(p) - np.log(q)
    apart = (p * ratio).sum(1, keepdims=True)
    clean, other = ((p - y) + 3 * p * (ratio - apart)) / 64, 3 * (q - p) / 64
    grads = jax.tree.map(np.add, by_hand(x, clean), by_hand(moved, other))
    _, after, losses = trained(experiment)
    near(after["params"], jax.tree.map(np.subtract, params, grads), atol=5e-6)
    assert losses[0] == pytest.approx(-np.log(p[y == 1]).mean() + 3 * apart.mean(), rel=1e-5) and apart.mean() > 0.01


@pytest.mark.parametrize("model", ["Linen", "Nnx"])
@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_the_attack_draws_no_dropout_and_changes_no_statistics(tmp_path, model, attack):
    """Of size 0 it changes nothing of a run, to the bit of its random numbers; of any other size it does."""
    sets = f"model={{use='models.py:{model}'}}", ATTACKS[attack]
    _, plain, losses = trained(built(tmp_path, sets[0]), 3)
    _, none, same = trained(built(tmp_path, *sets, "adversary.eps=0.0"), 3)
    near(none["params"], plain["params"], atol=2e-5)
    near(none["rest"], plain["rest"], atol=2e-5)
    np.testing.assert_allclose(same, losses, rtol=1e-4)
    _, other, worse = trained(built(tmp_path, *sets), 3)
    assert worse[0] > losses[0] + 0.2
    with pytest.raises(AssertionError):
        near(other["rest"], plain["rest"], atol=1e-3)


def test_trades_passes_both_batches_through_the_statistics(tmp_path):
    """Algorithm 1 with a shift of 0: statistics are followed twice, and the loss is the plain one."""
    _, plain, losses = trained(built(tmp_path))
    before, twice, same = trained(built(tmp_path, ATTACKS["trades"], "adversary.eps=0.0"))
    np.testing.assert_allclose(same, losses, rtol=1e-4)
    near(twice["params"], plain["params"], atol=2e-5)
    once = jax.tree.map(lambda old, new: old + (1 + 0.99) * (new - old), before["rest"], plain["rest"])
    near(twice["rest"], once, atol=1e-4)


SLOW_SGD = "{use='sgd', learning_rate=0.1}"
COMBINED = {
    "micro-batches": ["train.batch={use='fixed', size=64, micro=16}"],
    "bfloat16": ["train.compute=bfloat16"],
    "remat": ["train.remat=true"],
    "mixup": ["loss.mixup=1.0"],
    "smoothed": ["loss.label_smoothing=0.1"],
    "perturbed": ["perturb={weights=0.01, activations=0.1, layers=['Dense_0']}"],
    "frozen": ["train.freeze=['Dense_0/*']"],
    "accumulate": [f"optimizer={{acc={{use='accumulate', every=2, tx={SLOW_SGD}}}}}"],
    "clients": [
        "gradient={use='clients', clients=8, round=4}",
        f"optimizer={{mean={{use='client_mean'}}, sgd={SLOW_SGD}}}",
    ],
    "nnx": ["model={use='models.py:Nnx'}"],
    "noise within nnx": ["model={use='models.py:Nnx'}", "perturb={activations=0.1, layers=['inner', 'outer']}"],
}


@pytest.mark.full
@pytest.mark.parametrize("attack", ["pgd", "trades"])
@pytest.mark.parametrize("sets", COMBINED.values(), ids=list(COMBINED))
def test_it_goes_with_everything_else(tmp_path, sets, attack):
    """The first loss is higher under attack, and lower after some steps."""
    sgd = f"optimizer={{sgd={SLOW_SGD}}}"
    plain = trained(built(tmp_path, sgd, *sets))[2]
    losses = trained(built(tmp_path, sgd, *sets, ATTACKS[attack]), 60)[2]
    assert losses[0] > plain[0] + 0.1
    assert np.isfinite(losses).all() and losses[-10:].mean() < losses[0] - 0.2


def test_micro_batches_are_one_batch(tmp_path):
    """Without normalization and dropout, and with an attack that draws nothing."""
    sets = LINEAR, ATTACKS["fgsm"]
    whole, parts = (
        trained(built(tmp_path, *sets, *more), 4) for more in ([], ["train.batch={use='fixed', size=64, micro=16}"])
    )
    near(whole[1]["params"], parts[1]["params"], atol=1e-4)
    np.testing.assert_allclose(whole[2], parts[2], rtol=1e-4)


def test_a_stream_is_attacked_as_examples_in_memory(tmp_path):
    losses = []
    for stream in ("false", "true"):
        made = Program(built(tmp_path, LINEAR, ATTACKS["pgd"], f"task.stream={stream}"))
        losses.append(made.run(made.experiment.config, made.experiment.start(), 5)[1]["loss"])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert losses[0][0] > trained(built(tmp_path, LINEAR))[2][0] + 0.1


HEADS = """
import numpy as np
from optchain import lab

draw = np.random.default_rng(0)
x = draw.normal(size=(64, 3)).astype(np.float32)
kind = np.array(["a", "b", "c"])[x.argmax(1)]

def two(): return lab.Examples(x, {"kind": kind, "size": x[:, 0] * 2})
def sizes(): return lab.Examples(x, x[:, 0] * 2, names=("size",))
def parts(): return lab.Examples({"left": x, "right": x}, kind)
def tokens(): return lab.Examples(np.arange(640).reshape(64, 10) % 7, kind)

import flax.linen as nn
class Both(nn.Module):
    @nn.compact
    def __call__(self, left, right):
        return nn.Dense(3)(left + right)

class Flat(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x.astype("float32"))

def own(apply, params, rest, batch, key): raise AssertionError
"""


def tasks(folder, task, *sets):
    (folder / "own.py").write_text(HEADS)
    text = f"task = {{use = 'own.py:{task}', validation = 16}}\nmodel = {{hidden = [8]}}\n"
    (folder / "run.toml").write_text(text + "train = {steps = 4, batch = 16}\n")
    return build(config.load(folder / "run.toml", [SGD, *sets]), "run.toml")


@pytest.mark.parametrize(
    "gradient", [[], ["gradient.use=tasks", "optimizer.sgd={use='sum_tasks', tasks=['kind', 'size']}"]]
)
def test_all_targets_are_attacked_together(tmp_path, gradient):
    plain = trained(tasks(tmp_path, "two", *gradient))[2]
    assert trained(tasks(tmp_path, "two", *gradient, ATTACKS["pgd"]))[2][0] > plain[0] + 0.1


def test_losses_of_numbers_are_raised_too(tmp_path):
    plain = trained(tasks(tmp_path, "sizes"))[2]
    assert trained(tasks(tmp_path, "sizes", ATTACKS["fgsm"]))[2][0] > plain[0] + 0.1


SWEPT = {"eps": [0.05, 0.3], "share": [1.0, 0.5], "beta": [1.0, 6.0], "step_size": [0.25, 0.5]}


@pytest.mark.parametrize("attack", ATTACKS)
def test_trials_side_by_side_equal_runs_alone(tmp_path, attack):
    table = {"fgsm": Fgsm, "pgd": Pgd, "trades": Trades}[attack]
    swept = {f"adversary.{name}": x for name, x in SWEPT.items() if name in table.model_fields}
    sets = LINEAR, "train.batch=32", ATTACKS[attack]

    def losses(experiment, setting):
        chunk, start = make_chunk(experiment.task, experiment.parts), make_start(experiment.task, experiment.parts)
        data = jax.device_put(experiment.task.splits["train"])
        one = lambda x: chunk.__wrapped__(start(x), data, x, steps=4)[1]["loss"]  # noqa: E731
        return jax.jit(jax.vmap(one))(setting)

    first = built(tmp_path, *sets, *(f"{key}={x[0]}" for key, x in swept.items()))
    together = losses(first, Setting(jnp.zeros(2, int), {key: jnp.array(x) for key, x in swept.items()}))
    for i in range(2):
        alone = built(tmp_path, *sets, *(f"{key}={x[i]}" for key, x in swept.items()))
        np.testing.assert_allclose(together[i], losses(alone, Setting(jnp.zeros(1, int)))[0], rtol=1e-3)
    assert not np.allclose(together[0], together[1], rtol=1e-2)
    assert set(probed(first, [*swept]).varied) == set(swept)  # a study compiles once for all of them


def test_what_is_evaluated_is_not_attacked(tmp_path):
    plain, attacked = built(tmp_path), built(tmp_path, ATTACKS["pgd"], "adversary.eps=2.0")
    carry, part = plain.start(), plain.task.splits["validation"]
    model = {"params": carry["params"], "rest": carry["rest"]}
    scores = [Program(x).evaluate(model, part.inputs, part.targets) for x in (plain, attacked)]
    near(*scores, rtol=0)


def test_a_model_that_was_attacked_bears_more(tmp_path):
    """At the half of the deviation of the inputs, where the plain one is wrong nearly always."""
    tables = {
        "task": {"use": f"{small_runs.ROOT}/experiments/tasks/digits.py:digits", "validation": 237, "test": 360},
        "model": {"hidden": [64]},
        "train": {"steps": 400, "batch": 64},
        "optimizer": {"adam": {"use": "adam", "learning_rate": 0.003}},
    }
    found = {}
    for name, more in {"plain": {}, "attacked": {"adversary": {"use": "pgd", "eps": 0.4}}}.items():
        run = lab.Configuration(tables | more).train(tmp_path / name, quiet=True)
        found[name] = lab.examine(run, examples=360)
    plain, attacked = found["plain"], found["attacked"]
    assert plain.sizes == attacked.sizes and plain.sizes[-1] == pytest.approx(0.5, rel=1e-3)
    for method in plain.attacked:
        assert attacked.attacked[method][-1] > plain.attacked[method][-1] + 0.25
        assert attacked.attacked[method][-2] > plain.attacked[method][-2] + 0.1
    assert attacked.accuracy > 0.92
    assert (plain.trained_size, attacked.trained_size) == (None, 0.4)
    for name, examination in found.items():
        write(examination, tmp_path / f"{name}.html", name)
        assert ("what it was trained with" in (tmp_path / f"{name}.html").read_text()) == (name == "attacked")


@pytest.mark.parametrize(
    "task, sets, message",
    [
        ("tokens", ["model={use='own.py:Flat'}"], r"array of real numbers; got int32\[10\]; for noise .* \[perturb\]"),
        ("parts", ["model={use='own.py:Both'}"], r"got \{'left': 'float32\[3\]', 'right': 'float32\[3\]'\}"),
        ("two", ["adversary.use=trades"], "the loss is not that of classes of one target; expected 'pgd'"),
        ("sizes", ["adversary.use=trades"], "got 'trades'"),
        ("sizes", ["gradient={use='own.py:own'}"], "adversary: a gradient of your own gets batches as they are"),
        ("sizes", ["adversary.low=0.5"], r"low: got 0.5, and training inputs, as they are prepared, reach from -"),
        ("sizes", ["adversary.high=0"], "adversary.high: got 0, and training inputs"),
        ("sizes", ["adversary.low=3.0", "adversary.high=2.0"], "got low = 3 and high = 2; expected low below"),
        ("sizes", ["adversary.eps=-1.0"], "adversary.eps: got -1.0; input should be greater than or equal to 0"),
        ("sizes", ["adversary.epsilon=1.0"], "adversary.epsilon: unknown key; did you mean 'eps'"),
        ("sizes", ["adversary.use=pdg"], "adversary.use: got 'pdg'; did you mean 'pgd'"),
        ("sizes", ["adversary={use='pgd'}"], "adversary.eps: missing"),
        ("sizes", ["adversary.share=1.5"], "adversary.share: got 1.5; input should be less than or equal to 1"),
        ("sizes", ["adversary.restarts=2", "adversary.random_start=false"], "restarts = 2 would all be the same"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path, task, sets, message):
    with pytest.raises(InputError, match=message):
        tasks(tmp_path, task, "adversary={use='pgd', eps=0.1}", *sets)
