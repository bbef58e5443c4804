"""States that version 0.1 kept, for migration, with the step that follows them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optchain as oc
from recorded.compositions import clipped_adamw, nested_chains
from recorded.inputs import bowl, nested, stored

HERE = Path(__file__).parent
STEPS = 7  # before the state is stored
PATHS = ("digits/out/kernel", "digits/out/bias", "text/attention/scale", "text/attention/qkv/kernel")
EMPTY = {"dict": {}, "tuple": (), "masked": optax.MaskedNode(), "none": None}  # nodes without leaves


class Before(NamedTuple):
    """A transformation after 7 steps, and what the next one leads to."""

    state: Any
    params: Any
    grads: Any
    after: Any  # the parameters after the next step


def transformations() -> dict[str, Any]:
    """What the stored states belong to; `narrow` says which have parameters in bfloat16."""
    return {
        "adamw": oc.adamw(1e-2),
        "nested chains": nested_chains(),
        "scale_by_adam": oc.scale_by_adam(),
        "groups": oc.groups(oc.adamw(1e-2), {"*/kernel": {}, "*/bias": oc.sgd(0.1), "*": oc.FROZEN}),
        "guard of accumulate": oc.guard(oc.accumulate(oc.adamw(1e-2), 2)),
        "lookahead": oc.lookahead(clipped_adamw(), 5, 0.5),
        "cautious": oc.chain(adam=oc.cautious(oc.scale_by_adam()), lr=oc.scale_by_learning_rate(1e-2)),
        "graft": oc.chain(graft=oc.graft(oc.trace(0.9), oc.scale_by_adam()), lr=oc.scale_by_learning_rate(1e-2)),
        "precision": oc.precision(oc.adamw(1e-2), params="master", slots="bfloat16"),
        "sparse": oc.sparse(oc.adamw(1e-2), 0.5, schedule=oc.gradual(begin=2, end=10, every=2)),
        "rows": oc.rows(oc.adamw(1e-2), tables="*/qkv/kernel"),
        "schedule_free_adamw": oc.schedule_free_adamw(1e-2, warmup_steps=3),
        "average_params": oc.chain(opt=oc.adamw(1e-2), average=oc.average_params(decay=0.9)),
        "muon": oc.muon(1e-2, adam_learning_rate=1e-2, adam_b2=0.999),
        "adafactor": oc.adafactor(1e-2, min_dim_size_to_factor=8),
        "clip_by_quantile": oc.chain(clip=oc.clip_by_quantile(), lr=oc.scale_by_learning_rate(1e-2)),
        "sam": oc.sam(oc.sgd(1e-2, momentum=0.9)),
        "clip_by_zscore": oc.chain(clip=oc.clip_by_zscore(warmup_steps=3), lr=oc.scale_by_learning_rate(1e-2)),
        "adahessian": oc.adahessian(1e-2),
        "mechanize": oc.mechanize(oc.adamw(1e-2), s_init=0.1),
        "scale_on_plateau": oc.chain(plateau=oc.scale_on_plateau(0.5, patience=1), lr=oc.scale_by_learning_rate(1e-2)),
        "lbfgs": oc.lbfgs(memory_size=3),
        "acprop": oc.acprop(1e-2),
        # Where the gradient lacks directions, a small eps would divide rounding by rounding.
        "soap": oc.chain(soap=oc.scale_by_soap(eps=1e-2, mask="*out/kernel"), lr=oc.scale_by_learning_rate(1e-2)),
        "kl_soap": oc.chain(soap=oc.scale_by_kl_soap(eps=1e-2, mask="*out/kernel"), lr=oc.scale_by_learning_rate(1e-2)),
        "debiased average": oc.chain(opt=oc.sgd(1e-2), average=oc.average_params(0.9, debias=True, start=2.0)),
    }


def extra(name: str, grads: Any, params: Any) -> dict[str, Any]:
    """The extra arguments of a step, of those that read some."""
    return {
        "sam": {"grad_fn": lambda params: params},
        "adahessian": {"hessian": jax.tree.map(jnp.abs, grads)},
        "scale_on_plateau": {"value": jnp.float32(1)},
        "lbfgs": {"value": bowl(params), "value_fn": bowl},
    }.get(name, {})


def begun(name: str) -> Any:
    """The parameters before the first step."""
    params, _ = stored()
    dtype = jnp.bfloat16 if name == "precision" else jnp.float32
    return nested({path: jnp.asarray(params[path], dtype) for path in PATHS})


def gradients(t: int, params: Any) -> Any:
    """The gradients of step t, from 0, in the dtypes of the parameters."""
    _, grads = stored()
    return jax.tree.map(lambda p, g: jnp.asarray(g[t], p.dtype), params, nested({path: grads[path] for path in PATHS}))


def trained(name: str, tx: Any) -> Before:
    """Seven steps and one more."""
    step = jax.jit(lambda grads, state, params: oc.apply(tx, grads, state, params, **extra(name, grads, params)))
    params = begun(name)
    state = tx.init(params)
    for t in range(STEPS):
        params, state = step(gradients(t, params), state, params)
    grads = gradients(STEPS, params)
    return Before(state, params, grads, step(grads, state, params)[0])


def entries(tree: Any) -> list[tuple[list[Any], Any]]:
    """The leaves and empty nodes of a tree of dicts and tuples, each with its key path; fields have their names."""
    if isinstance(tree, dict) and tree:
        pairs: Any = tree.items()
    elif isinstance(tree, tuple) and hasattr(tree, "_fields") and tree:
        pairs = tree._asdict().items()  # pyright: ignore
    elif type(tree) is tuple and tree:
        pairs = enumerate(tree)
    else:
        return [([], tree)]
    return [([key, *rest], x) for key, child in pairs for rest, x in entries(child)]


def rebuilt(found: list[tuple[list[Any], Any]]) -> Any:
    """The tree of these entries."""
    if not found[0][0]:
        return found[0][1]
    children: dict[Any, list[Any]] = {}
    for (key, *rest), x in found:
        children.setdefault(key, []).append((rest, x))
    made = {key: rebuilt(own) for key, own in children.items()}
    return tuple(made[i] for i in range(len(made))) if isinstance(found[0][0][0], int) else made


def write(before: dict[str, Before]) -> None:
    """Store key paths in JSON and arrays beside them."""
    arrays: list[np.ndarray] = []

    def described(tree: Any) -> list[dict[str, Any]]:
        described = []
        for path, x in entries(tree):
            empty = [kind for kind, node in EMPTY.items() if type(x) is type(node)]
            if empty:
                described.append({"path": path, "empty": empty[0]})
                continue
            dtype = str(jnp.asarray(x).dtype)
            # NumPy's format knows no bfloat16.
            arrays.append(np.asarray(x).view(np.uint16) if dtype == "bfloat16" else np.asarray(x))
            described.append({"path": path, "dtype": dtype, "array": len(arrays) - 1})
        return described

    index = {name: {part: described(x) for part, x in own._asdict().items()} for name, own in before.items()}
    lines = [f" {json.dumps(name)}: {json.dumps(parts)}" for name, parts in index.items()]
    (HERE / "states.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    np.savez_compressed(HERE / "states.npz", **{str(i): x for i, x in enumerate(arrays)})


def recorded_states() -> dict[str, Before]:
    """The stored states by the names of `transformations`."""
    index = json.loads((HERE / "states.json").read_text())
    with np.load(HERE / "states.npz") as file:
        arrays = dict(file)

    def leaf(entry: dict[str, Any]) -> Any:
        if "empty" in entry:
            return EMPTY[entry["empty"]]
        x = arrays[str(entry["array"])]
        return jnp.asarray(x.view(jnp.bfloat16) if entry["dtype"] == "bfloat16" else x)

    return {
        name: Before(**{part: rebuilt([(e["path"], leaf(e)) for e in found]) for part, found in parts.items()})
        for name, parts in index.items()
    }
