"""What is published says the same everywhere."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_citation_has_the_version_and_the_license_of_the_package():
    citation = dict(re.findall(r"^(\w[\w-]*): (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE))
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"]
    assert PROJECT["authors"][0]["name"] in (ROOT / "CITATION.cff").read_text()
    assert PROJECT["authors"][0]["name"] in (ROOT / "NOTICE").read_text()


def test_the_changelog_has_what_comes_next():
    assert re.search(r"^## Unreleased$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_python_versions_are_those_that_are_tested():
    named = {x.rpartition(" ")[2] for x in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", x)}
    tested = re.search(r"^PYTHONS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert tested is not None and named == {"3.11", *tested[1].split()}
