"""Matrices by owners beside the techniques as the compiler divides them: arithmetic, messages and state a device."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import optchain as oc
from experiments.benchmarks import record
from experiments.benchmarks.mesh import held, relative
from experiments.benchmarks.transformer import CONFIG, of_transformer
from optchain.inspect.collectives import collectives

DEVICES, MATRICES, SHAPES = 8, 8, 12
TECHNIQUES = {
    "muon": oc.scale_by_muon(),
    "normuon": oc.scale_by_normuon(),
    "scion": oc.scale_by_scion(),
    "dion": oc.scale_by_dion(),
    "shampoo": oc.scale_by_shampoo(),
    "soap": oc.scale_by_soap(),
    "kl_soap": oc.scale_by_kl_soap(),
    "kron": oc.scale_by_kron(),
    "galore": oc.scale_by_galore(),
    "apollo": oc.scale_by_apollo(),
    "fira": oc.scale_by_fira(),
}
LAYOUTS = {"rows": jax.P("x"), "columns": jax.P(None, "x"), "copies": jax.P()}
KINDS = {"auto": jax.sharding.AxisType.Auto, "explicit": jax.sharding.AxisType.Explicit}


def run(width: int, layers: int, steps: int, only: list[str], out: Path) -> Path:
    """Measure, print and record; the path of the record.

    Args:
        width: of the square matrices; eigenbases of others are any where singular values are 0.
        layers: of the transformer.
        steps: of its training.
        only: names of techniques; all if left empty.
        out: file to append the rows to.
    """
    rows = [row for name in only or TECHNIQUES for row in of_matrices(name, TECHNIQUES[name], width)]
    record.show(f"{MATRICES} matrices of {width} x {width} on {DEVICES} devices, three steps, beside one device", rows)
    goals = list(of_goals(rows, width))
    record.show("Goals", goals)
    odd = [] if only and "muon" not in only else list(of_shapes(width))
    record.show(f"Muon on {SHAPES} shapes that occur once, on {DEVICES} devices, beside one device", odd)
    trained = list(of_transformer(layers, steps, DEVICES))
    record.show(f"{CONFIG} with {layers} layers, {steps} steps, on {DEVICES} devices", trained)
    record.append(out, [*rows, *goals, *odd, *trained])
    return out


def of_matrices(name: str, technique: Any, width: int) -> Iterator[record.Row]:
    """A technique in each layout, as it is and by owners."""
    yield from of_layouts(name, technique, [(width, width)] * MATRICES)


def of_shapes(width: int) -> Iterator[record.Row]:
    """Muon on matrices of as many shapes as there are matrices, in each layout, as it is and by owners."""
    yield from of_layouts("muon", TECHNIQUES["muon"], [(width + i * width // 2, width) for i in range(SHAPES)])


def of_layouts(name: str, technique: Any, shapes: list[tuple[int, int]]) -> Iterator[record.Row]:
    """A technique on matrices of these shapes in each layout, as it is and by owners."""
    tx = oc.chain(technique, oc.scale_by_learning_rate(0.01))
    alone = Stepped(tx, shapes)
    for kind, axes in KINDS.items():
        mesh = jax.make_mesh((DEVICES,), ("x",), (axes,))
        for layout, spec in LAYOUTS.items():
            for way, its in {"as it is": tx, "by owners": oc.distributed(tx, "x")}.items():
                stepped = Stepped(its, shapes, jax.NamedSharding(mesh, spec))
                yield {
                    "technique": name,
                    "mesh": kind,
                    "layout": layout,
                    "run": way,
                    "flops": stepped.flops / alone.flops,
                    "state": stepped.state / alone.state,
                    **stepped.sent,
                    "differs by": max(map(relative, jax.tree.leaves(stepped.params), jax.tree.leaves(alone.params))),
                }


class Stepped:
    """Three steps on matrices, and what is known of the compiled step.

    Args:
        tx: what is stepped.
        shapes: of the matrices.
        layout: of each of them; on one device if left out.
    """

    def __init__(self, tx: optax.GradientTransformation, shapes: list[tuple[int, int]], layout: Any = None) -> None:
        def drawn(seed: int) -> dict[str, jax.Array]:
            draw = np.random.default_rng(seed)
            tree = {f"w{i}": draw.standard_normal(shape, dtype=np.float32) for i, shape in enumerate(shapes)}
            return jax.device_put(tree, layout or jax.devices()[0])

        params = drawn(0)
        state = jax.jit(tx.init, out_shardings=oc.shardings(tx, params))(params)
        places = jax.tree.map(lambda x: x.sharding, (params, state))
        step = jax.jit(functools.partial(oc.apply, tx), donate_argnums=(1, 2), out_shardings=places)
        compiled = step.lower(drawn(1), state, params).compile()
        self.flops, self.state = compiled.cost_analysis()["flops"], held(state)
        sent = collectives(compiled.as_text())
        self.sent = {
            "collectives": ", ".join(f"{x.count} {kind}" for kind, x in sent.items()) or "none",
            "B sent": sum(x.bytes for x in sent.values()),
        }
        for seed in range(3):
            params, state = compiled(drawn(seed + 1), state, params)
        self.params = params


def of_goals(rows: list[record.Row], width: int) -> Iterator[record.Row]:
    """What is to be reached by owners."""
    owned = [row for row in rows if row["run"] == "by owners"]
    share = 1.2 * -(-MATRICES // DEVICES) / MATRICES
    for name in dict.fromkeys(row["technique"] for row in owned):
        mine = [row for row in owned if row["technique"] == name]
        yield record.goal(f"{name}: flops of one device's", max(row["flops"] for row in mine), share)
        yield record.goal(f"{name}: state of one device's", max(row["state"] for row in mine), 1.2 / DEVICES)
        split = [row["B sent"] for row in mine if row["layout"] != "copies"]
        stack = MATRICES * width * width * 4
        yield record.goal(f"{name}: bytes received, of a stack's N-th part", max(split) / (stack / DEVICES), 2.2)
        yield record.goal(f"{name}: differs by", max(row["differs by"] for row in mine), 1e-4)
