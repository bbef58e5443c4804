"""How parameters and slots are stored: master weights, Kahan compensation, stochastic rounding, codes."""

from collections.abc import Mapping

import optax

from optchain.core.lift import technique
from optchain.core.mask import Mask
from optchain.core.numbers import SEED, Seed, checked, whole
from optchain.core.paths import nearest
from optchain.core.transform import Transform, transform
from optchain.stepsize.scale import scale
from optchain.storage.formats import FORMATS, stored
from optchain.storage.memory import MEMORIES
from optchain.storage.stored_params import PARAMS, Precision


@technique(tx=scale(-0.1))
def precision(
    tx: optax.GradientTransformation,
    params: str = "nearest",
    slots: str | Mapping[str, str] = "float32",
    seed: Seed = 0,
    watch: bool = False,
    *,
    memory: str = "device",
    min_size: int = 4096,
    mask: Mask | None = None,
) -> Transform:
    r"""Stores parameters narrower than float32, and slots, so that small updates are not lost.

    The wrapped transformation computes in float32, on the parameters as exactly as they are known. What it leads to is
    stored, for parameters in bfloat16 or float16, by

    - `"nearest"`: rounding, as without this wrapper: an update below half a unit in the last place is lost;
    - `"stochastic"`: rounding up or down at random, exact on average (bfloat16 only, no memory);
    - `"kahan"`: rounding, the remainder kept in a second array of the same dtype and added at the next step;
    - `"master"`: rounding, from a float32 copy in the state;
    - `"split"`: the same numbers as from a master, bit for bit, of which the state holds only the 16 bits that bfloat16
      lacks (bfloat16 only, 2 bytes);
    - `"split8"`: 8 of these bits, rounded up or down at random, exact on average (bfloat16 only, 1 byte).

    The slots of techniques, float32 otherwise, are stored in fewer bits by `slots`. In codes, blocks of 128 entries
    along the last axis (64 with 4 bits) have one float32 scale, the largest magnitude, and each entry a whole level:

    .. math::
        x \approx \pm s \, (n / n_{max})^2 \text{ (means, sums)}, \quad
        x \approx s \, (n / n_{max})^4 \text{ (squares)}

    0 stays exactly 0, and a positive square stays positive. Each technique declares what its slots are, and the number
    of bits is the least that the kind bears, at least that which is asked for: means 8 bits, or 4 where it only divides
    by a root; squares 8 or 4; sums of squares 8; drifts, among them a mean whose decay is above 0.99 or not a constant,
    16. All others (bases, factors, scalars, copies, signed curvature, averages of parameters) stay in float32. With
    `"int8"` the state of Adam takes 2.06 bytes a parameter, with `"int4"` 1.13; 4 bits change what training does. A
    large leaf of an elementwise technique is decoded, stepped and encoded one part after another; with split
    parameters, so are the parameter and all elementwise links after the last one that is not, in one pass.

    With `memory="pinned_host"` the state lies in the memory of the host: each of its large arrays comes to the device
    for the step that computes with it, and goes back. Parameters and gradients stay on the device. Place the parameters
    with `jax.device_put` and lay out the state by `oc.shardings`, else the first step is compiled twice; donate
    parameters before state, as `oc.apply` says, since JAX ends the process where it gives buffers of one memory to
    results in another. Steps have a derivative one after another, not in a `scan`.

    Where only slots are stored in codes, nothing is wrapped: the result is `tx` with the declaration in each link. A
    slot in the state is then `{"codes": tree, "scales": tree}`. Otherwise it is the outermost wrapper, or stands within
    other wrappers of optchain: a chain hands its links float32 parameters. `oc.apply` stores exactly this. `update`
    returns the float32 step there, which `optax.apply_updates` lands on the same value wherever float32 can express it;
    what it misses the next step corrects.

    Args:
        tx: any transformation.
        params: one of the six words above.
        slots: "float32"; "bfloat16" with stochastic rounding for every array in the state of `tx` that has axes;
            "int16", "int8" or "int4" for every slot that bears a code; or a table of these words by slots' names,
            `{"mu": "int8", "nu": "bfloat16"}`, where a slot that does not bear its word is an error.
        seed: of the random bits, a whole number or a key of `jax.random`, which may be traced. They are a hash of seed,
            step, path and element: the same however arrays are sharded.
        watch: count the entries whose update would round to nothing, as the metric `precision.lost`; one more pass.
        memory: of the state between steps, "device" or "pinned_host".
        min_size: slots with fewer entries stay in float32, where codes or a table are asked for, and arrays with fewer
            entries on the device; at least 0.
        mask: the leaves whose slots stay in float32, see `optchain.core.mask.select`.

    Shapes and dtypes: any; parameters in float32 are stored as usual, and so are slots in float64. A last axis of less
    than 32 entries is merged with the one before it, but not with the first. Blocks are cut where the leaf is whole: on
    a mesh, a layout that cuts blocks costs communication, and a leaf is stepped whole, as matrices are everywhere. With
    owners (`distributed`) blocks are cut in each matrix, which differs where a view shows the matrices, or where rows
    of less than 32 entries are merged.

    Differs from the paper: the compensation of Kahan is that of the stored parameter alone, with no running error of
    the compensation itself. Codes are closed forms, where Dettmers et al. have tables, whose search takes ten times as
    long, and blocks are shorter.

    Raises:
        ValueError: an unknown word, or a seed that is neither a whole number nor a key; by name, a slot that there is
            not or that does not bear the word; a link whose slots are stored already; at `init`, a memory that the
            devices do not have; while tracing, a state in other formats.

    References:
        Zamirai et al., 2020, Algorithms 2 and 3. https://arxiv.org/abs/2010.06192
        Micikevicius et al., 2017, section 3.1 (master weights). https://arxiv.org/abs/1710.03740
        Dettmers et al., 2021, section 2 (block-wise 8-bit slots). https://arxiv.org/abs/2110.02861

    >>> import optchain as oc
    >>> tx = oc.precision(oc.adamw(1e-3), params="split", slots="int8")
    """
    for name, word, valid in (("params", params, PARAMS), ("slots", slots, FORMATS), ("memory", memory, MEMORIES)):
        if not (name == "slots" and isinstance(word, Mapping)) and word not in valid:
            raise ValueError(f"precision: {name} is {word!r}; {nearest(str(word), valid)}")
    seed = checked("precision", "seed", seed, SEED)
    whole("precision", "min_size", min_size, 0)
    if slots not in ("float32", "bfloat16"):
        tx = stored(tx, slots, seed, min_size, mask)
        if params == "nearest" and not watch and memory == "device":
            return tx
    return transform(Precision(tx, params, slots, seed, watch, memory, min_size))
