"""A transformer trained on the devices of a mesh beside one device: what a device computes, receives and holds."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax

import optchain as oc
from experiments.benchmarks import loops, record
from experiments.benchmarks.mesh import held, relative
from optchain.inspect.collectives import Sent, collectives
from optchain.lab.runs.config import load
from optchain.lab.training.experiment import build  # what is compiled is what is looked at
from optchain.lab.training.program import Program

CONFIG = "configs/text/float32.toml"
# Small, because what is measured are counts: of the square matrices 32 x 32, of the others 32 x 128.
SMALL = ["model.width=32", "train.batch=8", "task.context=32", "task.validation=64", "task.test=64"]
VIEWS = {"*/out/kernel": "h k d -> (h k) d", "*/attention/*/kernel": "d h k -> d (h k)"}


def of_transformer(layers: int, steps: int, devices: int) -> Iterator[record.Row]:
    """AdamW, and Muon and SOAP for the matrices of the layers, as they are and by owners.

    SOAP as it is on a mesh is left out: its decompositions, gathered one by one, take a quarter of an hour.

    A row has the optimizer's step alone, on gradients laid out as the parameters, and the train step; flops as parts of
    those on one device, of the train step those of matrix products, in which LAPACK's are not.
    """
    fsdp = f"mesh={{data = 1, fsdp = {devices}}}"
    base = [*SMALL, f"model.layers={layers}", f"train.steps={steps}", f"train.evaluate_every={steps}"]
    muon = matrices(oc.scale_by_muon(scale="rms", mask=hidden))
    soap = matrices(oc.scale_by_soap(mask=hidden))
    alone: dict[str, Trained] = {}
    for name, tx, mesh in (
        ("AdamW", None, None),
        ("AdamW", None, fsdp),
        ("Muon", muon, None),
        ("Muon", muon, fsdp),
        ("Muon, by owners", oc.distributed(muon, "fsdp"), fsdp),
        ("SOAP", soap, None),
        ("SOAP, by owners", oc.distributed(soap, "fsdp"), fsdp),
    ):
        run = Trained([*base, *([mesh] if mesh else [])], tx, steps)
        one = alone.setdefault(name.partition(",")[0], run)
        yield {
            "run": f"{name}, {'one device' if mesh is None else 'FSDP'}",
            "flops of the optimizer": run.stepped / one.stepped,
            "flops of a step": run.flops / one.flops,
            "optimizer sends": listed(run.sent_by_optimizer),
            "a step sends": listed(run.sent),
            "parameters B": run.parameters,
            "state B": run.state,
            "state": run.state / one.state,
            "loss": float(run.losses[-1]),
            "differs by": relative(run.losses, one.losses),
        }


class Trained:
    """A run, and what is known of its compiled steps.

    Args:
        sets: what differs from the configuration file.
        tx: the optimizer; that of the file if left out.
        steps: how many.
    """

    def __init__(self, sets: list[str], tx: optax.GradientTransformation | None, steps: int) -> None:
        built = build(load(CONFIG, sets), CONFIG)
        built = built if tx is None else dataclasses.replace(built, tx=tx)
        program, table = Program(built), built.config
        carry = program.start(table)
        self.parameters, self.state = held(carry["params"]), held(carry["opt_state"])
        compiled = optimizer(built.tx, carry["params"], carry["opt_state"])
        self.stepped, self.sent_by_optimizer = compiled.cost_analysis()["flops"], collectives(compiled.as_text())
        text = program.compiled((carry, program.data["train"], program.setting(table)), steps).as_text()
        self.flops = loops.flops(text) / steps
        self.sent = {kind: Sent(x.count // steps, x.bytes // steps) for kind, x in loops.sent(text).items()}
        _, logs, _ = program.run(table, carry, steps)
        self.losses = np.asarray(logs["loss"])


def optimizer(tx: optax.GradientTransformation, params: Any, state: Any) -> Any:
    """One step, compiled for arrays that lie as these do."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), (params, state))
    places = jax.tree.map(lambda x: x.sharding, shapes)
    step = jax.jit(functools.partial(oc.apply, tx), donate_argnums=(1, 2), out_shardings=places)
    return step.lower(shapes[0], shapes[1], shapes[0]).compile()


def listed(sent: dict[str, Sent]) -> str:
    """How many collectives of each kind, and the kilobytes of their results."""
    return ", ".join(f"{x.count} {kind} ({x.bytes / 1e3:.1f} kB)" for kind, x in sent.items()) or "none"


def hidden(path: str, x: Any) -> bool:
    """Whether this is a matrix of a layer."""
    return path.startswith("layers/") and path.endswith("kernel")


def matrices(technique: optax.GradientTransformation) -> optax.GradientTransformation:
    """A technique for the matrices of the layers, and Adam for the rest."""
    tx = oc.chain(
        matrices=technique,
        rest=oc.scale_by_adam(mask=lambda path, x: not hidden(path, x)),
        lr=oc.scale_by_learning_rate(1e-3),
    )
    return oc.over_layers(oc.as_matrices(tx, VIEWS), "layers/*")
