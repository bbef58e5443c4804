"""What a technique is, by the room in which it stands; a transformation of optax has the name of its twin."""

from optchain.core.registry import TECHNIQUE, registered

# Rules in the rooms of moments that do not divide by the size of what they have seen.
NOT_ADAPTIVE = frozenset(
    "trace ema hutchinson gauss_newton_bartlett reduce_variance scale_by_optimistic_gradient scale_by_sign "
    "scale_by_madgrad ftrl".split()
)
# Rules that find their own rate, and are adaptive too.
ADAPTIVE_WITH_RATE = frozenset("scale_by_prodigy scale_by_dadapt_adam scale_by_momo_adam".split())
# Rules that find their own rate; the rate beside them is a factor that is 1 or near.
OWN_RATE = frozenset(
    "scale_by_prodigy scale_by_dadapt_adam scale_by_dadapt_sgd scale_by_dog scale_by_dowg scale_by_ldog".split()
)
# Of the room of rates, what is none.
NOT_RATE = frozenset(
    "scale scale_by_learning_rate centralize floor_update_ratio normalize_by_leaf_norm normalize_by_update_norm "
    "scale_by_staleness scale_by_param_block_rms scale_by_trust_ratio scale_by_lars".split()
)
# Clips that are meant for what the moments made, or that do not look at updates, or that add noise.
NOT_GRADIENT_CLIP = frozenset("clip_by_block_rms clip_qk differentially_private_aggregate".split())
MULTIPLIERS = frozenset("scale scale_by_learning_rate scale_by_schedule".split())
# Steps of a radius that each parameter's shape and role give, of which rate and decay are parts.
OWN_RADIUS = frozenset(("scale_by_scion",))
# Adam's second moment corrects its first one: the condition of convergence holds for these.
ADAM_LIKE = frozenset(
    "scale_by_adam scale_by_nadam scale_by_amsgrad scale_by_belief scale_by_laprop scale_by_stable_adam "
    "scale_by_adam_mini scale_by_yogi".split()
)
# Averages of parameters that are links; the others wrap a transformation.
AVERAGES = frozenset("average_params polyak_average snapshot_params".split())
# Wrappers whose step is another one than that of what they wrap. Others leave it as it is (`guard`, `groups`,
# `accumulate`, `sam` and its variants, `delayed`), or take away what an average does not see (`sparse`).
CHANGES_THE_STEP = frozenset(
    "lookahead schedule_free ema_nesterov outer_nesterov elastic_average mechanize hypergradient cautious graft".split()
)


def room(technique: str) -> str:
    """The room of a technique, such as "moments"; empty for what is not optchain's, nor has a twin there."""
    entry = registered().get(technique) or registered().get(technique.removeprefix("sparse_"))
    if entry is None or entry.kind != TECHNIQUE or not entry.is_builtin:
        return ""
    return entry.make.__module__.split(".")[1]


def is_adaptive(technique: str) -> bool:
    """Whether its update is divided by the size of the gradients that it has seen."""
    moments = room(technique) in ("moments", "matrices") and technique not in NOT_ADAPTIVE
    return moments or technique in ADAPTIVE_WITH_RATE


def finds_its_rate(technique: str) -> bool:
    """Whether it makes a step of its own length."""
    return room(technique) == "stepsize" and technique not in NOT_RATE


def is_gradient_clip(technique: str) -> bool:
    """Whether it bounds gradients."""
    return room(technique) == "clipping" and technique not in NOT_GRADIENT_CLIP


def is_decay(technique: str) -> bool:
    """Whether it adds a part of the parameter."""
    return technique.startswith("add_") and technique.endswith("decayed_weights")
