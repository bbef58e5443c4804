"""What packed parameters, and packed, refuse, each by an error that says what to do."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optchain as oc
from tests.packing.test_packed import drawn

WRONG = {
    "a wrapper": (lambda p: oc.packed(oc.guard(oc.adamw(1e-3))), "'guard' is a wrapper"),
    "of optax": (lambda p: oc.packed(oc.chain(a=optax.adam(1e-3))), "'a' is a transformation of optax"),
    "few bits": (
        lambda p: oc.precision(oc.packed(oc.scale_by_adam(), axis="data"), slots="int8").init(p),
        "few bits, whose leaves lie in stacks, and axis='data' splits flat buffers alone; leave out axis",
    ),
    "an axis": (lambda p: oc.packed(oc.sgd(0.1), axis=3), "name of a mesh axis"),
    "not packed": (lambda p: oc.pack(oc.sgd(0.1), p), "expected one packed"),
    "integers": (lambda p: oc.pack(oc.packed(oc.sgd(0.1)), {"n": jnp.ones(3, int)}), "leaf 'n' is int32"),
    "a plain tree": (lambda p: oc.unpack(p), "expected what oc.pack"),
    "a mask": (lambda p: oc.adamw(0.1, mask=oc.is_kernel).init(together(p)), "looks at single ones"),
    "matrices": (lambda p: oc.scale_by_muon().init(together(p)), "scale_by_muon: the parameters are packed"),
    "a wrapper that counts": (
        lambda p: oc.cautious(oc.packed(oc.scale_by_adam())).init(oc.pack(oc.packed(oc.scale_by_adam()), p)),
        "cautious: the parameters are packed, and it looks at single ones; step plain parameters",
    ),
    "a mask of a norm": (lambda p: oc.clip_by_global_norm(1.0, mask=oc.is_kernel).init(together(p)), "single ones"),
    "a part of each": (lambda p: oc.top_k_mean(0.25, axis="d").init(together(p)), "top_k_mean: the parameters are"),
    "pruning": (lambda p: oc.sparse(tx(), 0.5).init(together(p)), "sparse: the parameters are packed"),
    "groups of some": (
        lambda p: oc.groups(tx(), {lambda _, x: x.ndim < 2: oc.FROZEN, "*": {}}).init(together(p)),
        "groups: the parameters are packed",
    ),
    "lanes": (lambda p: oc.unpack(lanes(tx(), p)), r"buffer 'flat' has shape \(2, 108\), expected \(108,\)"),
    "lanes of a state": (lambda p: lanes_of_a_state(oc.packed(oc.trace(0.9)), p), "one device, or of one lane"),
    "another": (lambda p: oc.packed(oc.muon(0.1)).init(together(p)), "packed for another transformation"),
    "groups": (lambda p: stepped(oc.groups(oc.packed(oc.sgd(0.1)), {"*": {"learning_rate": 2.0}}), p), "inside"),
    "plain gradients": (lambda p: tx().update(p, tx().init(together(p)), together(p)), "gradients are not"),
    "another tree": (lambda p: stepped(oc.packed(oc.adam(0.1)), p, {**p, "more": jnp.ones(2)}), "packed"),
}


def tx():
    return oc.packed(oc.sgd(0.1))


def together(params):
    return oc.pack(tx(), params)


def stepped(tx, params, first=None):
    return tx.update(params, tx.init(params if first is None else first), params)


def lanes(tx, params):
    return jax.vmap(lambda x: oc.pack(tx, jax.tree.map(lambda p: x * p, params)))(jnp.arange(2.0))


def lanes_of_a_state(tx, params):
    return oc.state_by_parameters(tx, jax.vmap(tx.init)(lanes(tx, params)), params)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_packed_is_named(wrong):
    make, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        make(drawn())
