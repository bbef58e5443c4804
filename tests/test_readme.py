"""The README runs as it stands and names everything there is."""

import re
from pathlib import Path

import jax

import optchain as oc

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_code_runs(capsys):
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        with jax.numpy_rank_promotion("allow"):  # the reader's own setting
            exec(compile(block, "README.md", "exec"), scope)
    assert scope["loss"] < 1e-2
    assert scope["step"]._cache_size() == 2  # one for the loop, one with `hyper`
    assert "clip_by_global_norm" in capsys.readouterr().out


def test_every_technique_is_in_the_table():
    table = README.split("## What there is")[1].split("\n## ")[0]
    missing = [name for name in oc.techniques() if f"`{name}`" not in table]
    assert not missing
