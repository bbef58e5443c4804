"""A plugin of pytest that runs optax's own tests with our functions in the place of optax's of the same name.

The tests are those that the installed optax holds. What fails is listed in `optax_differences.toml`, with its class
and its reason; what fails and is not listed, or is listed and passes, fails the run. `--functions optax` runs the same
tests with optax's own functions, where only those of the class `optax` fail.
"""

import contextlib
import os
import re
import tomllib
import unittest
from collections import Counter
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import jax
import optax
import pytest
from compiler_flags import QUICKLY

CLASSES = {
    "intended": "we differ on purpose",
    "argument": "we lack an argument, or its value",
    "private": "reads a state or a function that is no part of the interface",
    "optax": "fails with optax's own functions too",
}
HOME = Path(optax.__file__).parent
LISTED = Path(__file__).with_name("optax_differences.toml")
# No function that is replaced is called in these files and folders.
UNREACHED = {
    "assignment",
    "losses",
    "microbatching",
    "perturbations",
    "projections",
    *(f"{name}_test.py" for name in ("base", "linear_algebra", "numerics", "optax", "utils")),
    *(f"_{name}_test.py" for name in ("casting", "random", "tree_math")),
}
OUTCOMES = ("passed", "skipped", "failed", *CLASSES, "reached")

called: list[str] = []  # what of ours the running test has called


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--functions", choices=["optchain", "optax"], default="optchain", help="whose functions are tested"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Starts jax, before a test file sets flags of its own, and puts our functions in their places."""
    os.environ["XLA_FLAGS"] = " ".join([*QUICKLY, "--xla_force_host_platform_device_count=8"])
    # Some tests compile the same loop at each step: each is compiled once. Two workers that share a cache read halves.
    cache = config.rootpath.parent.parent / ".jax_cache" / f"peers-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.devices()
    # A subtest that fails fails its test: what is listed are tests.
    unittest.TestCase.subTest = lambda self, *args, **kwargs: contextlib.nullcontext()  # pyright: ignore
    if config.getoption("functions") == "optchain":
        from optax_names import replace

        from optchain.core.definition import Definition

        replace(watched)
        Definition.init = watched(Definition.init)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return True if collection_path.name in UNREACHED else None


def watched(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that notes each call; what it refuses while a test file is imported fails later, in the tests."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        called.append(function.__name__)
        try:
            return function(*args, **kwargs)
        except (TypeError, ValueError) as error:
            if "PYTEST_CURRENT_TEST" in os.environ:
                raise
            return refused(error)

    return call


def refused(error: Exception) -> Any:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    return optax.GradientTransformationExtraArgs(fail, fail)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the tests that are listed."""
    names = {item: name_of(item) for item in items}
    for item, name in names.items():
        item.user_properties.append(("name", name))
    for kind, reason, pattern in differences():
        matching = [item for item, name in names.items() if re.fullmatch(pattern, name)]
        if not matching:
            raise pytest.UsageError(f"{LISTED.name}: no test is called {pattern!r}")
        for item in matching:
            if config.getoption("functions") == "optchain" or kind == "optax":
                item.user_properties.append(("class", kind))
                item.add_marker(pytest.mark.xfail(reason=f"{kind}: {reason}", strict=True))


def differences() -> Iterator[tuple[str, str, str]]:
    """Class, reason and pattern of each line that is listed."""
    for entry in tomllib.loads(LISTED.read_text())["differences"]:
        if entry["class"] not in CLASSES:
            raise pytest.UsageError(f"{LISTED.name}: class {entry['class']!r}; valid: {', '.join(CLASSES)}")
        for name in entry["tests"]:
            yield entry["class"], entry["reason"], ".*".join(map(re.escape, name.split("*")))


def name_of(item: Any) -> str:
    """A test's name, of file, function and arguments: `_src/alias_test.py::AliasTest.test_x (a=1)`."""
    arguments = getattr(item.cls, "_test_params_reprs", {}).get(item.name, "")
    name = re.sub(r"\d+$", "", item.name) if arguments else item.name
    return (
        f"{item.path.relative_to(HOME)}::{item.cls.__name__}.{name} {re.sub(' at 0x[0-9a-f]+', '', arguments)}".strip()
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    called.clear()
    try:
        return (yield)
    finally:
        item.user_properties.append(("reached", bool(called)))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tests by file and by outcome; `reached` counts those that called a function of ours."""
    counts: dict[str, Counter[str]] = {}
    for outcome in ("passed", "skipped", "failed", "xfailed"):
        for report in terminalreporter.stats.get(outcome, []):
            about = dict(report.user_properties)
            count = counts.setdefault(about["name"].split("::")[0], Counter())
            count[about["class"] if outcome == "xfailed" else outcome] += 1
            count["reached"] += about.get("reached", False)
            if outcome == "failed":
                terminalreporter.write_line(f"FAILED {about['name']}")
    terminalreporter.section(f"optax's tests with the functions of {config.getoption('functions')}")
    files = [*sorted(counts.items()), ("all", sum(counts.values(), Counter()))]
    for name, *cells in (("", *OUTCOMES), *((file, *(count[x] for x in OUTCOMES)) for file, count in files)):
        terminalreporter.write_line(f"{name:36}" + "".join(f"{cell:>10}" for cell in cells))
    for kind, meaning in CLASSES.items():
        terminalreporter.write_line(f"{kind}: {meaning}")
