"""The pictures of the gallery show what their captions say."""

import jax.numpy as jnp
import numpy as np
import pytest
import small_runs

import optchain as oc
from experiments.__main__ import main
from experiments.gallery import command, masks, paths, rounding, schedules, spectra
from optchain.core.registry import SCHEDULE, registered

pytestmark = pytest.mark.full


def test_what_rounds_to_the_nearest_does_not_move_and_the_others_do():
    ends = {way: rounding.weights(way)[-1] for way in rounding.WAYS}
    exact = 1 - rounding.RATE * rounding.STEPS
    assert (ends["nearest"] == 1).all()
    assert ends["stochastic"].std() > 0 and ends["stochastic"].mean() == pytest.approx(exact, abs=0.02)
    for way in ("kahan", "master"):
        assert ends[way] == pytest.approx(exact, abs=2**-8)


def test_masks_end_with_a_quarter_of_the_weights():
    drawn = {title: masks.nonzero(schedule) for title, schedule in masks.WAYS.items()}
    for where in drawn.values():
        assert where.shape == (masks.WEIGHTS, masks.STEPS) and where[:, -1].mean() == pytest.approx(0.25, abs=0.02)
    rigl, by_chance = (where for title, where in drawn.items() if title.startswith("regrow"))
    best = np.abs(np.linspace(-1, 1, masks.WEIGHTS)) > 0.75
    assert (rigl[:, -1] & best).sum() > (by_chance[:, -1] & best).sum()


def test_orthogonalization_makes_singular_values_alike():
    spread = {name: (x := spectra.spectra(make())[1])[0] / x[len(x) // 2] for name, make in spectra.LINKS.items()}
    assert spread["scale_by_muon"] < 3 < 10 < spread["scale_by_adam"]


def test_the_best_rate_ends_lowest():
    landscape = paths.LANDSCAPES["quadratic"]
    rate, points = paths.best_path(oc.sgd(0.1), landscape)
    others = [paths.path(oc.sgd(0.1), landscape, {"lr.learning_rate": x})[-1] for x in (rate / 3, 3 * rate)]
    assert landscape.function(jnp.asarray(points[-1])) < min(float(landscape.function(x)) for x in others)
    assert tuple(points[0]) == pytest.approx(landscape.start)
    assert np.isnan(paths.best_path(oc.lbfgs(), landscape)[0])  # has no rate to tune


def test_the_page_names_its_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "galleries", lambda: [schedules.pictures, rounding.pictures])
    assert main(["gallery", "--docs", str(tmp_path)]) == 0
    page = (tmp_path / "gallery.md").read_text()
    assert "![Schedules](pictures/gallery-schedules.svg)" in page
    assert (tmp_path / "pictures" / "gallery-rounding.svg").read_text().startswith("<svg")


def test_the_page_of_the_documentation_has_all_of_them():
    page = (small_runs.ROOT / "docs" / "gallery.md").read_text()
    for name in ("schedules", "rosenbrock", "beale", "quadratic", "spectra", "rounding", "masks"):
        assert f"pictures/gallery-{name}." in page
    schedules_made = [name for name, entry in registered().items() if entry.kind == SCHEDULE and entry.is_builtin]
    picture = (small_runs.ROOT / "docs" / "pictures" / "gallery-schedules.svg").read_text()
    assert picture.count('id="axes_') == len(schedules_made)  # drawn again since the last schedule was added
