"""The table of parameters and the links that step them."""

import jax.numpy as jnp
import optax
import pytest

import optchain as oc

PARAMS = {
    "frozen": {"kernel": jnp.ones((2, 2))},
    "steps": jnp.arange(3),
    "table": {"embedding": jnp.ones((5, 2))},
    "body": {"kernel": jnp.ones((3, 2, 2)), "shift": jnp.ones((3, 2))},
}


def routes(tx, params=PARAMS):
    """The links of each parameter by its path."""
    lines = oc.routing(tx, params).splitlines()[2:]
    return {line.split(" ")[0]: line.rsplit("  ", 1)[1].strip() for line in lines}


def test_groups_wrappers_layers_and_links_of_optax():
    inner = oc.chain(adam=oc.scale_by_adam(), decay=oc.add_decayed_weights(0.1, mask=oc.is_matrix), lr=oc.scale(-0.1))
    groups = oc.groups(inner, {"frozen/*": oc.FROZEN, "table/*": oc.sgd(0.1), "*": {}})
    tx = oc.over_layers(oc.chain(clip=optax.clip(1.0), groups=oc.guard(groups)), "body/*")
    assert routes(tx) == {
        "body/kernel": "clip, groups.adam, groups.decay, groups.lr",
        "body/shift": "clip, groups.adam, groups.lr",
        "frozen/kernel": "clip",
        "steps": "-",
        "table/embedding": "clip, groups.sgd.lr",
    }


def test_single_techniques_and_transformations_of_optax():
    params = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
    assert routes(oc.scale(1.0, mask="w"), params) == {"w": "scale", "b": "-"}
    assert set(routes(optax.adam(0.1), params).values()) == {"optax.chain"}


def test_what_init_refuses_is_refused():
    with pytest.raises(ValueError, match="mask 'v' matches no parameter"):
        oc.routing(oc.scale(1.0, mask="v"), PARAMS)
