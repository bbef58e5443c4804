"""The whole suite runs on eight CPU devices, with rank promotion and warnings as errors."""

import gc
import os
import time
from pathlib import Path

from compiler_flags import QUICKLY

# Each worker keeps its own cache: two that write the same entry at once would read half of it.
CACHE = Path(__file__).parent.parent / ".jax_cache" / os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE)  # a worker inherits that of the process that started it
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
# What the environment says comes last and so prevails.
os.environ["XLA_FLAGS"] = " ".join([*QUICKLY, os.environ.get("XLA_FLAGS", "")])

import chex  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402
from recorded_gradients import entries as entries  # noqa: E402
from recorded_gradients import recorded as recorded  # noqa: E402
from recorded_gradients import recorded_matrices as recorded_matrices  # noqa: E402
from versions import skip_what_is_lacking  # noqa: E402

chex.set_n_cpu_devices(8)
jax.config.update("jax_numpy_rank_promotion", "raise")
gc.set_threshold(20_000)  # tracing makes small objects by the million, and few of them are garbage


# Seconds since 1970 after which no test begins; a machine may be too slow for all that there are.
END = float(os.environ.get("TESTS_END", "inf"))


def pytest_runtest_setup():
    if time.time() > END:
        pytest.skip("the time for tests is over")


def pytest_collection_modifyitems(items):
    skip_what_is_lacking(items)


@pytest.fixture
def strict():
    """Strict dtype promotion for what a test does with our own functions; optax and nnx do not hold to it."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(autouse=True)
def own_settings_of_jax():
    """What a test sets in JAX ends with it: a command that it runs in this process may set what it likes."""
    before = dict(jax.config.values)
    yield
    for name, value in jax.config.values.items():
        if value != before[name]:
            jax.config.update(name, before[name])


@pytest.fixture(autouse=True)
def own_trace_counts():
    """chex counts traces by the name of a function, across tests."""
    chex.clear_trace_counter()
