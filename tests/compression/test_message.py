"""The bytes of a message, as they are told, are those that the devices of a mesh send."""

import jax
import jax.numpy as jnp
import pytest
from workers import AXIS, DEVICES, sent, zeros

import optchain as oc

SHAPES = {"kernel": (40, 24), "odd": (7, 11), "long": (600,), "bias": (24,), "scale": ()}
BY_SUM_OR_GATHER = {
    "top_k_mean": lambda axis: oc.top_k_mean(0.05, axis),
    "top_k_mean, all": lambda axis: oc.top_k_mean(0.6, axis),
    "random_k_mean": lambda axis: oc.random_k_mean(0.2, axis),
    "demo_mean": lambda axis: oc.demo_mean(0.1, axis, chunk=12),
    "sign_mean": lambda axis: oc.sign_mean(axis),
    "qsgd_mean, 4": lambda axis: oc.qsgd_mean(4, axis),
    "qsgd_mean, 8": lambda axis: oc.qsgd_mean(8, axis),
    "powersgd_mean": lambda axis: oc.powersgd_mean(2, axis),
    "masked": lambda axis: oc.top_k_mean(0.05, axis, mask="kernel"),
}


def collected(tx, shapes):
    """What each device contributes to the collectives of a step."""
    found = sent(tx, zeros(shapes))
    assert set(found) <= {"all-gather", "all-reduce"}
    return sum(x.bytes // (DEVICES if kind == "all-gather" else 1) for kind, x in found.items())


@pytest.mark.parametrize("case", BY_SUM_OR_GATHER)
def test_a_message_has_the_bytes_that_are_sent(case):
    make = BY_SUM_OR_GATHER[case]
    found = make(None).link.message(zeros(SHAPES))
    assert found == collected(make(AXIS), SHAPES)
    whole = sum(x.nbytes for x in zeros(SHAPES).values())
    assert (found == whole) == (case == "top_k_mean, all") and found <= whole


def test_the_codes_that_one_device_adds_up_are_those_of_a_message():
    """A leaf that the devices share out is cut into as many parts, each with scales of its own."""
    shapes = {"w": (DEVICES * 512,)}
    found = sent(oc.low_bit_mean(8, AXIS), zeros(shapes))
    assert oc.low_bit_mean(8).link.message(zeros(shapes)) == found["all-to-all"].bytes == DEVICES * (512 + 4)


def test_layers_and_views_are_messages_of_their_own():
    params = {"stack": jnp.zeros((3, 40, 24)), "conv": jnp.zeros((3, 3, 8, 24)), "bias": jnp.zeros(24)}
    tx = oc.over_layers(oc.as_matrices(oc.powersgd_mean(2), {"conv": "h w i o -> (h w i) o"}), {"stack": 1})
    numbers = 3 * 2 * (40 + 24) + 2 * (72 + 24) + 24
    assert tx.link.message(params) == 4 * numbers
    assert jax.jit(lambda p: p["bias"] * 0 + tx.link.message(p))(params)[0] == 4 * numbers  # of what is traced too
