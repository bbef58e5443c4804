import jax.numpy as jnp
import numpy as np
import pytest

import optchain as oc


@pytest.mark.parametrize("staleness, divisor", [(0, 1), (1, 1), (4, 4), (jnp.int32(3), 3), (None, 1)], ids=str)
def test_divides_by_the_staleness(staleness, divisor):
    params, tx = {"w": jnp.array([1.0, -2.0])}, oc.scale_by_staleness()
    u, _ = tx.update(params, tx.init(params), params, staleness=staleness)
    np.testing.assert_allclose(u["w"], params["w"] / divisor, rtol=1e-7)


def test_it_asks_for_the_staleness():
    params, tx = {"w": jnp.ones(2)}, oc.scale_by_staleness()
    with pytest.raises(ValueError, match="scale_by_staleness needs the extra argument `staleness`, how many steps"):
        tx.update(params, tx.init(params), params)
