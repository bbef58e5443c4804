"""An examination says what its formulas say, of models whose answers are known, and its page holds all of it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_runs
from sklearn.metrics import roc_auc_score

from optchain import lab
from optchain.lab.commands.main import main
from optchain.lab.models.attacks import fgsm, pgd
from optchain.lab.probes.examination import attribution, corruptions
from optchain.lab.probes.examination.calibration import calibration_error, likelihood_loss, reliability, temperature
from optchain.lab.probes.examination.label_noise import confident_joint, suspects, thresholds
from optchain.lab.probes.examination.unknown import auroc, energy, shuffled, sureness

DRAW = np.random.default_rng(0)
FACES = {
    "task": {"use": f"{small_runs.ROOT}/experiments/tasks/digits.py:digits", "validation": 237, "test": 360},
    "model": {"hidden": [16]},
    "train": {"steps": 60, "batch": 64, "evaluate_every": 30},
    "optimizer": {"adam": {"use": "adam", "learning_rate": 0.01}},
}


def test_the_calibration_error_is_the_mean_distance():
    logits = np.log(np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]]))
    bins = reliability(logits, np.array([0, 1, 1, 1]), bins=10)
    assert [b.answers for b in bins] == [2, 2] and [b.accuracy for b in bins] == [1.0, 0.5]
    # A half of the answers is 0.4 too low, and the other 0.4 too high.
    assert calibration_error(bins) == pytest.approx(0.4)
    assert calibration_error(reliability(40 * logits, np.array([0, 0, 1, 1]))) == pytest.approx(0, abs=1e-6)


def test_the_temperature_undoes_what_logits_were_multiplied_by():
    logits = DRAW.normal(size=(20_000, 4))
    likely = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = (likely.cumsum(1) < DRAW.random((20_000, 1))).sum(1)
    assert temperature(3 * logits, targets) == pytest.approx(3, rel=0.05)
    assert likelihood_loss(logits, targets) < likelihood_loss(3 * logits, targets)


def linear(weights, targets):
    """Logistic losses of a linear model, of targets 0 and 1."""
    return lambda x: jnp.logaddexp(0, -(2 * targets - 1) * (x @ weights))


def test_attacks_of_a_linear_model_are_those_that_are_worst():
    weights, inputs, targets = jnp.asarray([1.0, -2.0, 0.5]), DRAW.normal(size=(8, 3)), np.arange(8) % 2
    inputs = jnp.asarray(inputs, jnp.float32)
    worst = inputs - 0.3 * np.sign(weights) * (2 * targets - 1)[:, None]
    for attack in (fgsm, lambda *given: pgd(*given, jax.random.key(0))):
        np.testing.assert_allclose(attack(linear(weights, targets), inputs, 0.3, -9, 9), worst, rtol=1e-5, atol=1e-6)
        bounded = attack(linear(weights, targets), inputs, 0.3, -0.5, 0.5)
        assert (jnp.abs(bounded) <= jnp.maximum(0.5, jnp.abs(inputs))).all()


def test_many_steps_are_worse_than_one_and_stay_in_the_box():
    losses = lambda x: jnp.sin(5 * x).sum(-1)  # noqa: E731
    inputs = jnp.asarray(DRAW.normal(size=(50, 2)), jnp.float32)
    one, many = (attack(losses, inputs, 0.5, -9, 9) for attack in (fgsm, lambda *given: pgd(*given, jax.random.key(0))))
    assert jnp.abs(many - inputs).max() <= 0.5 + 1e-6
    assert (losses(many) >= losses(inputs)).all()
    assert losses(many).mean() > losses(one).mean() + 0.1


def test_what_is_known_scores_higher():
    known, unknown = DRAW.integers(0, 5, 40).astype(float), DRAW.integers(0, 4, 30).astype(float)
    said = roc_auc_score([1] * 40 + [0] * 30, [*known, *unknown])
    assert auroc(known, unknown) == pytest.approx(said)
    logits = np.array([[2.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(sureness(logits), [1 / (1 + np.exp(-1)), 0.5])
    np.testing.assert_allclose(energy(logits), np.log(np.exp(logits).sum(1)))
    inputs = np.arange(12.0).reshape(4, 3)
    mixed = shuffled(inputs, DRAW)
    np.testing.assert_array_equal(np.sort(mixed, 0), inputs)


def test_confident_learning_counts_as_the_paper_does():
    likely = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9]])
    given = np.array([0, 0, 0, 1, 1])
    np.testing.assert_allclose(thresholds(likely, given), [(0.9 + 0.6 + 0.2) / 3, 0.8])
    # The second example passes the threshold of class 0, the fourth none.
    np.testing.assert_array_equal(confident_joint(likely, given), [[2, 1], [0, 1]])
    (found,) = suspects(likely, given)
    assert (found.example, found.given, found.likely) == (2, 0, 1) and found.margin == pytest.approx(0.6)


def test_labels_that_were_changed_are_found():
    right = DRAW.integers(0, 3, 600)
    likely = 0.1 + 0.7 * np.eye(3)[right] + DRAW.uniform(-0.01, 0.01, (600, 3))
    changed = DRAW.choice(600, 30, replace=False)
    given = right.copy()
    given[changed] = (right[changed] + 1) % 3
    assert {x.example for x in suspects(likely, given)} == set(changed)


def test_integrated_gradients_add_up_and_saliency_is_the_slope():
    scores = lambda x: jnp.tanh(x @ jnp.asarray([1.0, -2.0])) + jnp.square(x[:, 0])  # noqa: E731
    inputs, base = jnp.asarray([[0.5, 1.0], [-1.0, 0.2]]), jnp.asarray([0.1, 0.1])
    parts = attribution.integrated_gradients(scores, inputs, base, steps=512)
    np.testing.assert_allclose(parts.sum(1), scores(inputs) - scores(base[None]), rtol=1e-4)
    moved = (scores(inputs + jnp.asarray([[1e-2, 0]])) - scores(inputs - jnp.asarray([[1e-2, 0]]))) / 2e-2
    np.testing.assert_allclose(attribution.saliency(scores, inputs)[:, 0], np.abs(moved), rtol=1e-3)


def test_occlusion_is_what_the_square_was_worth():
    images, weights = DRAW.normal(size=(2, 4, 5, 1)), DRAW.normal(size=(4, 5, 1))
    scores = lambda x: (x * weights[None]).sum((1, 2, 3))  # noqa: E731
    found = attribution.occlusion(scores, jnp.asarray(images, jnp.float32), 0.0, side=3)
    worth = np.pad((images * weights)[..., 0], ((0, 0), (1, 1), (1, 1)))
    sums = sum(worth[:, i : i + 4, j : j + 5] for i in range(3) for j in range(3))
    np.testing.assert_allclose(found, sums, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*corruptions.OF_ANY, *corruptions.OF_IMAGES])
def test_a_corruption_is_worse_the_more_severe_it_is(name):
    corrupt = (corruptions.OF_ANY | corruptions.OF_IMAGES)[name]
    images = DRAW.normal(size=(3, 25, 25, 1)).cumsum(1).cumsum(2)
    moved = [
        np.square(corrupt(images, severity, np.random.default_rng(0), images.std()) - images).mean()
        for severity in corruptions.SEVERITIES
    ]
    assert moved[0] > 0 and moved == sorted(moved)
    tiny = corrupt(images[:, :2, :2], 5, np.random.default_rng(0), 1.0)
    assert tiny.shape == (3, 2, 2, 1) and np.isfinite(tiny).all()


def test_the_command_examines_images(tmp_path, capsys):
    lab.Configuration(FACES).train(tmp_path / "run", quiet=True)
    assert main(["examine", str(tmp_path / "run"), "--examples", "40"]) == 0
    said = capsys.readouterr().out
    assert "of 40 test examples" in said and "twenty steps (PGD)" in said and "blurred" in said
    page = (tmp_path / "run" / "examination.html").read_text()
    assert all(part in page for part in ("What it bears", "What it looks at", "occlusion (3 x 3)", "saliency"))
    scores = json.loads((tmp_path / "run" / "examination.json").read_text())
    for shares in scores["attacked"].values():
        assert shares[0] == scores["accuracy"] and shares[-1] < shares[0]
    assert set(scores["told_apart"]) == {"entries of different examples", "noise"}


def test_two_classes_and_other_inputs(tmp_path, capsys):
    run = lab.open(small_runs.train(tmp_path).run.folder)
    found = lab.examine(run, other=DRAW.normal(size=(50, 2)) * 30, examples=50)
    assert found.names == ["0", "1"] and found.pictures is None and "the given inputs" in found.told_apart
    assert found.split == "test" and found.examples == 50 and found.accuracy > 0.6
    with pytest.raises(lab.InputError, match="got 0 examples"):
        lab.examine(run, examples=0)
    with pytest.raises(lab.InputError, match=r"'x.npy'; the inputs of this task are arrays"):
        lab.examine(run, other="x.npy")


def test_the_command_reads_other_inputs_as_predict_does(tmp_path, capsys):
    folder = small_runs.train(tmp_path).run.folder
    np.save(tmp_path / "rows.npy", DRAW.normal(size=(20, 2)))
    assert main(["examine", str(folder), "--examples", "20", "--other", str(tmp_path / "rows.npy")]) == 0
    assert "told from the given inputs" in capsys.readouterr().out
    assert main(["examine", str(folder), "--other", str(tmp_path / "none.npy")]) == 2
    assert "none.npy" in capsys.readouterr().err


def test_what_is_not_of_classes_is_refused(tmp_path):
    tables = FACES | {"task": {"use": f"{small_runs.ROOT}/experiments/tasks/linear.py:linear"}, "model": {}}
    run = lab.Configuration(tables).train(tmp_path / "run", quiet=True)
    with pytest.raises(lab.InputError, match="the targets are no classes"):
        lab.examine(run)
