"""What the oldest versions of JAX that the library runs on lack: the one place where tests are skipped by name."""

import fnmatch

import jax
import pytest

VERSION = jax.__version_info__
if VERSION < (0, 8):
    from jax.experimental import enable_x64

    jax.enable_x64 = enable_x64  # pyright: ignore

# The first version that has it, the tests that need it (a pattern of their names), and what it is.
NEEDS: list[tuple[tuple[int, ...], str, str]] = [
    ((0, 8, 1), "*test_qk.py::test_flax_nnx_supplies_the_logits_by_sow", "its newest Flax, 0.12.0, has no nnx.capture"),
]


def skip_what_is_lacking(items: list[pytest.Item]) -> None:
    """Mark the tests that need a newer version of JAX than this."""
    for first, pattern, reason in NEEDS:
        if VERSION < first:
            version = ".".join(map(str, first))
            for item in items:
                if fnmatch.fnmatch(item.nodeid, pattern):
                    item.add_marker(pytest.mark.skip(reason=f"JAX before {version}: {reason}"))
