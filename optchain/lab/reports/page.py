"""One HTML file that needs nothing else."""

import html
import re
from pathlib import Path

from optchain.lab.base.files import write_whole

LONG = 20  # characters; a longer cell may take several lines
NUMBER = re.compile(r"[-±<]?[\d.]|-?$|never$|nan$|inf$")  # how a cell begins that is one, or that has none
HALF = re.compile(r"(?<=\S )± \S+( %)?$")  # of an interval: the second line where a column has to be narrow

CSS = """
:root { color-scheme: light; }
body { background: #f5f7fa; color: #1f2933; font: 16px/1.55 system-ui, sans-serif; margin: 0; }
main { margin: 0 auto; max-width: 1180px; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .8rem; }
p { overflow-wrap: anywhere; } p.sub { color: #52606d; margin: 0 0 1.4rem; }
.tiles, .charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); }
.charts { grid-template-columns: repeat(auto-fill, minmax(min(460px, 100%), 1fr)); }
.slices { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); }
.charts + p.sub, .slices + p.sub, .chart + p.sub { margin: .8rem 0 0; }
.charts .card { align-self: start; }
main > .card, main > .chart, main > .tiles, details > .card { margin-bottom: 1rem; }
.note { background: #fff6e5; border: 1px solid #f0d7a1; border-radius: 10px; margin: 0 0 .8rem; padding: .7rem 1.1rem; }
.tile, .chart, .card { background: #fff; border: 1px solid #e4e8ee; border-radius: 10px; padding: .9rem 1.1rem; }
.tile b { display: block; font-size: 1.45rem; font-variant-numeric: tabular-nums; line-height: 1.25; }
.tile:first-child b { font-size: 1.6rem; }
.tile span { color: #52606d; font-size: .85rem; }
.chart { overflow-x: auto; padding: .5rem; } .chart svg { display: block; height: auto; width: 100%; }
main > .chart svg { min-width: 46rem; }
.card { background: linear-gradient(90deg, #fff 50%, #fff0) left / 2rem 100% no-repeat local,
  linear-gradient(270deg, #fff 50%, #fff0) right / 2rem 100% no-repeat local,
  linear-gradient(90deg, #1f293326, #1f293300) left / .8rem 100% no-repeat scroll,
  linear-gradient(270deg, #1f293326, #1f293300) right / .8rem 100% no-repeat scroll, #fff;
  overflow-x: auto; padding: 0; }  /* a shadow at each end where there is more to scroll to */
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { border-bottom: 1px solid #e4e8ee; padding: .5rem .65rem; text-align: right; white-space: nowrap; }
.text, .prose { text-align: left; } .prose, .interval, th { white-space: normal; }
td span { white-space: nowrap; } .prose { min-width: 8rem; overflow-wrap: anywhere; }
th { color: #52606d; font-size: .85rem; font-weight: 600; } tr:last-child td { border-bottom: 0; }
pre { font: 13px/1.5 ui-monospace, monospace; margin: 0; overflow-x: auto; padding: .9rem 1.1rem; }
pre.wrapped { overflow-wrap: anywhere; white-space: pre-wrap; }
details { margin-top: 1rem; } summary { cursor: pointer; font-size: 1.15rem; font-weight: 600; }
h3 { color: #52606d; font-size: .9rem; margin: 1.1rem 0 .4rem; }
footer { color: #7b8794; font-size: .85rem; margin-top: 2.5rem; }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


def page_of(title: str, body: list[str]) -> str:
    """A page of these parts, each of which is HTML."""
    return PAGE.format(title=html.escape(title), css=CSS, body="\n".join(body))


def write_page(path: Path, text: str) -> None:
    """Write a page, in a folder that is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)


def tiles(numbers: list[tuple[str, str]]) -> str:
    """Numbers, large, each over what it is."""
    kept = [(html.escape(x).replace("± ", "±&nbsp;"), html.escape(name)) for x, name in numbers]
    cells = (f'<div class="tile"><b>{x}</b><span>{name}</span></div>' for x, name in kept)
    return f'<div class="tiles">{"".join(cells)}</div>'


def notes(lines: list[str]) -> str:
    """Warnings, each in a box of its own."""
    return "".join(f'<p class="note">{html.escape(line)}</p>' for line in lines)


def card(text: str) -> str:
    """Plain text in a box: of one line that takes several where the page is narrow, or of lines in columns."""
    kind = "" if "\n" in text else ' class="wrapped"'
    return f'<div class="card"><pre{kind}>{html.escape(text)}</pre></div>'


def table(rows: list[dict[str, str]]) -> str:
    """Rows by the names of their columns. What is no number stands at the left, and may take several lines if long."""
    header = list(dict.fromkeys(name for row in rows for name in row))
    cells = [{name: row.get(name, "-") for name in header} for row in rows]
    kind = {name: _kind([row[name] for row in cells]) for name in header} | dict.fromkeys(header[:1], "text")
    kind |= {name: "prose" for name in header if max(len(row[name]) for row in cells) > LONG}
    kind |= {name: "interval" for name in header[1:] if any(HALF.search(row[name]) for row in cells)}
    # A dotted key may take several lines, too.
    lines = [[f'<th class="{kind[name]}">{html.escape(name).replace(".", ".<wbr>")}</th>' for name in header]]
    lines += [[f'<td class="{kind[name]}">{_text(row[name])}</td>' for name in header] for row in cells]
    return '<div class="card"><table>' + "\n".join(f"<tr>{''.join(line)}</tr>" for line in lines) + "</table></div>"


def _text(cell: str) -> str:
    return HALF.sub(r"<span>\g<0></span>", html.escape(cell))


def _kind(column: list[str]) -> str:
    return "number" if all(map(NUMBER.match, column)) else "text"
