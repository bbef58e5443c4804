"""How the built-in models grow: which units each axis of a parameter counts, and what new layers begin with."""

from collections.abc import Mapping
from typing import Any

from optchain.inspect.grow_plan import Rules
from optchain.lab.base.errors import InputError
from optchain.lab.models import tables
from optchain.lab.settings.grow import TEXTS, Grow
from optchain.lab.settings.own import Own
from optchain.lab.settings.table import Table

SIZES: Mapping[type[Table], tuple[str, ...]] = {
    tables.Network: ("channels", "hidden", "depth", "width"),
    tables.Embedding: ("width", "hidden"),
    tables.Transformer: ("layers", "width", "heads"),
}
FREE = ("dropout", "initializer", "initializer_scale", "initializer_gain")  # that may change besides


def rules_of(old: Table, new: Table, stage: Grow, seed: int, heads: bool = False) -> Rules:
    """What `optchain.grow` is told of a growth.

    Args:
        old: the table of the model before.
        new: that of the model after.
        stage: the table of the growth.
        seed: of the run.
        heads: whether the task has several targets, each answered by a last layer of its own.

    Raises:
        InputError: the function cannot be kept, something would be smaller, or a key changes that is no size.
    """
    told = {"noise": stage.noise, "seed": seed + stage.at, "stack": stage.way == "stack"}
    if isinstance(old, Own):
        return Rules(**{name: getattr(stage, name) for name in TEXTS}, **told)
    said = next((name for name in TEXTS if getattr(stage, name)), None)
    if said is not None:
        raise InputError(f"{said}: a built-in model knows its own; leave it out")
    for key in type(old).model_fields:
        if key not in (*SIZES[type(old)], *FREE) and getattr(old, key) != getattr(new, key):
            sizes = ", ".join(SIZES[type(old)])
            raise InputError(f"model.{key}: a growth cannot change it and keep the function; expected {sizes}")
    if isinstance(old, tables.Transformer):
        return Rules(**told, **_transformer(old, new, stage.way))
    if stage.way == "stack":
        raise InputError("way: 'stack' copies layers of one shape; expected a transformer or a model of your own")
    if isinstance(old, tables.Embedding):
        a, b = (tables.Network(hidden=table.hidden) for table in (old, new))  # type: ignore[attr-defined]
        found = _network(a, b, heads, first="(_ row)", prefix="network/")
        return Rules(**told, **found | {"axes": {"embed/embedding": "_ -> row"} | found["axes"]})
    return Rules(**told, **_network(old, new, heads))


def _network(old: Any, new: Any, heads: bool, first: str = "_", prefix: str = "") -> dict[str, Any]:
    """Convolutions keep their number; new hidden layers come after the last one."""
    widths, wider = old.widths, new.widths
    _require_as_long("channels", old.channels, new.channels, may_grow=False)
    _require_as_long("hidden", widths, wider)
    if old.norm == "layer":
        for a, b in zip(widths, wider, strict=False):
            if b % a:
                raise _lost(
                    "hidden", f"norm = 'layer' takes means over all units, of {a} in {b} some have more copies", a
                )
    axes: dict[str, str] = {}
    before = first
    for i in range(len(old.channels)):
        axes |= {f"Conv_{i}/kernel": f"_ _ {before} -> c{i}"}
        axes |= _units(f"Conv_{i}/bias", f"*Block_{i}/*", f"c{i}", old.norm)
        before = f"c{i}"
    before = f"(_ {before})" if old.channels else before
    for i in range(len(wider)):
        block = f"*Block_{len(old.channels) + i}/*"
        axes |= {f"{prefix}Dense_{i}/kernel": f"{before} -> h{i}"}
        axes |= _units(f"{prefix}Dense_{i}/bias", block, f"h{i}", old.norm)
        before = f"h{i}"
    last = "head_*" if heads else f"Dense_{len(wider)}"
    axes |= {f"{prefix}{last}/kernel": f"{before} -> _"}
    if len(wider) == len(widths):
        return {"axes": axes}
    if not widths:
        raise _lost("hidden", "the inputs of a first hidden layer may be negative, and relu changes them")
    if old.activation != "relu":
        raise _lost("hidden", f"no layer before activation = {old.activation!r} leaves its inputs as they are", "relu")
    if old.norm != "none":
        raise _lost("hidden", f"norm = {old.norm!r} changes what a new layer gives", "none")
    for a, b in zip([*widths, *[widths[-1]] * len(wider)], wider, strict=False):
        if b < a:
            raise InputError(f"model.hidden: a new layer of {b} units after {a} is smaller; expected {a} at least")
    identity = [f"{prefix}Dense_{i}/*" for i in range(len(widths), len(wider))]
    found = {"axes": axes, "identity": identity}
    return found if heads else found | {"sources": {f"{prefix}{last}/*": f"{prefix}Dense_{len(widths)}/*"}}


def _units(bias: str, block: str, units: str, norm: str) -> dict[str, str]:
    """What has one number for each unit of a hidden layer."""
    normed = {} if norm == "none" else {block: f"-> {units}"}
    return normed | ({} if norm == "batch" else {bias: f"-> {units}"})


def _transformer(old: Any, new: Any, way: str) -> dict[str, Any]:
    """New layers come on top. The stream is normalized, so that all of its units need as many copies."""
    size, wider = old.width // old.heads, new.width // new.heads
    for name, a, b in (
        ("layers", old.layers, new.layers),
        ("heads", old.heads, new.heads),
        ("width", old.width, new.width),
    ):
        if b < a:
            raise InputError(f"model.{name}: got {b} after {a}; a growth makes nothing smaller")
    if new.width % old.width:
        raise _lost("width", "RMSNorm takes a mean over all units, of which some would have more copies", old.width)
    if wider < size:
        said = f"width = {new.width} and heads = {new.heads} make heads of {wider} units after {size}"
        raise InputError(f"model.heads: {said}; a growth makes nothing smaller")
    in_layer = {
        "attention/query/kernel": "d -> heads /size",  # multiplied by keys, and summed over the size
        "attention/key/kernel": "d -> heads size",
        "attention/value/kernel": "d -> heads size",
        "attention/out/kernel": "heads size -> d",
        "attention_norm/scale": "-> d",
        "dense_norm/scale": "-> d",
        "wide/kernel": "d -> inner",
        "narrow/kernel": "inner -> d",
    }
    name, first = ("layers", "_ ") if old.scan else ("layer_*", "")
    axes = {f"{name}/{path}": f"{first}{text}" for path, text in in_layer.items()}
    axes |= {
        "bytes/embedding": "_ -> d",
        "positions/embedding": "_ -> d",
        "norm/scale": "-> d",
        "Dense_0/kernel": "d -> _",
    }
    factors = {f"{name}/attention/query/kernel": (wider / size) ** 0.5}  # products are divided by the root of the size
    found = {"axes": axes, "factors": factors}
    if new.layers == old.layers:
        if way == "stack":
            raise InputError("way: 'stack' copies layers; expected model.layers to grow")
        return found
    fresh = range(old.layers, new.layers)
    if way == "stack":
        sources = {f"layer_{i}/*": f"layer_{i % old.layers}/*" for i in fresh}
        return found | ({"layers": ["layers/*"]} if old.scan else {"sources": sources})
    if old.norm == "post":
        why = "norm = 'post' normalizes the stream again in each new layer"
        raise _lost("layers", why, "norm = 'pre', or way = 'stack'")
    names = ["layers"] if old.scan else [f"layer_{i}" for i in fresh]
    zero = [f"{name}/{end}/kernel" for name in names for end in ("attention/out", "narrow")]
    return found | {"zero": zero} | ({"layers": ["layers/*"]} if old.scan else {})


def _require_as_long(key: str, old: list[int], new: list[int], may_grow: bool = True) -> None:
    """Each of the old sizes has one that is as large."""
    if len(new) > len(old) and not may_grow:
        raise _lost(key, "a new convolution halves the image", len(old))
    if len(new) < len(old) or any(b < a for a, b in zip(old, new, strict=False)):
        raise InputError(f"model.{key}: got {new} after {old}; a growth makes nothing smaller")


def _lost(key: str, why: str, expected: Any = None) -> InputError:
    if isinstance(expected, int):
        expected = f"as many, {expected}" if key == "channels" else f"a multiple of {expected}"
    cure = "" if expected is None else f"; expected {expected}"
    return InputError(f"model.{key}: cannot keep the function: {why}{cure}")
