"""The training loss: each change against its formula in NumPy, and what it is refused for."""

import types

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_runs

from optchain.lab.base.errors import InputError
from optchain.lab.models.class_losses import CrossEntropy, GeneralizedCrossEntropy, SymmetricCrossEntropy
from optchain.lab.models.losses import Huber, Squared
from optchain.lab.runs import config
from optchain.lab.training.chunk import Setting, make_chunk
from optchain.lab.training.experiment import build
from optchain.lab.training.mixing import box
from optchain.lab.training.objective import Objective, penalty
from optchain.lab.training.start import make_start

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


@pytest.mark.parametrize("q", [1e-4, 0.7, 1.0])
def test_the_generalized_cross_entropy_follows_its_formula(q):
    """Zhang and Sabuncu: (1 - p^q) / q, which is the cross entropy for a small q and 1 - p for q = 1."""
    likely = np.exp(log_softmax(LOGITS))[np.arange(50), TARGETS]
    found = value(GeneralizedCrossEntropy(q=q))
    assert found == pytest.approx(((1 - likely**q) / q).mean(), rel=1e-4)
    limits = {1e-4: -np.log(likely).mean(), 1.0: (1 - likely).mean()}
    assert q not in limits or found == pytest.approx(limits[q], rel=1e-3)


@pytest.mark.parametrize("smoothing", [None, 0.1])
def test_the_symmetric_cross_entropy_follows_its_formula(smoothing):
    """Wang et al.: alpha of the cross entropy and beta of the reverse one, in which log 0 is A."""
    wanted, likely = np.eye(4)[TARGETS], np.exp(log_softmax(LOGITS))
    if smoothing:
        wanted = (1 - smoothing) * wanted + smoothing / 4
    with np.errstate(divide="ignore"):
        log_wanted = np.maximum(np.log(wanted), -3.0)
    expected = 0.3 * -(wanted * np.log(likely)).sum(1) + 0.6 * -(likely * log_wanted).sum(1)
    table = SymmetricCrossEntropy(alpha=0.3, beta=0.6, log_zero=-3.0, label_smoothing=smoothing)
    assert value(table) == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize("table", [GeneralizedCrossEntropy(q=0.5), SymmetricCrossEntropy()])
def test_robust_losses_are_evaluated_as_the_cross_entropy_and_have_finite_gradients(table):
    plain = table.of(jnp.asarray(LOGITS), jnp.asarray(TARGETS))
    np.testing.assert_array_equal(plain, PLAIN(jnp.asarray(LOGITS), jnp.asarray(TARGETS)))
    sure = jnp.array([[200.0, 0, 0, 0], [0, 200.0, 0, 0]])
    right = jnp.zeros(2, int)
    assert np.isfinite(jax.grad(lambda x: Objective(FOUR, table, right).of(x, right, {}))(sure)).all()
    # Of an example whose label is surely wrong the cross entropy grows without bound, and these do not.
    each = [Objective(FOUR, table, right).one(x * sure, right)[1] for x in (1, 2)]
    slope = 20.0 if isinstance(table, SymmetricCrossEntropy) else 0.0  # alpha of the cross entropy
    assert float(each[1] - each[0]) == pytest.approx(slope, abs=1e-3)


@pytest.mark.parametrize("smoothing", [None, 0.1])
def test_targets_that_do_not_count_cost_nothing_also_smoothed(smoothing):
    outputs = DRAW.normal(0, 2, (6, 5, 4)).astype(np.float32)
    targets = DRAW.integers(1, 4, (6, 5)).astype(np.int32)
    targets[2, 3:], targets[4, 1:], targets[5] = 0, 0, 0  # filled up with 0
    logs, expected = log_softmax(outputs), []
    for rows, words in zip(logs, targets, strict=True):
        costs = []
        for row, word in zip(rows, words, strict=True):
            wanted = (1 - (smoothing or 0)) * np.eye(4)[word] + (smoothing or 0) / 4
            costs += [-(wanted * row).sum()] if word != 0 else []
        expected.append(np.mean(costs) if costs else 0.0)
    table = Loss(ignored=0, label_smoothing=smoothing)
    assert value(table, FOUR, outputs, targets) == pytest.approx(np.mean(expected), rel=1e-5)
    shuffled = outputs.copy()
    shuffled[targets == 0] = 7 * DRAW.normal(size=4)
    assert value(table, FOUR, shuffled, targets) == value(table, FOUR, outputs, targets)
    weights = np.bincount(targets[targets > 0], minlength=4)
    own = Objective(FOUR, Loss(ignored=0, class_weights="balanced"), jnp.asarray(targets)).one.weights
    np.testing.assert_allclose(own[1:], weights.sum() / (3 * weights[1:]), rtol=1e-6)


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


def pasted(height, width, share, down, right):
    """The box of CutMix, in Python's numbers: `rand_bbox` of the paper's code."""
    inside = np.zeros((height, width), bool)
    tall, wide = int(height * np.sqrt(1 - share)), int(width * np.sqrt(1 - share))
    top, bottom = (min(max(x, 0), height) for x in (down - tall // 2, down + tall // 2))
    left, end = (min(max(x, 0), width) for x in (right - wide // 2, right + wide // 2))
    inside[top:bottom, left:end] = True
    return inside


def test_the_box_of_cutmix_is_that_of_the_paper():
    for seed in range(40):
        key = jax.random.key(seed)
        down, right = (
            int(jax.random.randint(one, (), 0, size)) for one, size in zip(jax.random.split(key), (9, 12), strict=True)
        )
        share = float(np.random.default_rng(seed).uniform(0.5, 1))
        np.testing.assert_array_equal(box(key, jnp.float32(share), 9, 12), pasted(9, 12, share, down, right))


@pytest.mark.parametrize("table", [Loss(cutmix=1.0), Squared(cutmix=1.0)])
def test_cutmix_pastes_a_box_and_mixes_the_losses_by_area(table):
    targets = jnp.asarray(TARGETS) if isinstance(table, CrossEntropy) else jnp.asarray(LOGITS)
    images = jnp.asarray(DRAW.normal(size=(50, 9, 12, 2)), jnp.float32)
    objective, shares = Objective(FOUR, table, targets), []
    for seed in range(30):
        mixed, (own, other) = objective.mix(jax.random.key(seed), images, targets)
        foreign = np.asarray(mixed != images).any(-1)
        shares.append(float(own.share))
        # Where the partner is the example itself nothing is seen; of all others the box is the same.
        inside = foreign.any(0)
        assert (foreign == inside).all(axis=(1, 2)).sum() >= 44 and own.share >= 0.5
        assert float(own.share) == pytest.approx(1 - inside.mean())
        assert float(own.share + other.share) == pytest.approx(1)
        if not inside.any():
            continue
        i = int(np.argmax(foreign.any((1, 2))))
        partner = int(np.argmax([(np.asarray(mixed[i]) == np.asarray(x))[inside].all() for x in images]))
        np.testing.assert_array_equal(mixed[i], np.where(inside[:, :, None], images[partner], images[i]))
        np.testing.assert_array_equal(other.targets[i], targets[partner])
    assert len(set(shares)) > 8
    losses = [float(table.of(jnp.asarray(LOGITS), x).mean()) for x in (own.targets, other.targets)]
    expected = float(own.share) * losses[0] + float(other.share) * losses[1]
    assert float(objective(jnp.asarray(LOGITS), [own, other], {})) == pytest.approx(expected, rel=1e-5)


def test_a_traced_cutmix_of_zero_pastes_nothing():
    images = jnp.asarray(DRAW.normal(size=(50, 6, 6, 1)), jnp.float32)

    def mixed(alpha):
        objective = Objective(FOUR, Loss().model_copy(update={"cutmix": alpha}), jnp.asarray(TARGETS))
        inputs, (own, _) = objective.mix(jax.random.key(3), images, jnp.asarray(TARGETS))
        return inputs, own.share

    found, shares = jax.jit(jax.vmap(mixed))(jnp.array([0.0, 1.0]))
    np.testing.assert_array_equal(found[0], images)
    assert shares[0] == 1 and shares[1] < 1 and not np.array_equal(found[1], images)


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


DIGITS = "task={use='experiments.tasks.digits:digits', validation=200, test=1300}"


@pytest.mark.full
def test_a_sweep_of_what_is_drawn_equals_separate_runs(tmp_path):
    numbers = {
        "augment.magnitude": [2.0, 9.0],
        "loss.cutmix": [0.5, 1.0],
        "loss.q": [0.3, 0.9],
        "perturb.drop": [0.0, 0.3],
        "perturb.weights": [0.02, 0.0],
    }
    augment = "augment={use='rand_augment', range=[0, 16], count=1, operations=['rotate', 'contrast', 'solarize']}"
    sets = [DIGITS, "loss.use=generalized_cross_entropy", augment]
    first = [f"{key}={values[0]}" for key, values in numbers.items()]
    swept = {key: jnp.array(values) for key, values in numbers.items()}
    together = losses(small(tmp_path, *sets, *first), Setting(jnp.zeros(2, int), swept))
    second = [f"{key}={values[1]}" for key, values in numbers.items()]
    alone = losses(small(tmp_path, *sets, *second), Setting(jnp.zeros(1, int)))[0]
    np.testing.assert_allclose(together[1], alone, rtol=1e-4)
    assert not np.allclose(together[0], together[1])


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
        (["loss.cutmix=1.0"], "loss.cutmix: the inputs of the task are no images"),
        (["loss={mixup=0.2, cutmix=1.0}"], "loss: mixup and cutmix exclude each other; leave one out"),
        (["loss.q=1.5"], "loss.q: got 1.5; input should be less than or equal to 1"),
        (["loss={use='generalized_cross_entropy', focal=1.0}"], "loss.focal: unknown key"),
        (["loss.log_zero=1.0"], "loss.log_zero: got 1.0; input should be less than 0"),
        (["loss={use='cross_entropy', ignored=5}"], "loss.ignored: got 5; expected the number of a class, 0 to 1"),
        (["loss={ignored=0, logit_adjustment=1.0}"], "loss: logit_adjustment needs the share of every class"),
        (
            ["task={use='experiments.tasks.linear:linear'}", "loss.q=0.5"],
            "loss.use: got 'generalized_cross_entropy', but the targets are real numbers; expected 'squared'",
        ),
        (["augment={use='rand_augment', range=[0, 1]}"], "augment.use: the inputs of the task are no images"),
        (["augment={use='rand_augment'}"], "augment.range: missing"),
        (["augment={use='trivial_augment', range=[1, 0]}"], "augment: range = [1.0, 0.0]; expected black, and then"),
        (["augment={use='rand_augment', range=[0, 1], magnitude=11}"], "augment.magnitude: got 11"),
        (["augment={use='rand_augment', range=[0, 1], operations=['rotat']}"], "augment.operations"),
        (
            ["task={use='experiments.tasks.digits:digits'}", "augment={use='trivial_augment', range=[0, 8]}"],
            "augment.range: got 0 to 8, and training images reach from 0 to 16",
        ),
        (["model.stochastic_depth=0.1"], "model: stochastic_depth leaves out residual branches"),
        (["perturb={drop=1.0}"], "perturb.drop: got 1.0; input should be less than 1"),
        (["perturb={drop=0.1, paths=['*/kernle']}"], "perturb.paths: '*/kernle' matches no parameter"),
        (["perturb={activations=0.1}"], "perturb: activations needs layers"),
        (
            ["perturb={activations=0.1, layers=['Desne_0']}"],
            "perturb.layers: 'Desne_0' matches no module; did you mean 'Dense_0'",
        ),
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
