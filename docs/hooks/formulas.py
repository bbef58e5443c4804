"""Formulas as MathML, which browsers draw themselves: no page loads a script for them."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """The page with MathML for each formula, as mkdocs calls it."""
    return FORMULA.sub(_drawn, content)


def _drawn(found: re.Match[str]) -> str:
    is_block = found[1] == "div"
    text = html.unescape(found[2]).strip()[2:-2]  # without the delimiters
    return convert(" ".join(text.split()), display="block" if is_block else "inline")
