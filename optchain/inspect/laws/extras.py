"""Extra arguments: those that nobody knows are ignored, those that are read are asked for, and all are handed on."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.control.accumulate import accumulate
from optchain.control.guard import guard
from optchain.core.walk import readers
from optchain.inspect.laws.check import Broken, Skipped, law
from optchain.inspect.laws.steps import every_extra, gradients, require_close, take_step


@law
def extra_arguments(tx: Any, params: Any) -> None:
    """Unknown extra arguments are ignored."""
    start, grads = (params, tx.init(params)), gradients(params)
    require_close("the result ", take_step(tx, start, grads, unknown=jnp.ones(())), take_step(tx, start, grads), 0, 0)


@law
def extra_arguments_forwarded(tx: Any, params: Any) -> None:
    """Extra arguments pass through accumulation and a guard around it."""
    seen = []

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        seen.append(set(extra))
        return tx.update(updates, state, params, **extra)

    spy = optax.GradientTransformationExtraArgs(tx.init, update)
    wrapped = guard(accumulate(spy, 1))
    start, grads = (params, wrapped.init(params)), gradients(params)
    jax.eval_shape(lambda c: take_step(wrapped, c, grads, told=jnp.ones(())), start)
    if not any("told" in extra for extra in seen):
        raise Broken("the extra argument `told` did not arrive")


@law
def forgotten_extra_arguments(tx: Any, params: Any) -> None:
    """An extra argument that an update reads is asked for: to forget it is an error that names it."""
    grads, start = gradients(params), tx.init(params)
    extra = every_extra()
    declared = {name for name in extra if readers(tx, name)}
    names = declared | _read(tx, grads, start, params, extra)
    for name in sorted(names):
        rest = {key: x for key, x in extra.items() if key != name}
        try:
            jax.eval_shape(lambda rest=rest: tx.update(grads, start, params, **rest)[0])
        except (ValueError, TypeError) as error:
            if name not in str(error):
                raise Broken(f"the error does not name {name!r}: {error}") from None
        else:
            raise Broken(f"{name!r} is read, and an update without it is another one, silently")
    if not names:
        raise Skipped("it reads none")


def _read(tx: Any, grads: Any, state: Any, params: Any, extra: dict[str, Any]) -> set[str]:
    """The names of the extra arguments that an update calls, or whose arrays take part in its program."""
    called: set[str] = set()

    def spied(name: str, function: Any) -> Any:
        def spy(*args: Any, **kwargs: Any) -> Any:
            called.add(name)
            return function(*args, **kwargs)

        return spy

    functions = {name: spied(name, x) for name, x in extra.items() if callable(x)}
    arrays = {name: x for name, x in extra.items() if not callable(x)}
    program = jax.make_jaxpr(lambda arrays: tx.update(grads, state, params, **arrays, **functions))(arrays).jaxpr
    used = {id(x) for eqn in program.eqns for x in eqn.invars} | {id(x) for x in program.outvars}
    places = zip(jax.tree.leaves_with_path(arrays), program.invars, strict=True)
    return called | {path[0].key for (path, _), x in places if id(x) in used}
