"""The README runs as it stands and names everything there is."""

import re
from pathlib import Path

import jax

import optchain as oc
from optchain.inspect.technique_tables import rooms

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_code_runs(capsys, caplog, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        with jax.numpy_rank_promotion("allow"), jax.log_compiles():  # the first is the reader's own setting
            exec(compile(block, "README.md", "exec"), scope)
    assert scope["loss"] < 1e-2
    # Not `_cache_size`: after thousands of other functions jax may have forgotten this one.
    compiled = [record for record in caplog.records if record.getMessage().startswith("Compiling jit(step)")]
    assert len(compiled) == 2  # one for the loop, one with `hyper`
    assert "clip_by_global_norm" in capsys.readouterr().out


def test_the_table_is_what_print_shows(capsys):
    scope = {}
    first = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    exec(compile(first, "README.md", "exec"), scope)
    assert capsys.readouterr().out.strip() in README


def test_it_is_a_landing_page():
    assert len(README.splitlines()) <= 150


def test_every_technique_has_a_page_of_the_documentation():
    pages = navigated(ROOT / "mkdocs.yml")
    assert {f"techniques/{room}.md" for room in rooms()} <= pages
    assert set(oc.techniques()) <= {name for makers in rooms().values() for name in makers}


def navigated(path):
    """The pages in the navigation of the documentation."""
    return set(re.findall(r"[\w./-]+\.md", path.read_text()))
