"""Reports of the user's own."""

import math

import jax
import numpy as np
import pytest

from optchain import lab


def test_a_page_has_its_parts_in_order(tmp_path):
    page = lab.Page("Rates & seeds")
    page.heading("<First>")
    page.text("a < b")
    page.table([{"rate": 0.1, "score": lab.interval([1.0, 2.0, 3.0])}, {"rate": 0.2, "score": "-"}])
    page.forest("Loss", "test loss", {"small": [1.0, 1.2, math.nan], "large": [math.nan]})
    page.chart("Curve", "step", lambda axes: axes.plot([1, 2], [1.0, 30.0]), log=True)
    page.code("optchain train a.toml", "How to repeat it")
    page.code("plain")
    page.html("<hr>")
    path = page.write(tmp_path / "new" / "report.html")
    text = path.read_text()
    parts = [
        "<h1>Rates &amp; seeds</h1>",
        "<h2>&lt;First&gt;</h2>",
        "<p>a &lt; b</p>",
        "2.0000 <span>± 2.4841</span>",
        "<svg",
        "<svg",
    ]
    parts += ["<summary>How to repeat it</summary>", '<pre class="wrapped">plain</pre>', "<hr>"]
    parts += [f"jax {jax.__version__}", "</footer>"]
    at = 0
    for part in parts:
        at = text.index(part, at) + 1


def test_an_interval_is_that_of_independent_numbers():
    found = lab.interval([1.0, 2.0, 3.0])
    assert found == lab.Interval(2.0, pytest.approx(4.302652729911275 / np.sqrt(3)))
    assert math.isnan(lab.interval([1.0]).half) and str(lab.interval([])) == "-"
