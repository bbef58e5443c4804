"""Models that grow while they are trained: the experiment after each growth, and what is carried through it."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

import optchain as oc
from optchain.core.paths import named_leaves
from optchain.core.walk import definitions
from optchain.inspect.grow_plan import planned
from optchain.lab.base.errors import InputError
from optchain.lab.models.growing import rules_of
from optchain.lab.settings.grow import TEXTS, models_of, require_order
from optchain.lab.training.assemble import model_of, optimizer_of
from optchain.lab.training.scoring import by_path, models
from optchain.pruning.sparse import Sparse

if TYPE_CHECKING:
    from optchain.lab.training.experiment import Experiment
    from optchain.lab.training.program import Program

EXAMPLES = 4  # on which the outputs before and after are compared
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.05}  # of the largest output


def staged(built: "Experiment", stage: int) -> "Experiment":
    """The experiment after so many growths."""
    if not stage:
        return built
    config = built.config.model_copy(update={"model": models_of(built.config.model, built.config.grow)[stage]})
    tx = optimizer_of(config, built.task)  # whose rates may follow from the model's shapes
    return dataclasses.replace(built, config=config, model=model_of(config, built.task), tx=tx)


def is_due(built: "Experiment", progress: dict[str, Any]) -> bool:
    """Whether the model grows before the next step."""
    stage, stages = progress["stage"], built.config.grow
    return stage < len(stages) and stages[stage].at <= progress["step"]


def require_growth(built: "Experiment") -> None:
    """Each growth can be made, and keeps the function unless it says that it does not.

    Raises:
        InputError: naming the key.
    """
    config = built.config
    if not config.grow:
        return
    for key, is_set in {"lora": config.lora, "train.freeze": config.train.freeze, "mesh": config.mesh}.items():
        if is_set:
            raise InputError(f"grow: a model cannot grow with {key} yet; leave one of the two out")
    if oc.row_tables(built.tx):
        raise InputError("grow: the optimizer updates single rows, and keeps when; leave `rows` or grow out")
    if any(isinstance(link, Sparse) for _, link in definitions(built.tx)):
        cure = "leave `sparse` or grow out"
        raise InputError(f"grow: `sparse` would choose its masks again, and the function would change; {cure}")
    try:
        require_order(config.grow, config.train.last_step, config.train.evaluate_every)
    except ValueError as error:
        raise InputError(str(error)) from None
    last = config.grow[-1].at
    for i, step in enumerate(config.train.snapshots):
        if step <= last:
            raise InputError(f"train.snapshots.{i} = {step}; expected steps after {last}, that of the last growth")
    for stage in range(len(config.grow)):
        before, after = staged(built, stage), staged(built, stage + 1)
        plan_of(before, after, stage)
        if config.grow[stage].way == "keep":
            _require_kept(before, after, stage)


def plan_of(before: "Experiment", after: "Experiment", stage: int, noise: bool = True) -> oc.Growth:
    """Where each parameter of a larger model comes from.

    Args:
        before: the experiment before the growth.
        after: that after it.
        stage: the number of the growth.
        noise: whether copies are told apart.

    Raises:
        InputError: naming the key.
    """
    table, seed = before.config.grow[stage], before.config.train.seed
    try:
        rules = rules_of(before.config.model, after.config.model, table, seed, before.task.heads is not None)
        old, new = (by_path(jax.eval_shape(built.start)) for built in (before, after))
        growth = oc.Growth(planned(old, new, rules if noise else dataclasses.replace(rules, noise=0.0)))
    except (InputError, ValueError) as error:
        named = str(error).startswith((*TEXTS, "model.", "way:"))  # a key of the table, or else a parameter
        raise InputError(f"grow.{stage}{'.' if named else ': '}{error}") from None
    if not any(source.is_changed for source in growth.sources.values()):
        raise InputError(f"grow.{stage}.model: no parameter grows; expected a larger model")
    return growth


def _require_kept(before: "Experiment", after: "Experiment", stage: int) -> None:
    """The outputs for some examples are the same, whatever the parameters: those of a start are often 0 or 1."""
    growth, key = plan_of(before, after, stage, noise=False), jax.random.key(0)
    inputs = jax.tree.map(lambda x: jnp.asarray(x[:EXAMPLES]), before.task.splits["train"].inputs)

    def outputs() -> Any:
        old, new = ({name: built.start()[name] for name in ("params", "rest")} for built in (before, after))
        moved = _moved(old, key)
        grown = {name: growth.tree(moved[name], new[name]) for name in moved}
        pairs = ((before, moved), (after, grown))
        with jax.default_matmul_precision("highest"):
            return [built.model.apply(model["params"], model["rest"], inputs)[0] for built, model in pairs]

    said, now = jax.jit(outputs)()
    narrow = before.config.train.compute == "bfloat16" or any(
        "bfloat16" in (str(getattr(before.config.model, name, "")), str(x.dtype))
        for name in ("compute", "dtype")
        for _, x in named_leaves(jax.eval_shape(before.start)["params"])
    )
    most = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(said))
    apart = max(float(jnp.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (said, now)), strict=True))
    if not apart <= TOLERANCE["bfloat16" if narrow else "float32"] * most:
        cure = (
            "say in axes which units each axis counts, in identity or zero what new layers begin with, or way = 'stack'"
        )
        raise InputError(
            f"grow.{stage}: cannot keep the function: outputs up to {most:.3g} would differ by {apart:.3g}; {cure}"
        )


def _moved(tree: Any, key: jax.Array) -> Any:
    """The tree with other numbers, such that what is positive, as variances are, stays so."""
    leaves, treedef = jax.tree.flatten(tree)

    def moved(x: jax.Array, key: jax.Array) -> jax.Array:
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return x
        draw = jnp.abs(jax.random.normal(key, x.shape, jnp.float32))
        return (x * (1 + 0.3 * draw) + 0.1 * draw).astype(x.dtype)

    return treedef.unflatten([moved(x, jax.random.fold_in(key, i)) for i, x in enumerate(leaves)])


def grown(
    before: "Experiment", after: "Experiment", carry: dict[str, Any], best: Any, progress: dict[str, Any]
) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """The carry and the best models of the larger model, and a row that says what grew; `progress` notes the stage.

    The patience starts again. Where the function is not kept, so does the search for the best model.

    Args:
        before: the experiment before the growth.
        after: that after it.
        carry: of the run.
        best: its best models.
        progress: of the run.
    """
    stage = progress["stage"]
    table, growth, fresh = before.config.grow[stage], plan_of(before, after, stage), after.start()
    new = {name: growth.tree(carry[name], fresh[name]) for name in ("params", "rest")}
    state, report = growth.state(carry["opt_state"], before.tx, carry["params"], new["params"], after.tx)
    # Copies, for the carry is donated, and what did not grow would share its buffer with the best models.
    larger = jax.tree.map(jnp.copy, carry | new | {"opt_state": state})
    progress |= {"stage": stage + 1, "stale": 0}
    if table.way == "keep":
        like = {name: fresh[name] for name in ("params", "rest")}
        best = {name: {part: growth.tree(x[part], like[part]) for part in x} for name, x in best.items()}
        best = jax.tree.map(jnp.copy, best)
    else:
        best = jax.tree.map(jnp.copy, models(larger))
        progress |= {"best_step": progress["step"], "best_loss": math.inf, "stale_loss": math.inf}
    sizes = [sum(x.size for x in jax.tree.leaves(tree)) for tree in (carry["params"], larger["params"])]
    again = [name for name in report.created if name in report.dropped]
    row = {"model": table.model, "way": table.way, "parameters": sizes, "again": again}
    return larger, best, row


def loss_after(program: "Program", carry: dict[str, Any]) -> dict[str, float]:
    """The loss of the larger model that counts where models are chosen, by the name of that split."""
    split, current = program.experiment.task.held_out("validation"), models(carry)
    model = current["average" if "average" in current else "parameters"]
    return {f"{split} loss": float(program.evaluate(model, *program.data[split])["loss"])}


def in_words(row: dict[str, Any]) -> str:
    """What grew, in a line."""
    sizes = "  ".join(f"{name} = {x}" for name, x in row["model"].items())
    few, many = row["parameters"]
    losses = "  ".join(f"{name} {x:.4g}" for name, x in row.items() if name.endswith(" loss"))
    stacked = "" if row["way"] == "keep" else " by stacking, which changes the function"
    again = f"; started again: {', '.join(row['again'])}" if row["again"] else ""
    return f"the model grew to {sizes}{stacked}, from {few:,} to {many:,} parameters: {losses}{again}"
