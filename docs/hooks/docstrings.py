"""Docstrings as Markdown: formulas and references of reStructuredText, and the sections that are optchain's own."""

import inspect
import re
from typing import Any

import griffe

BLOCK = re.compile(r"^\.\. math::\n((?:[ ]{4}.*\n?|\n)+)", re.MULTILINE)
INLINE = re.compile(r":math:`([^`]+)`")
CODE = re.compile(r"``([^`]+)``")
ADDRESS = re.compile(r"(?<![(<\"])(https://[^\s)]+[^\s).,;])")
NUMBER = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


class Docstrings(griffe.Extension):
    """Rewrites every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text: str) -> str:
    """A docstring with the words of Markdown."""
    text = BLOCK.sub(lambda found: f"\n\\[\n{inspect.cleandoc(found[1])}\n\\]\n\n", inspect.cleandoc(text) + "\n")
    text = INLINE.sub(lambda found: f"\\({' '.join(found[1].split())}\\)", text)
    text = CODE.sub(r"`\1`", text)
    text = re.sub(r"^Fields:$", "Args:", text, flags=re.MULTILINE)
    text = re.sub(r"^References?:\n((?:    .*\n?)+)", lambda found: _references(found[1]), text, flags=re.MULTILINE)
    return NUMBER.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def _references(lines: str) -> str:
    entries = ADDRESS.sub(r"<\1>", inspect.cleandoc(lines))
    return f"**Source.** {' '.join(entries.split())}\n"
