"""Every block of Python in the documentation runs as it stands, page by page."""

import re
from pathlib import Path

import jax
import pytest

DOCS = Path(__file__).parent.parent / "docs"
# The guide of the lab has files of a project, which its own test writes and runs; the code of the errors fails.
APART = ("lab.md", "errors.md")
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.name not in APART and "```python" in path.read_text())
ERRORS = (DOCS / "errors.md").read_text()
RAISED = re.findall(r"## (.*?)\n\n```python\n(.*?)```\n\n```text\n(.*?)```", ERRORS, re.DOTALL)


@pytest.mark.full
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_code_of_a_page_runs(path, tmp_path, monkeypatch):
    for folder in ("configs", "experiments"):
        (tmp_path / folder).symlink_to(DOCS.parent / folder)
    monkeypatch.chdir(tmp_path)
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL):
        with jax.numpy_rank_promotion("allow"):  # the reader's own setting
            exec(compile(block, path.name, "exec"), scope)


@pytest.mark.parametrize(("title", "code", "text"), RAISED, ids=[title for title, *_ in RAISED])
def test_the_code_of_an_error_raises_it(title, code, text):
    scope = {}
    exec(re.findall(r"```python\n(.*?)```", ERRORS, re.DOTALL)[0], scope)
    kind, _, message = " ".join(text.split()).partition(": ")
    with pytest.raises(ValueError) as caught:
        exec(compile(code, title, "exec"), scope)
    assert type(caught.value).__name__ == kind and str(caught.value).splitlines()[0] == message


def test_pages_were_found():
    assert len(RAISED) == ERRORS.count("\n## ")
    assert {"tour", "concepts", "flax"} <= {path.stem for path in PAGES}
