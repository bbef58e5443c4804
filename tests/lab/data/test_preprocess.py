"""The preparation of inputs: what each step does, what it refuses, and that nothing held out is seen."""

import dataclasses
import re

import chex
import numpy as np
import pytest
import small_runs
import small_tasks
from scipy import ndimage
from sklearn.datasets import load_breast_cancer, load_digits

from optchain.lab.base.errors import InputError
from optchain.lab.data import preprocess
from optchain.lab.data.loading import made
from optchain.lab.runs import config
from optchain.lab.runs import config as tables

DRAW = np.random.default_rng(0)
ROWS = DRAW.normal(3, 2, (60, 5)) * [1, 10, 100, 1, 1]
CLASSES = (ROWS[:, 1] > 30).astype(np.int32) + (ROWS[:, 3] > 5).astype(np.int32)


def steps(**tables_of):
    """Steps as a configuration has them."""
    file = {
        "task": {"use": "experiments.tasks.circles:circles"},
        "model": {},
        "train": {"steps": 1, "batch": 1},
        "optimizer": {"lr": {"use": "scale", "step_size": -1.0}},
    }
    return tables.Config.model_validate(file | {"preprocess": tables_of}).preprocess


def fit(inputs=ROWS, targets=CLASSES, **tables_of):
    return preprocess.fit(steps(**tables_of), inputs, targets)


def with_gaps(rows, fraction=0.1):
    return np.where(np.random.default_rng(1).random(rows.shape) < fraction, np.nan, rows)


SETTINGS = [
    {"use": "impute", "by": "median"},
    {"use": "drop_missing"},
    {"use": "drop_outliers", "by": "z_score", "limit": 2},
    {"use": "drop_outliers", "by": "iqr", "limit": 1.5},
    {"use": "clip_outliers", "by": "iqr", "limit": 1.0},
    {"use": "median_filter", "size": 3},
    {"use": "gaussian_filter", "sigma": 0.7},
    {"use": "savgol", "window": 3, "order": 1},
    {"use": "standardize"},
    {"use": "standardize", "per": "all"},
    {"use": "min_max", "low": -1.0},
    {"use": "quantile", "to": "normal"},
    {"use": "power"},
    *({"use": "select", "k": 3, "by": by} for by in ("anova", "l1", "rfe")),
]


@pytest.mark.parametrize("step", SETTINGS, ids=lambda step: "-".join(map(str, step.values())))
def test_what_is_held_out_has_no_influence(step):
    """Whatever stands in the held-out rows, the training inputs and what others become are the same to the bit."""
    table = small_tasks.table("tabular", data="iris", validation=30, test=30)
    examples = table.build().load()
    first = made(examples, table, steps(only=step))
    held = np.concatenate([first.rows["validation"], first.rows["test"]])
    inputs = examples.inputs.copy()
    inputs[held] = 1e3 - inputs[held[::-1]] ** 2
    second = made(dataclasses.replace(examples, inputs=inputs), table, steps(only=step))
    chex.assert_trees_all_equal(first.splits["train"], second.splits["train"])
    probe = examples.inputs[first.rows["test"]]
    chex.assert_trees_all_equal(first.prepare(probe), second.prepare(probe))
    chex.assert_trees_all_equal(first.prepare(probe), first.splits["test"][0])
    assert not np.array_equal(first.splits["test"][0], second.splits["test"][0])


def test_steps_are_applied_in_the_order_of_the_file():
    a = fit(low={"use": "min_max"}, power={"use": "power"}).inputs
    b = fit(power={"use": "power"}, low={"use": "min_max"}).inputs
    np.testing.assert_allclose(a.mean(0), 0, atol=1e-5)
    assert b.min() == 0 and b.max() == pytest.approx(1) and not np.allclose(a, b)


def test_each_step_is_fitted_on_what_those_before_it_made():
    rows = ROWS.copy()
    rows[7, 0] = 1e6
    found = fit(rows, drop={"use": "drop_outliers", "by": "z_score", "limit": 4}, scale={"use": "standardize"})
    assert 7 not in found.kept and len(found.kept) == 59
    np.testing.assert_allclose(found.inputs.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(found.inputs.std(0), 1, atol=1e-5)


@pytest.mark.parametrize("by, statistic", [("mean", np.nanmean), ("median", np.nanmedian)])
def test_impute_fills_with_what_the_training_rows_have(by, statistic):
    rows = with_gaps(ROWS)
    found = fit(rows, fill={"use": "impute", "by": by})
    np.testing.assert_allclose(found.inputs, np.where(np.isnan(rows), statistic(rows, axis=0), rows), rtol=1e-6)
    np.testing.assert_allclose(found.transform(np.full((1, 5), np.nan))[0], statistic(rows, axis=0), rtol=1e-6)


def test_impute_fills_with_the_most_frequent():
    rows = np.array([[1.0, 5], [2, 5], [2, 6], [np.nan, np.nan]])
    assert fit(rows, np.zeros(4, int), fill={"use": "impute", "by": "most_frequent"}).inputs[3].tolist() == [2, 5]


def test_rows_that_miss_values_are_dropped_from_training_only():
    rows = with_gaps(ROWS)
    found = fit(rows, drop={"use": "drop_missing"})
    assert found.kept.tolist() == np.flatnonzero(~np.isnan(rows).any(1)).tolist() and 0 < len(found.kept) < 60
    with pytest.raises(
        InputError, match=r"preprocess.drop: drop_missing leaves out training rows only, and 1 of these 2"
    ):
        found.transform(np.array([[1.0] * 5, [np.nan] * 5]))
    with pytest.raises(InputError, match=r"expected use = 'impute' \(the test examples\)"):
        small_tasks.load("tabular", steps(drop={"use": "drop_missing"}), data="wine", test=40, missing=0.1)


@pytest.mark.parametrize("by", ["iqr", "z_score"])
def test_outliers_are_those_beyond_the_bounds_of_the_training_rows(by):
    low, high = (
        (ROWS.mean(0) - 1.2 * ROWS.std(0), ROWS.mean(0) + 1.2 * ROWS.std(0))
        if by == "z_score"
        else (lambda a, b: (a - 1.2 * (b - a), b + 1.2 * (b - a)))(*np.percentile(ROWS, [25, 75], axis=0))
    )
    clipped = fit(clip={"use": "clip_outliers", "by": by, "limit": 1.2})
    np.testing.assert_allclose(clipped.inputs, np.clip(ROWS, low, high), rtol=1e-6)
    np.testing.assert_allclose(clipped.transform(np.full((1, 5), 1e9))[0], high, rtol=1e-6)
    dropped = fit(drop={"use": "drop_outliers", "by": by, "limit": 1.2})
    assert dropped.kept.tolist() == [i for i in range(60) if (low <= ROWS[i]).all() and (ROWS[i] <= high).all()]
    assert 0 < len(dropped.kept) < 60
    np.testing.assert_array_equal(dropped.transform(np.full((1, 5), 1e9)), 1e9)  # no other row is dropped


def test_filters_smooth_images_over_height_and_width_and_vectors_along_features():
    images = DRAW.normal(size=(4, 6, 7, 2))
    median = fit(images, np.zeros(4, int), denoise={"use": "median_filter"}).inputs
    gauss = fit(images, np.zeros(4, int), denoise={"use": "gaussian_filter", "sigma": 0.8}).inputs
    for i in range(4):
        for c in range(2):
            one = images[i, :, :, c]
            np.testing.assert_allclose(median[i, :, :, c], ndimage.median_filter(one, 3, mode="nearest"), rtol=1e-6)
            np.testing.assert_allclose(gauss[i, :, :, c], ndimage.gaussian_filter(one, 0.8, mode="nearest"), rtol=1e-5)
    line = np.arange(12.0)[None] ** 2  # a parabola: three values around and a polynomial of degree 2 leave it as it is
    smooth = fit(line, np.zeros(1, int), denoise={"use": "savgol", "window": 5, "order": 2}).inputs
    np.testing.assert_allclose(smooth, line, rtol=1e-5, atol=1e-5)
    assert fit(line, np.zeros(1, int), denoise={"use": "median_filter", "size": 5}).inputs[0, 5] == 25


def test_distributions_become_uniform_and_normal():
    skewed = np.exp(DRAW.normal(size=(400, 1)))
    targets = np.zeros(400, int)
    uniform = fit(skewed, targets, bend={"use": "quantile"}).inputs[:, 0]
    np.testing.assert_allclose(np.sort(uniform), np.linspace(0, 1, 400), atol=0.02)
    for step in ({"use": "quantile", "to": "normal"}, {"use": "power"}, {"use": "power", "by": "box_cox"}):
        bent = fit(skewed, targets, bend=step).inputs[:, 0]
        assert abs(float(np.mean((bent - bent.mean()) ** 3)) / bent.std() ** 3) < 0.3


@pytest.mark.parametrize("by", ["anova", "chi2", "l1", "rfe"])
def test_select_finds_the_features_that_decide(by):
    draw = np.random.default_rng(4)
    inputs = draw.uniform(0, 1, (300, 12))
    inputs[:, 4] = 0.5  # never varies
    classes = np.digitize(inputs[:, 2] + inputs[:, 9], [0.8, 1.2])
    found = fit(inputs, classes, choose={"use": "select", "k": 2, "by": by})
    np.testing.assert_allclose(found.inputs, inputs[:, [2, 9]], rtol=1e-6)
    if by != "chi2":
        continuous = inputs[:, 2] - inputs[:, 9] + draw.normal(0, 0.1, 300)
        found = fit(inputs, continuous, choose={"use": "select", "k": 2, "by": by})
        np.testing.assert_allclose(found.transform(inputs[:5]), inputs[:5][:, [2, 9]], rtol=1e-6)


@pytest.mark.parametrize(
    "step, rows, targets, message",
    [
        ({"use": "select", "k": 2, "by": "chi2"}, ROWS - 9, CLASSES, "chi2 is for features of at least 0; got -"),
        ({"use": "select", "k": 2, "by": "chi2"}, ROWS, ROWS[:, 0], "chi2 is for classes"),
        ({"use": "select", "k": 6}, ROWS, CLASSES, "k = 6 of 5 features that vary"),
        ({"use": "power", "by": "box_cox"}, ROWS - 9, CLASSES, "box_cox is for positive values; got -"),
        ({"use": "savgol"}, ROWS[:, :3], CLASSES, "window = 5 is larger than a row of 3 features"),
        ({"use": "savgol"}, ROWS.reshape(60, 5, 1, 1), CLASSES, "savgol filters vectors, not images"),
        ({"use": "impute"}, ROWS * [1, np.nan, 1, 1, 1], CLASSES, "feature 2 is missing in all training rows"),
        ({"use": "drop_missing"}, ROWS * [1, np.nan, 1, 1, 1], CLASSES, "none of 60 training rows is left"),
        (
            {"use": "clip_outliers", "by": "iqr", "limit": 1},
            with_gaps(ROWS),
            CLASSES,
            "expected use = 'impute' in a step",
        ),
        ({"use": "standardize"}, with_gaps(ROWS), CLASSES, "is missing or not finite; expected a step of"),
    ],
)
def test_a_step_that_does_not_apply_says_why(step, rows, targets, message):
    with pytest.raises(InputError, match=f"^preprocess.own: .*{message}|^feature . of row .*{message}"):
        fit(rows, targets, own=step)


@pytest.mark.parametrize(
    "override, message",
    [
        (
            "preprocess.a={use='standardise'}",
            "--set: preprocess.a.use: got 'standardise'; did you mean 'standardize', or 'file.py:Name'",
        ),
        ("preprocess.a={use='min_max', hgh=1.0}", "--set: preprocess.a.hgh: unknown key; did you mean 'high'?"),
        ("preprocess.a={per='all'}", "preprocess.a.use: missing; valid: clip_outliers, drop_missing"),
        ("preprocess.a={use='select', k=0}", "preprocess.a.k: got 0; input should be greater than 0"),
        ("preprocess.a={use='select'}", "preprocess.a.k: missing"),
        ("preprocess.a={use='impute', by='medain'}", "preprocess.a.by: got 'medain'; did you mean 'median'"),
        ("preprocess.a={use='median_filter', size=4}", "preprocess.a: size = 4 has no middle; expected an odd number"),
        ("preprocess.a={use='savgol', window=3, order=3}", "window = 3, order = 3; expected an odd window"),
        ("preprocess.a={use='min_max', low=2.0}", "preprocess.a: low = 2 is not below high = 1"),
    ],
)
def test_errors_name_the_place_and_the_nearest_name(tmp_path, override, message):
    with pytest.raises(InputError, match=re.escape(message)):
        config.load(small_runs.small(tmp_path), [override])


def test_another_order_is_another_configuration(tmp_path):
    a, b = "preprocess.a={use='standardize'}", "preprocess.b={use='power'}"
    one, other = (config.load(small_runs.small(tmp_path), sets) for sets in ([a, b], [b, a]))
    assert config.differences(one, other) == ["preprocess: the steps in the order a, b -> b, a"]
    path = tmp_path / "config.json"
    path.write_text(one.model_dump_json())
    assert config.differences(config.load(path), one) == []


def test_a_task_without_a_table_has_the_steps_it_always_had():
    raw = load_digits().data
    found = small_tasks.load("digits", validation=237, test=360)
    train = raw[found.rows["train"]]
    expected = ((raw[found.rows["test"]] - train.mean()) / train.std()).reshape(-1, 8, 8, 1)
    np.testing.assert_allclose(found.splits["test"][0], expected, rtol=1e-5, atol=1e-6)
    as_they_are = small_tasks.load("digits", steps={})
    np.testing.assert_array_equal(as_they_are.splits["train"][0].reshape(-1, 64), raw)


def test_bytes_and_ids_are_not_prepared():
    with pytest.raises(InputError, match="preprocess: the inputs of this task are bytes or ids"):
        small_tasks.load("embedding", steps(scale={"use": "standardize"}), examples=50, ids=100)


def test_dropped_rows_are_no_rows_of_the_split():
    drop = steps(drop={"use": "drop_outliers", "by": "z_score", "limit": 3})
    found = small_tasks.load("tabular", drop, data="breast_cancer", test=100)
    raw, (inputs, targets, _) = load_breast_cancer(), found.splits["train"]
    assert len(inputs) == len(targets) == len(found.rows["train"]) < 469 and len(found.splits["test"][0]) == 100
    np.testing.assert_allclose(inputs, raw.data[found.rows["train"]], rtol=1e-6)
    np.testing.assert_array_equal(targets, raw.target[found.rows["train"]])
