"""The README runs as it stands and names everything there is."""

import re
from pathlib import Path

import jax
import pytest

import optchain as oc
from optchain.inspect.technique_tables import written

README = (Path(__file__).parent.parent / "README.md").read_text()


@pytest.mark.full
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


def test_the_tables_are_those_of_the_techniques():
    assert written(README) == README, "README.md: run `make readme`"
    assert all(f"| `{name}` |" in README for name in oc.techniques())


def test_a_text_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="once each"):
        written("# A README")
