"""Categories as columns of 0 and 1: what the training rows have, and nothing else, makes a column."""

import numpy as np
import pydantic
import pytest

from optchain.lab.base.errors import InputError
from optchain.lab.data import preprocess
from optchain.lab.data.preprocess.categories import OneHot

TRAIN = np.array([[0.5, 2, 1], [1.5, 0, 1], [2.5, np.nan, 3]])
TARGETS = np.arange(3)


def one_hot(*features):
    return OneHot(use="one_hot", features=list(features))


def test_each_category_of_training_has_a_column_in_the_place_of_the_feature():
    found = one_hot(1).fit(TRAIN, TARGETS).transform(TRAIN)
    np.testing.assert_array_equal(found, [[0.5, 0, 1, 1], [1.5, 1, 0, 1], [2.5, 0, 0, 3]])
    found = one_hot(2, 1).fit(TRAIN, TARGETS).transform(TRAIN)
    np.testing.assert_array_equal(found, [[0.5, 0, 1, 1, 0], [1.5, 1, 0, 1, 0], [2.5, 0, 0, 0, 1]])


def test_unseen_and_missing_categories_are_all_zeros():
    rows = np.array([[1.0, 1, -1], [np.nan, np.nan, 3]])
    found = one_hot(1, 2).fit(TRAIN, TARGETS).transform(rows)
    np.testing.assert_array_equal(found, [[1, 0, 0, 0, 0], [np.nan, 0, 0, 0, 1]])


def test_a_feature_without_any_category_leaves_no_column():
    assert one_hot(0).fit(np.full((2, 2), np.nan), TARGETS[:2]).transform(np.ones((3, 2))).shape == (3, 1)


def test_with_the_steps_that_follow():
    steps = {"one_hot": one_hot(1), "scale": preprocess.scaling.Standardize(use="standardize")}
    fitted = preprocess.fit(steps, TRAIN, TARGETS)
    assert fitted.inputs.shape == (3, 4)
    np.testing.assert_allclose(fitted.inputs.mean(0), 0, atol=1e-6)
    np.testing.assert_array_equal(fitted.transform(TRAIN[:1]), fitted.inputs[:1])
    assert preprocess.STEPS["one_hot"] is OneHot


@pytest.mark.parametrize(
    ("inputs", "features", "message"),
    [
        (TRAIN, [3], "features names 3; expected positions from 0 to 2"),
        (np.zeros((2, 3, 3, 1)), [0], "rows of features; got inputs of shape"),
    ],
)
def test_refusals(inputs, features, message):
    with pytest.raises(InputError, match=message):
        one_hot(*features).fit(inputs, TARGETS)


def test_rows_of_another_width_are_refused():
    with pytest.raises(ValueError, match="expected 3 features, as in training"):
        one_hot(0).fit(TRAIN, TARGETS).transform(TRAIN[:, :2])


@pytest.mark.parametrize(
    ("features", "message"), [([1, 1], "1 more than once"), ([-1], "greater than"), ([], "least 1")]
)
def test_wrong_settings(features, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        one_hot(*features)
