import re

import pytest
import small_runs

from experiments.__main__ import main
from experiments.claims import page as pages
from experiments.claims.tables import read
from optchain import lab

DOCS = small_runs.ROOT / "docs"
CLAIMS = sorted((small_runs.ROOT / "configs" / "claims").glob("*.toml"))

CLAIM = """
id = "C1"
statement = "A rate of 1e-5 is as good as a tuned one."
expected = "does not hold"
because = "It hardly moves."

[search]
sampler = "random"
trials = 4
parallel = "vmap"
fresh = 3

[task]
use = "experiments.tasks.circles:circles"
validation = 200
test = 200

[model]
hidden = [8]

[train]
steps = 60
batch = 32
evaluate_every = 20
checkpoint_every = 60

[optimizer]
use = "adam"
learning_rate = 1e-5

[arms.small]

[arms.tuned]
space."optimizer.learning_rate" = { use = "log", low = 3e-3, high = 1e-1 }

[[checks]]
says = "Both end at the same test loss"
arm = "small"
than = "tuned"
relation = "equal"
margin = 0.05
"""


@pytest.mark.full
def test_a_claim_is_tried_and_judged(tmp_path, capsys):
    path = tmp_path / "claim.toml"
    path.write_text(CLAIM)
    arguments = ["claims", str(path), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "does not hold" in out and "(expected" not in out
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(text in page for text in ("A rate of 1e-5", "the contrary", "within ± 0.05 of tuned", "3"))
    # Nothing is run a second time, and what was measured is kept for the documentation.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/**/result.json")}
    assert main([*arguments, "--docs", str(tmp_path / "docs")]) == 0 and len(before) == 4 + 3 + 3
    (kept,) = pages.read(tmp_path / "docs" / "claims.json")
    assert (kept.id, kept.verdict, kept.seen[0].outcome) == ("C1", "does not hold", "the contrary")
    assert kept.seen[0].mean > 0.05 and "A rate of 1e-5" in (tmp_path / "docs" / "claims.md").read_text()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # Another configuration is refused, unless what was measured is to be removed.
    longer = ["--set", "train.steps=80"]
    capsys.readouterr()
    assert (
        main([*arguments, *longer]) == 2 and "start anew with another --out or --overwrite" in capsys.readouterr().err
    )
    spoiled = path.read_text()
    path.write_text(spoiled.replace('relation = "equal"', 'relation = "equal"\nscore = "trian loss"'))
    assert main([*arguments, "--overwrite"]) == 2 and all(one.exists() for one in before)  # nothing is lost for it
    path.write_text(spoiled)
    assert main([*arguments, *longer, "--overwrite"]) == 0
    assert {path.stat().st_mtime_ns for path in before}.isdisjoint(before.values())


def test_a_check_of_a_score_that_there_is_not_is_found_before_anything_runs(tmp_path, capsys):
    path = tmp_path / "claim.toml"
    path.write_text(CLAIM.replace("margin = 0.05", 'margin = 0.05\nscore = "trian loss"'))
    assert main(["claims", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "checks[0]: got score 'trian loss'; expected one of train loss, train accuracy, " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('than = "tuned"', 'than = "tunned"', "checks[0]: got arm 'tunned'; expected one of small, tuned"),
        ("margin = 0.05", "", "margin belongs to equal"),
        ('relation = "equal"\nmargin = 0.05', 'relation = "lower"\nvalue = 1.0', "value belongs to above and below"),
        ('id = "C1"', 'id = "first"', "should match pattern"),
        ("low = 3e-3", "low = 3.0", "arms.tuned: space.optimizer.learning_rate: low = 3 is not below"),
        ('expected = "does not hold"', 'expected = "no"', "expected: got 'no'"),
        ('because = "It hardly moves."', "", "claim.toml: because: Field required\n"),
        ('statement = "', 'statment = ""\nstatement = "', "arms.small: statment: unknown key"),
    ],
)
def test_claims_that_make_no_sense_are_errors(tmp_path, capsys, old, new, message):
    path = tmp_path / "claim.toml"
    assert old in CLAIM
    path.write_text(CLAIM.replace(old, new))
    assert main(["claims", str(path), "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_an_arm_that_cannot_be_built_is_an_error_before_anything_runs(tmp_path, capsys):
    path = tmp_path / "claim.toml"
    path.write_text(CLAIM.replace("[arms.small]", '[arms.small]\nset."model.hiden" = [4]'))
    assert main(["claims", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "arms.small: model.hiden: unknown key; did you mean 'hidden'" in capsys.readouterr().err
    path.write_text(CLAIM.replace("[arms.small]", '[arms.small]\nset."optimizer.learning_rate.x" = 1'))
    assert main(["claims", str(path), "--out", str(tmp_path / "out")]) == 2
    assert (
        "arms.small: optimizer.learning_rate.x: optimizer.learning_rate is 1e-05, no table" in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.full
def test_an_arm_that_needs_what_is_not_installed_is_left_out_and_named(tmp_path, capsys):
    path = tmp_path / "claim.toml"
    arm = """[arms.gp]
search = { sampler = "gp" }
needs = "not_installed"
space."optimizer.learning_rate" = { use = "log", low = 3e-3, high = 1e-1 }
"""
    path.write_text(f'{CLAIM}\n[[checks]]\nsays = "None"\narm = "gp"\nthan = "tuned"\nrelation = "lower"\n{arm}')
    assert main(["claims", str(path), "--out", str(tmp_path / "out")]) == 0
    assert "(left out, because what it needs is not installed: gp)" in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Left out, because what it needs is not installed: gp." in page
    assert not (tmp_path / "out" / "C1" / "arms" / "gp").exists()
    # Of a claim without any check left nothing is said.
    path.write_text(CLAIM.replace('arm = "small"', 'arm = "gp"') + arm)
    assert main(["claims", str(path), "--out", str(tmp_path / "none")]) == 0
    told = capsys.readouterr()
    assert "C1: left out" in told.err and "holds" not in told.out


@pytest.mark.parametrize("path", CLAIMS, ids=lambda path: path.stem)
def test_the_claims_are_valid(path):
    claim = read(path)
    assert path.stem.startswith(f"{claim.id.lower()}_")
    for studies in claim.all_studies(path, {}).values():
        assert studies[0].tables["task"].get("test") or re.search("train", str(claim.checks))
        assert len(studies) == claim.studies and len(studies[0].fresh_seeds) >= 2


@pytest.mark.full
def test_the_quick_claims_come_out_as_expected(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(small_runs.ROOT)
    assert main(["claims", "--quick", "--out", str(tmp_path)]) == 0
    verdicts = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("report")]
    assert len(verdicts) >= 3 and not any("(expected" in line for line in verdicts)


def test_other_claims_of_the_file_stay(tmp_path):
    kept = [one for one in pages.read(DOCS / "claims.json") if one.id in ("C1", "C2")]
    assert [one.id for one in kept] == ["C1", "C2"]
    (tmp_path / "claims.json").write_text((DOCS / "claims.json").read_text())
    pages.write([], tmp_path)
    assert pages.read(tmp_path / "claims.json") == pages.read(DOCS / "claims.json")
    assert (tmp_path / "claims.md").read_text() == (DOCS / "claims.md").read_text()


def test_the_page_has_every_claim():
    kept = pages.read(DOCS / "claims.json")
    assert {one.id for one in kept} == {f"C{i}" for i in range(1, 19)}
    assert {one.id for one in map(read, CLAIMS)} == {one.id for one in kept}
    assert (DOCS / "claims.md").read_text() == pages.markdown(kept)
    for one in kept:
        claim = read(small_runs.ROOT / one.command.split()[-1])
        assert (one.statement, one.expected) == (claim.statement, claim.expected)


def test_a_file_that_holds_no_claims(tmp_path):
    (tmp_path / "claims.json").write_text('[{"id": "C1"}]')
    with pytest.raises(lab.InputError, match=r"(?s)claims.json: .*statement"):
        pages.read(tmp_path / "claims.json")
