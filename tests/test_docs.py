"""Every block of Python in the documentation runs as it stands, page by page."""

import re
from pathlib import Path

import jax
import pytest

DOCS = Path(__file__).parent.parent / "docs"
# The guide of the lab has files of a project, which its own test writes and runs.
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.name != "lab.md" and "```python" in path.read_text())


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


def test_pages_were_found():
    assert {"tour", "concepts", "flax"} <= {path.stem for path in PAGES}
