"""The training loss: each change against its formula in NumPy, and what it is refused for."""

import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_runs

from optchain.lab.base.errors import InputError
from optchain.lab.models.losses import CrossEntropy, Huber
from optchain.lab.runs import config
from optchain.lab.training.chunk import Setting, make_chunk, make_start
from optchain.lab.training.experiment import build
from optchain.lab.training.objective import Objective, penalty

DRAW = np.random.default_rng(2)
LOGITS = DRAW.normal(0, 2, (50, 4)).astype(np.float32)
TARGETS = DRAW.choice(4, 50, p=[0.6, 0.2, 0.15, 0.05]).astype(np.int32)
FOUR, TWO = (types.SimpleNamespace(classes=count, counted=None) for count in (4, 2))


def Loss(**changes):  # noqa: N802, a table
    return CrossEntropy(**changes)


PLAIN = Loss().of


def value(table, task=FOUR, outputs=LOGITS, targets=TARGETS, params=None):
    objective = Objective(task, table, jnp.asarray(targets))
    _, pairs = objective.mix(jax.random.key(0), jnp.zeros((len(outputs), 3)), jnp.asarray(targets))
    return float(objective(jnp.asarray(outputs), pairs, params or {}))


def log_softmax(logits):
    logits = logits.astype(np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_without_changes_it_is_the_loss_of_the_task_to_the_bit():
    assert value(Loss()) == float(PLAIN(jnp.asarray(LOGITS), jnp.asarray(TARGETS)).mean())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("focal", [None, 0.0, 2.0])
def test_smoothing_and_focal_follow_their_formula(smoothing, focal):
    logs = log_softmax(LOGITS)
    wanted = (1 - smoothing) * np.eye(4)[TARGETS] + smoothing / 4
    expected = -(wanted * (1 - np.exp(logs)) ** (focal or 0) * logs).sum(-1).mean()
    assert value(Loss(label_smoothing=smoothing, focal=focal)) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_the_focal_loss_is_finite_where_the_model_is_sure():
    gradient = jax.grad(
        lambda logits: Objective(FOUR, Loss(focal=0.5), jnp.zeros(1, int)).of(logits, jnp.zeros(1, int), {})
    )(jnp.array([[200.0, 0, 0, 0]]))
    assert np.isfinite(gradient).all()


def test_class_weights_and_priors_are_counted_from_the_training_targets():
    logs, counts = log_softmax(LOGITS), np.bincount(TARGETS)
    weights = len(TARGETS) / (4 * counts)
    own = -logs[np.arange(50), TARGETS]
    assert value(Loss(class_weights="balanced")) == pytest.approx((weights[TARGETS] * own).mean(), rel=1e-5)
    adjusted = log_softmax(LOGITS + 1.5 * np.log(counts / 50))
    expected = -adjusted[np.arange(50), TARGETS].mean()
    assert value(Loss(logit_adjustment=1.5)) == pytest.approx(expected, rel=1e-5)


def test_one_output_is_the_logit_of_the_second_class():
    outputs, targets = LOGITS[:, :1], (TARGETS > 0).astype(np.int32)
    plain = float(PLAIN(jnp.asarray(outputs), targets).mean())
    assert value(Loss(focal=0.0), TWO, outputs, targets) == pytest.approx(plain, rel=1e-5)
    chances = 1 / (1 + np.exp(-outputs[:, 0].astype(np.float64)))
    smooth = 0.9 * targets + 0.05
    expected = -(smooth * np.log(chances) + (1 - smooth) * np.log(1 - chances)).mean()
    assert value(Loss(label_smoothing=0.1), TWO, outputs, targets) == pytest.approx(expected, rel=1e-4)


@pytest.mark.full
@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_mixes_inputs_as_it_mixes_losses(alpha):
    objective = Objective(FOUR, Loss(mixup=alpha), jnp.asarray(TARGETS))
    inputs, shares = jnp.asarray(DRAW.normal(size=(50, 3)), jnp.float32), []
    for seed in range(200):
        mixed, (own, other) = objective.mix(jax.random.key(seed), inputs, jnp.asarray(TARGETS))
        shares.append(float(own.share))
        assert own.share + other.share == pytest.approx(1) and sorted(other.targets) == sorted(TARGETS)
    found = (np.asarray(mixed) - float(own.share) * np.asarray(inputs)) / float(other.share)
    partners = np.abs(found[:, None] - np.asarray(inputs)[None]).max(-1).argmin(1)
    assert sorted(partners) == list(range(50)) and (TARGETS[partners] == other.targets).all()
    losses = [float(PLAIN(jnp.asarray(LOGITS), targets).mean()) for targets in (own.targets, other.targets)]
    expected = own.share * losses[0] + other.share * losses[1]
    assert float(objective(jnp.asarray(LOGITS), [own, other], {})) == pytest.approx(float(expected), rel=1e-5)
    beta = np.random.default_rng(0).beta(alpha, alpha, 100_000)
    assert np.mean(shares) == pytest.approx(np.maximum(beta, 1 - beta).mean(), abs=0.03)


@pytest.mark.full
def test_a_traced_mixup_of_zero_mixes_nothing():
    inputs = jnp.asarray(LOGITS)

    def mixed(alpha):
        objective = Objective(FOUR, Loss().model_copy(update={"mixup": alpha}), jnp.asarray(TARGETS))
        return objective.mix(jax.random.key(1), inputs, jnp.asarray(TARGETS))[0]

    found = jax.jit(jax.vmap(mixed))(jnp.array([0.0, 0.4]))
    chex.assert_trees_all_close(found[0], inputs)
    chex.assert_trees_all_close(found[1], mixed(0.4), rtol=1e-5)
    assert not np.allclose(found[1], inputs)


def test_huber_is_the_square_and_then_its_tangent():
    errors = np.array([-3.0, -1.0, 0.5, 1.5])
    expected = np.where(np.abs(errors) <= 1.5, errors**2, 3 * np.abs(errors) - 2.25)
    huber = Huber(bound=1.5)
    found, gradients = jax.value_and_grad(lambda x: huber.of(x, jnp.zeros(4)).sum())(jnp.asarray(errors))
    np.testing.assert_allclose(found, expected.sum(), rtol=1e-6)
    np.testing.assert_allclose(gradients, [-3, -2, 1, 3])


def test_penalties_are_of_kernels_unless_others_are_named():
    params = {"dense": {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([5.0])}}
    assert float(penalty(Loss(l1=0.1, l2=0.01), params)) == pytest.approx(0.1 * 3 + 0.01 / 2 * 5)
    assert float(penalty(Loss(l1=0.1, penalized="*/bias"), params)) == pytest.approx(0.5)
    plain, penalized = value(Loss(), params=params), value(Loss(l2=1.0), params=params)
    assert penalized == pytest.approx(plain + 2.5)


def small(tmp_path, *sets):
    return build(config.load(small_runs.small(tmp_path), list(sets)), "small.toml")


def losses(built, settings, steps=4):
    """The training losses of the first steps, of one setting or under vmap of several."""
    start = make_start(built.task, built.parts)
    chunk = make_chunk(built.task, built.parts)
    data = jax.device_put(built.task.splits["train"])
    one = chunk.__wrapped__  # without the donation of a carry of which nothing is returned
    return jax.jit(jax.vmap(lambda setting: one(start(setting), data, setting, steps=steps)[1]["loss"]))(settings)


@pytest.mark.full
def test_a_sweep_under_vmap_equals_separate_runs(tmp_path):
    numbers = {
        "model.dropout": [0.0, 0.4],
        "model.initializer_gain": [1.0, 0.7],
        "augment.noise": [0.0, 0.2],
        "loss.label_smoothing": [0.0, 0.15],
        "loss.mixup": [0.3, 0.0],
        "loss.l1": [1e-3, 0.0],
    }
    swept = {key: jnp.array(values) for key, values in numbers.items()}
    together = losses(small(tmp_path, "loss.use=cross_entropy"), Setting(jnp.zeros(2, int), swept))
    for i in range(2):
        sets = [f"{key}={values[i]}" for key, values in numbers.items()]
        alone = losses(small(tmp_path, *sets), Setting(jnp.zeros(1, int)))[0]
        np.testing.assert_allclose(together[i], alone, rtol=2e-5)
    assert not np.allclose(together[0], together[1])


@pytest.mark.parametrize(
    "sets, message",
    [
        (["augment.shift=1.0"], "augment.shift: the inputs of the task are no images"),
        (["augment.rotate=-1.0"], "augment.rotate: got -1.0; input should be greater than or equal to 0"),
        (["augment.shfit=1.0"], "augment.shfit: unknown key; did you mean 'shift'?"),
        (["loss.label_smooth=0.1"], "loss.label_smooth: unknown key; did you mean 'label_smoothing'?"),
        (["loss.bound=1.0"], "loss.use: got 'huber', but the targets are classes; expected 'cross_entropy'"),
        (["loss.l1=0.1", "loss.penalized=*/kernle"], "'*/kernle' matches no parameter"),
        (
            ["task={use='experiments.tasks.linear:linear'}", "loss.focal=1.0"],
            "loss.use: got 'cross_entropy', but the targets are real numbers; expected 'squared'",
        ),
        (
            ["task={use='experiments.tasks.linear:linear'}", "train.sampling=balanced"],
            "train.sampling: the targets of the task are no",
        ),
        (["train.sampling=balanecd"], "train.sampling: got 'balanecd'; did you mean 'balanced'?"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, sets, message):
    with pytest.raises(InputError) as error:
        small(tmp_path, *sets)
    assert message in str(error.value)


def test_a_class_without_examples_has_no_prior(tmp_path):
    sets = ["task={use='experiments.tasks.tabular:Tabular', data='iris'}", "loss.logit_adjustment=1.0"]
    drop = "preprocess={only={use='drop_outliers', by='z_score', limit=1.0}}"
    assert set(np.unique(small(tmp_path, *sets).task.splits["train"][1])) == {0, 1, 2}
    with pytest.raises(InputError, match="loss.logit_adjustment: there is no training example of class 0"):
        small(tmp_path, *sets, drop)
