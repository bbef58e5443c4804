"""The path of every full optimizer on three functions of two numbers, at the best of many rates."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import optchain as oc
from experiments.gallery.picture import BLUE, INK, ORANGE, SOFT, Picture, grid, png
from optchain.core.registry import registered
from optchain.core.walk import definitions, numbers_of

RATES = np.geomspace(1e-4, 10.0, 31)
STEPS = 200


class Landscape(NamedTuple):
    """A function, where it is least, where paths begin, and what is drawn of it."""

    function: Callable[[jax.Array], jax.Array]
    least: tuple[float, float]
    start: tuple[float, float]
    window: tuple[float, float, float, float]  # left, right, bottom, top


def rosenbrock(p: jax.Array) -> jax.Array:
    """A bent valley: easy to reach, hard to follow."""
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def beale(p: jax.Array) -> jax.Array:
    """A plain with steep walls."""
    x, y = p
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def quadratic(p: jax.Array) -> jax.Array:
    """A rotated bowl, a hundred times as steep in one direction as in the other."""
    along, across = (p[0] + p[1]) / 2**0.5, (p[0] - p[1]) / 2**0.5
    return 0.5 * along**2 + 50 * across**2


LANDSCAPES = {
    "rosenbrock": Landscape(rosenbrock, (1, 1), (-1.5, 1.5), (-2, 2, -1, 3)),
    "beale": Landscape(beale, (3, 0.5), (0.5, -1.5), (-1, 4, -2, 2)),
    "quadratic": Landscape(quadratic, (0, 0), (-1.8, -0.6), (-2, 1, -2, 1)),
}


def pictures() -> Iterator[Picture]:
    """A picture of each function."""
    presets = {
        name: entry
        for name, entry in sorted(registered().items())
        if entry.is_builtin and entry.make.__module__.startswith("optchain.presets")
    }
    for title, landscape in LANDSCAPES.items():
        made = {name: entry.make(**entry.example) for name, entry in presets.items()}
        found, refused = {}, {}
        for name, tx in made.items():
            try:
                found[name] = best_path(tx, landscape)
            except (TypeError, ValueError) as error:
                refused[name] = str(error).splitlines()[0]
        yield _drawn(title, landscape, found, refused)


def best_path(tx: Any, landscape: Landscape) -> tuple[float, np.ndarray]:
    """The rate that ends lowest, NaN where there is none to tune, and its path."""
    rates = [name for name in numbers_of(tx) if name.rpartition(".")[2] == "learning_rate"]
    paths = np.asarray(jax.jit(jax.vmap(lambda rate: path(tx, landscape, dict.fromkeys(rates, rate))))(RATES))
    ends = jax.vmap(landscape.function)(paths[:, -1])
    best = int(np.nanargmin(np.where(np.isfinite(ends), ends, np.inf)))
    return float(RATES[best]) if rates else float("nan"), paths[best]


def path(tx: Any, landscape: Landscape, hyper: dict[str, Any]) -> jax.Array:
    """The points of a run, the first one too."""
    loss = lambda params: landscape.function(params["p"])  # noqa: E731

    def step(carry: tuple[Any, Any], _: Any) -> tuple[tuple[Any, Any], jax.Array]:
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        extra: dict[str, Any] = {"value": value, "value_fn": loss, "grad": grads, "grad_fn": jax.grad(loss)}
        extra["hessian"] = {"p": jnp.diagonal(jax.hessian(landscape.function)(params["p"]))}
        reads = {x for _, link in definitions(tx) for x in link.reads}
        given = {name: extra.get(name) for name in reads}
        params, state = oc.apply(tx, grads, state, params, hyper=hyper, **given)
        return (params, state), params["p"]

    params = {"p": jnp.asarray(landscape.start)}
    _, points = jax.lax.scan(step, (params, tx.init(params)), None, STEPS)
    return jnp.concatenate([jnp.asarray(landscape.start)[None], points])


def _drawn(
    title: str, landscape: Landscape, found: dict[str, tuple[float, np.ndarray]], refused: dict[str, str]
) -> Picture:
    left, right, bottom, top = landscape.window
    x, y = np.meshgrid(np.linspace(left, right, 120), np.linspace(bottom, top, 120))
    heights = np.log10(np.asarray(landscape.function(jnp.stack([x, y]))) + 1e-3)
    ranked = sorted(found, key=lambda name: float(landscape.function(jnp.asarray(found[name][1][-1]))))
    figure, axes = grid(len(ranked), 8, 1.55, 1.7)
    for one, name in zip(axes, ranked, strict=True):
        rate, points = found[name]
        one.contour(x, y, heights, levels=12, colors=SOFT, linewidths=0.4)
        one.plot(*points.T, color=BLUE, linewidth=1.0)
        one.plot(*landscape.start, "o", color=INK, markersize=2.5)
        one.plot(*landscape.least, "*", color=ORANGE, markersize=6)
        one.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
        one.grid(False)
        said = "" if np.isnan(rate) else f", {rate:.2g}"
        end = float(landscape.function(jnp.asarray(points[-1])))
        one.set_title(f"{name}\n{end:.1e}{said}", fontsize=7, loc="left")
    left_out = f" Not drawn: {', '.join(f'{name} ({why})' for name, why in refused.items())}." if refused else ""
    text = (
        f"{landscape.function.__doc__} {STEPS} steps of every full optimizer at the best of {len(RATES)} learning "
        f"rates from {RATES[0]:g} to {RATES[-1]:g}, all other hyperparameters at their defaults; the lowest end first. "
        f"Below each name: the function's value at the end, and the rate.{left_out}"
    )
    return Picture(f"gallery-{title}", title.capitalize(), text, png(figure), "png")
