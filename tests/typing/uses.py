"""How the library is meant to be called: a type checker finds nothing here, and it runs."""

from collections.abc import Mapping
from typing import Any, assert_type

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import optchain as oc
from optchain.core.numbers import Positive
from optchain.typing import Mask, Number, Schedule, Transform

params: dict[str, jax.Array] = {"kernel": jnp.ones((4, 3)), "bias": jnp.zeros(3)}
grads = jax.tree.map(jnp.ones_like, params)

# Schedules are numbers, and numbers are constants, traced values or functions of the step, optax's too.
rates: list[Number] = [
    1e-3,
    1,
    jnp.float32(1e-3),
    lambda step: 0.1 * 0.99**step,
    optax.cosine_decay_schedule(1e-3, 100),
    oc.constant(1e-3),
    oc.cosine(start=1e-3, steps=1000),
    oc.warmup_cosine(peak=1e-3, warmup=100, total=1000),
    oc.wsd(peak=1e-3, warmup=10, total=100, decay=20),
    oc.join_schedules([oc.linear(0.0, 1e-3, 10), oc.cosine(1e-3, 90)], boundaries=[10]),
    oc.piecewise(values=(0.1, 0.01), boundaries=(100,)),
    oc.exponential_with_resets(1e-3, 0.9, period=10),
    oc.in_fractions(oc.wsd(peak=1.0, warmup=0.1, total=1.0, decay=0.2), total=1000),
    oc.scale_schedule(oc.noam(512, warmup=4000), factor=jnp.float32(2.0)),
    oc.linear(0.0, end=oc.constant(1.0), steps=5),
]
assert_type(oc.cosine(1e-3, 10), Schedule)
assert_type(oc.cosine(1e-3, 10)(3), jax.Array)


# Masks are patterns, predicates, trees of bools, in any container.
class Flags(nnx.Module):
    def __init__(self) -> None:
        self.kernel = True


masks: list[Mask] = [
    "*/kernel",
    ("*/embedding", "head/*"),
    ["*/kernel"],
    oc.is_matrix,
    oc.is_kernel,
    lambda path, p: p.ndim > 1 and "embed" not in path,
    {"kernel": True, "bias": False},
    jax.tree.map(lambda p: p.ndim > 1, params),
    nnx.state(Flags()),
    oc.Without(oc.is_kernel, "embed/*"),
    True,
]

# Techniques and presets make optax transformations.
techniques: list[Transform] = [
    oc.scale_by_adam(),
    oc.scale_by_adam(0.9, b2=0.95, eps=jnp.float32(1e-8), mask="*/kernel"),
    oc.scale_by_adam(b1=oc.linear(0.8, 0.9, 100)),
    oc.scale_by_lion(b1=0.95, b2=0.98),
    oc.scale_by_muon(ns_steps=5, ns_coeffs="polar_express", mask=oc.is_kernel),
    oc.scale_by_factored_rms(min_dim_size_to_factor=32),
    oc.scale_by_learning_rate(oc.cosine(1e-3, 100), flip_sign=False),
    oc.trace(0.9, nesterov=True),
    oc.clip(1.0),
    oc.clip_by_global_norm(max_norm=1.0),
    oc.clip_by_quantile(0.9),
    oc.clip_qk({"*/query/kernel": -2}, tau=lambda step: 100.0 + step),
    oc.add_decayed_weights(0.1, mask=lambda path, p: p.ndim > 1),
    oc.keep_params_in_range(low=0.0, high=1.0),
    oc.keep_random(0.5, rescale=True, seed=3),
    oc.average_params(0.999, debias=True),
    oc.scale_by_polyak(f_min=0.0, variant="sps+"),
    oc.centralize(mask=oc.is_matrix),
    oc.sgd(0.1),
    oc.sgd(0.1, momentum=0.9, nesterov=True),
    oc.adam(1e-3),
    oc.adamw(oc.warmup_cosine(1e-3, 10, 100), weight_decay=0.1, mask=oc.is_kernel),
    oc.lion(1e-4, weight_decay=1.0),
    oc.muon(0.02, adam_learning_rate=1e-3, adamw=("*/embedding", "head/*"), scale="rms"),
    oc.scion(2**-10, sign="head/*"),
    oc.soap(3e-3, every=10),
    oc.adafactor(1e-2, momentum=0.9, clipping_threshold=None),
    oc.lars(1.0, weight_decay=1e-4, mask=oc.is_matrix),
    oc.lbfgs(memory_size=5),
    oc.dog(weight_decay=0.01),
    oc.prodigy(bias_correction=True),
    oc.schedule_free_adamw(0.0025, warmup_steps=100),
    oc.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=1.1, seed=7),
    oc.dpsgd(0.1, 1.0, 1.1, 7, every=4, batch_size=256),
    oc.muon_clip(0.02, {"*/query/kernel": -2}, rotary=None),
]

# Wrappers take any optax transformation.
wrapped: list[Transform] = [
    oc.cautious(oc.scale_by_adam()),
    oc.lookahead(oc.adamw(1e-3), sync_period=5, slow_step_size=0.5),
    oc.schedule_free(optax.sgd(0.1), learning_rate=0.1),
    oc.accumulate(oc.adam(1e-3), every=lambda step: jnp.where(step < 10, 1, 4)),
    oc.guard(optax.adam(1e-3), max_norm=10.0, loss_scale=2.0**15),
    oc.differentially_private_accumulate(optax.adam(1e-3), 4, 1.0, oc.linear(1.0, 2.0, 100), batch_size=256),
    oc.precision(oc.adamw(1e-3), params="master", slots="bfloat16"),
    oc.rows(oc.adagrad(0.1), tables=["*embedding"], mode="lazy"),
    oc.sparse(oc.adam(1e-3), sparsity=0.9, schedule=oc.gradual(begin=0, end=100, every=10), structure=(2, 4)),
    oc.sparse(oc.adam(1e-3), 0.9, schedule=oc.regrow(every=10, fraction=oc.cosine(0.3, 100))),
    oc.sam(oc.sgd(0.1), rho=0.05),
    oc.graft(oc.scale_by_adam(), direction=oc.scale_by_muon()),
    oc.over_layers(oc.muon(0.02), {"blocks/*": 1}),
    oc.as_matrices(oc.muon(0.02), {"*/conv/kernel": "h w i o -> (h w i) o"}),
    oc.groups(oc.adamw(1e-3), {"bias": {"weight_decay": 0.0}, "kernel": oc.FROZEN}),
    oc.mechanize(oc.adamw(1.0), s_init=1e-8),
]

# Chains, steps, metrics.
tx = oc.chain(
    clip=oc.clip_by_global_norm(1.0),
    adam=oc.cautious(oc.scale_by_adam()),
    theirs=optax.ema(0.9),
    lr=oc.scale_by_learning_rate(1e-3),
    watch="clip",
)
assert_type(tx, Transform)
state = tx.init(params)
updates, state = tx.update(grads, state, params, hyper={"lr.learning_rate": 1e-4})
params = optax.apply_updates(params, updates)  # pyright: ignore[reportAssignmentType]  # optax has no generic tree
params, state = oc.apply(tx, grads, state, params, hyper={"lr.learning_rate": jnp.float32(1e-4)})
norms: Mapping[str, jax.Array] = oc.metrics(state)
rate: float = float(oc.metrics(state)["lr.learning_rate"])
saved = oc.with_metrics(oc.without_metrics(state), tx.init(params))
state, report = oc.migrate_state(state, tx, params, renames={"adam": None})
state = oc.reset_state(state, tx, params, links="adam")
layouts = oc.shardings(tx, params)
text: str = oc.group_table(wrapped[-2], params)
loaded: Transform = oc.from_config({"adam": {"use": "scale_by_adam"}, "lr": {"use": "scale", "step_size": -0.1}})
both: optax.GradientTransformation = optax.chain(oc.clip(1.0), oc.adam(1e-3))
parts = optax.partition({"a": oc.adam(0.1), "b": oc.sgd(0.2)}, {"kernel": "a", "bias": "b"})
optimizer = nnx.Optimizer(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), tx, wrt=nnx.Param)
version: str = oc.__version__


# A technique, a schedule and a preset of the user's own.
@oc.rule
class Clip:
    max_delta: Positive = 1.0

    def update(self, g: jax.Array, s: Any, p: Any, t: jax.Array) -> tuple[jax.Array, Any]:
        return jnp.clip(g, -self.max_delta, self.max_delta), s


clip = oc.lift(Clip, "clip_both_ways")
rule: Clip = Clip(max_delta=2.0)


def optimizer_of(learning_rate: Number, mask: Mask | None = None) -> Transform:
    return oc.chain(clip(0.5), oc.adamw(learning_rate, mask=mask))
