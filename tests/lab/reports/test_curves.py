"""What the charts of several runs show."""

import re

import pytest

from optchain.lab.reports.charts import COLORS, chart
from optchain.lab.reports.configurations import Configuration, colors_of
from optchain.lab.reports.curves import changes, optimizer_charts, score_chart
from optchain.lab.reports.page import card, table, tiles


def log(*losses):
    rows = [{"step": step, "loss": 2.0} for step in range(1, 81)]
    return rows + [
        {"step": 5 * i, "evaluation": {"step": 5 * i, "validation_loss": x}} for i, x in enumerate(losses, 1)
    ]


def marks(svg, color):
    """The places of a color's marks, without the one in the legend."""
    found = re.findall(rf'<use [^>]*x="([\d.]+)" y="([\d.]+)"[^>]*fill: {color}', svg)
    return set(found[:-1])


def test_runs_that_lie_on_one_another_have_marks_of_their_own():
    losses = [3 / i for i in range(1, 17)]
    svg = score_chart("loss", {name: log(*losses) for name in "abcde"}, log=True)
    places = [marks(svg, color) for color in COLORS[:5]]
    # What is drawn later covers what is drawn before; every run keeps a mark that none covers.
    assert all(found - set().union(*places[i + 1 :]) for i, found in enumerate(places))


def test_runs_of_one_configuration_have_its_color():
    one, other = Configuration({"lr": 1}, dict.fromkeys("ac")), Configuration({"lr": 2}, {"b": None})
    colors = colors_of([one, other])
    assert colors == {"a": COLORS[0], "c": COLORS[0], "b": COLORS[1]}
    assert len(set(colors_of([one]).values())) == 2  # of one configuration each run has its own
    svg = score_chart("loss", {name: log(2.0, 1.0) for name in "abc"}, colors=colors)
    assert COLORS[1] in svg and COLORS[2] not in svg


def test_what_clients_have_sent_adds_up():
    """Of each run in one chart; none where nobody sends anything."""
    sent = [[{"step": step, "bytes_up": size} for step in (1, 2, 4)] for size in (1e6, 3e6)]
    (svg,) = optimizer_charts({"less": sent[0], "more": sent[1]})
    assert "<!-- megabytes sent to the server -->" in svg and "<!-- 8 -->" in svg and "<!-- 10 -->" not in svg
    assert "<!-- less -->" in svg and "<!-- more -->" in svg
    assert optimizer_charts({"alone": log(2.0)}) == []


def test_long_texts_take_several_lines():
    assert "±&nbsp;0.02" in tiles([("0.15 ± 0.02", "loss")])
    assert 'class="wrapped"' in card("one line") and 'class="wrapped"' not in card("a  b\nc  d")
    title = "a title of so many words that it is much longer than what is drawn below it"
    assert "<!-- a title" in chart(title, [], ylabel="loss") and f"<!-- {title} -->" not in chart(
        title, [], ylabel="loss"
    )


def test_intervals_take_two_lines_in_narrow_columns():
    text = table([{"optimizer": "adam", "loss": "0.0014 ± 0.0006", "share": "70.00 ± 1.20 %", "why": "p ± q and more"}])
    assert '<td class="interval">0.0014 <span>± 0.0006</span></td>' in text
    assert '<td class="interval">70.00 <span>± 1.20 %</span></td>' in text and '<td class="text">p ± q and' in text


def test_a_legend_of_many_entries_stands_below_the_curves():
    def size(names):
        svg = score_chart("loss", {name: log(2.0, 1.0) for name in names})
        return [float(x) for x in re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', svg).groups()]

    (wide, low), (same, high) = size("abcdefgh"), size("abcdefghi")
    assert wide == same and low == pytest.approx(3.1 * 72) and low + 10 < high


def test_runs_with_one_evaluation_or_none_that_is_finite_are_drawn():
    svg = score_chart("loss", {"one": log(2.0), "none": log(None, None)}, log=True)
    assert svg.startswith("<svg")


def test_sizes_of_batches_are_drawn_where_they_vary():
    one = [{"step": step, "loss": 2.0, "batch": 32} for step in range(1, 9)]
    varied = [row | {"batch": 16 * (1 + row["step"] // 4)} for row in one]
    assert optimizer_charts({"one": one}) == []
    assert len(optimizer_charts({"one": varied})) == len(optimizer_charts({"one": one, "other": varied})) == 1


def test_changes_by_hand_are_lines_of_a_single_run():
    rows = log(2.0, 1.0)
    changed = [*rows, {"step": 40, "control": {"lr.learning_rate": 1e-3}}]
    assert changes({"one": changed}) == [40] and changes({"one": changed, "other": rows}) == []
    plain, marked = (score_chart("loss", {"one": one}) for one in (rows, changed))
    assert marked.count("stroke-dasharray") > plain.count("stroke-dasharray")
