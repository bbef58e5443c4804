"""The page of an examination."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from optchain.lab.base.files import write_whole
from optchain.lab.probes.examination.corruptions import SEVERITIES
from optchain.lab.probes.examination.examine import Examination, Pictures
from optchain.lab.reports.charts import COLORS, STYLE, svg, text_of
from optchain.lab.reports.page import card, page_of, table, tiles, write_page

LISTED = 20  # suspects
CELL = 1.35  # inches of a picture


def write(found: Examination, page: Path, title: str) -> None:
    """Write the page, and the numbers beside it as JSON.

    Args:
        found: what came of the examination.
        page: the HTML file; the other has the same name and ends with `.json`.
        title: of the page.
    """
    write_page(page, page_of(title, list(_body(found))))
    write_whole(page.with_suffix(".json"), json.dumps(found.scores, indent=2) + "\n")


def lines_of(found: Examination) -> list[str]:
    """What came of it, on few lines."""
    held = found.calibration
    lines = [f"accuracy {found.accuracy:.2%} of {found.examples} {found.split} examples"]
    lines.append(
        f"calibration error {held.error:.2%}, {held.cured:.2%} at a temperature of {held.temperature:.3g} "
        f"(loss {held.loss:.4g}, {held.cured_loss:.4g})"
    )
    for name, shares in found.attacked.items():
        said = ", ".join(f"{share:.1%} at {size:.3g}" for size, share in zip(found.sizes, shares, strict=True))
        lines.append(f"attacked by {name}: {said}")
    lines += [f"{name}: {', '.join(f'{x:.1%}' for x in shares)}" for name, shares in found.corrupted.items()]
    for name, by in found.told_apart.items():
        lines.append(f"told from {name}: " + ", ".join(f"{x:.1%} by {kind}" for kind, x in by.items()))
    lines += [f"labels that are doubted: {len(x)} of the {split} examples" for split, x in found.suspects.items()]
    return lines


def _body(found: Examination) -> Any:
    held, worst = found.calibration, list(found.attacked.values())
    numbers = [
        (f"{found.accuracy:.1%}", f"accuracy, {found.examples} {found.split} examples"),
        (f"{held.error:.1%}", "calibration error"),
        (f"{held.temperature:.3g}", "temperature that cures it"),
    ]
    if worst:
        numbers.append((f"{worst[-1][-1]:.1%}", f"accuracy, moved by {found.sizes[-1]:.3g} at most"))
    yield tiles(numbers + [(str(len(x)), f"doubted {split} labels") for split, x in found.suspects.items()])
    yield "<h2>Is it as often right as it is sure?</h2>"
    yield f'<div class="charts"><div class="chart">{_reliability(found)}</div></div>'
    rows = [("as it is", held.error, held.loss), (f"at {held.temperature:.3g}", held.cured, held.cured_loss)]
    yield '<p class="sub">The larger a point, the more answers have that confidence.</p>'
    yield table([{"temperature": name, "calibration error": f"{x:.2%}", "loss": f"{y:.4f}"} for name, x, y in rows])
    yield "<h2>What it bears</h2>"
    if found.attacked:
        both = (f'<div class="chart">{chart(found)}</div>' for chart in (_attacked, _corrupted))
        yield f'<div class="charts">{"".join(both)}</div>'
    else:
        yield card("The inputs are not one array of real numbers: nothing was moved or corrupted.")
    if found.told_apart:
        yield "<h2>Does it know what it does not know?</h2>"
        made = [
            {"other inputs": name} | {k: f"{x:.1%}" for k, x in by.items()} for name, by in found.told_apart.items()
        ]
        yield table(made)
        yield '<p class="sub">How often what is known scores higher than the other inputs; 50 % is chance.</p>'
    yield "<h2>Labels that are doubted</h2>"
    yield from _suspects(found)
    if found.pictures is not None:
        yield "<h2>What it looks at</h2>"
        yield f'<div class="chart" style="max-width: 48rem">{_pictures(found.pictures)}</div>'
        yield '<p class="sub">Of integrated gradients and occlusion red speaks for the answer, and blue against it.</p>'


def _suspects(found: Examination) -> Any:
    listed = [(split, x) for split, suspects in found.suspects.items() for x in suspects]
    if not listed:
        yield card("None of the held-out examples is confidently of another class than its label.")
        return
    rows = [
        {
            "split": split,
            "row of the data": str(x.example),
            "label": found.names[x.given],
            "rather": found.names[x.likely],
            "margin": f"{x.margin:.3f}",
        }
        for split, x in sorted(listed, key=lambda pair: -pair[1].margin)[:LISTED]
    ]
    yield table(rows)
    if len(listed) > LISTED:
        yield f'<p class="sub">The surest {LISTED} of {len(listed)}; all are in the file beside this one.</p>'


def _reliability(found: Examination) -> str:
    def draw(axes: Axes) -> None:
        bins = found.calibration.bins
        axes.plot([0, 1], [0, 1], color="#9aa5b1", linestyle="--", linewidth=1)
        most = max(b.answers for b in bins)
        sizes = [8 + 90 * b.answers / most for b in bins]
        axes.scatter([b.confidence for b in bins], [b.accuracy for b in bins], sizes, color=COLORS[0])

    return svg("how often answers are right, by confidence", "confidence", draw, ylabel="accuracy")


def _attacked(found: Examination) -> str:
    def draw(axes: Axes) -> None:
        for (name, shares), color in zip(found.attacked.items(), COLORS, strict=False):
            axes.plot(found.sizes, shares, marker="o", markersize=3, color=color, label=name)
        if found.trained_size is not None:
            axes.axvline(
                found.trained_size, color="#9aa5b1", linestyle="--", linewidth=1, label="what it was trained with"
            )
        axes.set_ylim(-0.03, 1.03)
        axes.legend(fontsize=8, loc="lower left")

    return svg("accuracy under attack", "how far an entry may move", draw, ylabel="accuracy")


def _corrupted(found: Examination) -> str:
    def draw(axes: Axes) -> None:
        for (name, shares), color in zip(found.corrupted.items(), COLORS, strict=False):
            axes.plot((0, *SEVERITIES), (found.accuracy, *shares), marker="o", markersize=3, color=color, label=name)
        axes.set_ylim(-0.03, 1.03)
        axes.legend(fontsize=8)

    return svg("accuracy of corrupted inputs", "severity", draw, ylabel="accuracy")


def _pictures(pictures: Pictures) -> str:
    """A row for each image: the image, and what of it the answer rests on by each method."""
    titles, count = ["input", *pictures.maps], len(pictures.images)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(CELL * len(titles) + 1, CELL * count), layout="constrained")
        cells = figure.subplots(count, len(titles), squeeze=False)
        for i, image in enumerate(pictures.images):
            _show(cells[i, 0], image[..., 0] if image.shape[-1] != 3 else _in_range(image), "gray")
            said, given = pictures.answered[i], pictures.given[i]
            cells[i, 0].set_ylabel(said if said == given else f"{said}, not {given}", color="#52606d")
            for cell, (name, maps) in zip(cells[i, 1:], pictures.maps.items(), strict=True):
                most = float(np.abs(maps[i]).max()) or 1.0
                signed = name != "saliency"
                _show(cell, maps[i], "RdBu_r" if signed else "magma", (-most if signed else 0.0, most))
        for cell, title in zip(cells[0], titles, strict=True):
            cell.set_title(title, fontsize=9, color="#1f2933")
        return text_of(FigureCanvasSVG(figure))


def _show(axes: Axes, values: np.ndarray, colors: str, limits: tuple[float, float] | None = None) -> None:
    low, high = limits or (float(values.min()), float(values.max()))
    axes.imshow(values, cmap=colors, vmin=low, vmax=high, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)


def _in_range(image: np.ndarray) -> np.ndarray:
    low, high = image.min(), image.max()
    return (image - low) / max(float(high - low), 1e-12)
