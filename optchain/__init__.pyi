"""Composable, pure gradient transformations for JAX. Written by `make stubs`: do not edit."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax

from optchain.averaging.averaged_params import averaged_params as averaged_params
from optchain.control.guard import loss_scale as loss_scale
from optchain.control.rejection import REASONS as REASONS
from optchain.control.rejection import rejection as rejection
from optchain.core.chain import chain as chain
from optchain.core.lift import lift as lift
from optchain.core.mask import Without as Without
from optchain.core.mask import is_kernel as is_kernel
from optchain.core.mask import is_matrix as is_matrix
from optchain.core.routing import Partial as Partial
from optchain.core.row_gradient import RowGradient as RowGradient
from optchain.core.rule import rule as rule
from optchain.core.schedule import Schedule
from optchain.core.schedule import schedule as schedule
from optchain.core.states import metrics as metrics
from optchain.core.states import with_metrics as with_metrics
from optchain.core.states import without_metrics as without_metrics
from optchain.core.transform import Transform
from optchain.core.transform import apply as apply
from optchain.embeddings.catch_up import awake_params as awake_params
from optchain.embeddings.look_up import look_up as look_up
from optchain.embeddings.rows import row_tables as row_tables
from optchain.embeddings.sleep import Rests as Rests
from optchain.embeddings.sleep import Sleeps as Sleeps
from optchain.embeddings.value_and_grad import row_value_and_grad as row_value_and_grad
from optchain.federated.accountant import privacy_spent as privacy_spent
from optchain.inspect.catalogue import optimizers as optimizers
from optchain.inspect.config import from_config as from_config
from optchain.inspect.config import techniques as techniques
from optchain.inspect.describe import describe as describe
from optchain.inspect.diff import diff as diff
from optchain.inspect.explain import explain as explain
from optchain.inspect.grow import Growth as Growth
from optchain.inspect.grow import grow as grow
from optchain.inspect.laws import check_laws as check_laws
from optchain.inspect.lint import lint as lint
from optchain.inspect.lints.finding import Finding as Finding
from optchain.inspect.lints.finding import Lint as Lint
from optchain.inspect.migrate import migrate_state as migrate_state
from optchain.inspect.reset import reset_state as reset_state
from optchain.inspect.routing import routing as routing
from optchain.inspect.to_config import to_config as to_config
from optchain.masking.group_table import group_table as group_table
from optchain.masking.hidden import is_hidden as is_hidden
from optchain.masking.layerwise import layerwise_decay as layerwise_decay
from optchain.masking.rules import FROZEN as FROZEN
from optchain.masking.sparse_update import nonzero as nonzero
from optchain.moments.gauss_newton import gauss_newton_bartlett as gauss_newton_bartlett
from optchain.moments.hutchinson import hutchinson as hutchinson
from optchain.packing.pack import pack as pack
from optchain.packing.packed_tree import unpack as unpack
from optchain.parametrization.initial import mup_init as mup_init
from optchain.parametrization.initial import mup_table as mup_table
from optchain.pruning.bits import pack_bits as pack_bits
from optchain.pruning.bits import unpack_bits as unpack_bits
from optchain.pruning.gradual import Gradual
from optchain.pruning.masked_params import masked_params as masked_params
from optchain.pruning.one_shot import OneShot
from optchain.pruning.regrow import Regrow
from optchain.pruning.schedule import MaskSchedule
from optchain.pruning.sparsity import sparsity as sparsity
from optchain.pruning.straight_through import StraightThrough
from optchain.sharding.over import split_over as split_over
from optchain.sharding.over_axes import state_specs as state_specs
from optchain.sharding.owned_state import state_by_owners as state_by_owners
from optchain.sharding.owned_state import state_by_parameters as state_by_parameters
from optchain.sharding.shardings import shardings as shardings
from optchain.storage.stored_params import lost_updates as lost_updates
from optchain.typing import Mask, Number
from optchain.version import __version__ as __version__

def average_params(
    decay: Number = 0.999,
    debias: bool = False,
    start: Number = 0.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Leaves the update alone and keeps the running mean of the parameters that it leads to.

    .. math::
        u = g, \qquad a \leftarrow b a + (1 - b) (p + g)

    It is the last link of a chain: the incoming update must be the step that is taken. `averaged_params` reads a.

    Fields:
        decay: b, in [0, 1); about :math:`1 / (1 - b)` steps are averaged.
        debias: divide by the weight seen so far, so that the initial parameters have none; while fewer steps have been
            made than are averaged, it is nearly their plain mean.
        start: updates before the mean begins, at least 0 (tail averaging); until then a is the parameter.

    Shapes and dtypes: any; the slot `average` is like the parameter and begins as its copy; debiased, a leaf also keeps
    the weight that its mean has seen, :math:`1 - \prod b` since its start, as the numbers `log` and `lost`. All are in
    float32 or wider. It reads the parameters: `update` without them is an error.

    Differs from the paper: the weights decay, where the paper gives all steps the same.

    References:
        Polyak and Juditsky, 1992, equation 6. doi:10.1137/0330046
    """

def elastic_average(
    tx: optax.GradientTransformation,
    every: int,
    moving_rate: Number = 0.9,
    axis: str | Sequence[str] | None = None,
) -> Transform:
    r"""Ties the parameters of workers, each of which steps by a transformation, to a center that follows their mean.

    .. math::
        \theta^i \leftarrow \theta^i + \mathrm{tx}(g^i) - \frac{\beta}{p} (\theta^i - \tilde\theta), \qquad
        \tilde\theta \leftarrow \tilde\theta + \beta \Bigl(\frac1p \sum_{i=1}^p \theta^i - \tilde\theta\Bigr)

    where the terms with :math:`\beta` are those of every k-th step, the first one included, and both are computed of
    the parameters before the step. At a meeting the workers are drawn together and not made equal, as those of
    `outer_nesterov` are: each goes on to explore from where it is.

    Along an `axis` of a mesh, inside `jax.shard_map`, each of the p devices is a worker i with parameters
    :math:`\theta^i` and gradients of its own. Nothing is sent but the mean at every k-th step. The center
    :math:`\tilde\theta`, which `averaged_params(state)` gives and which is to be evaluated, and the count are the same
    at all workers, `inner` and the metrics are each worker's. What stands around would decide for all workers by the
    gradients of one, and is refused if it looks across entries.

    Args:
        tx: any transformation, with its learning rate.
        every: k, steps from one meeting to the next, at least 1.
        moving_rate: :math:`\beta`, in [0, 1], or a schedule; 0.9 in the paper.
        axis: the name of a mesh axis, or several, along which each device is a worker; also the `axis_name` of
            `jax.vmap`. None is one worker.

    Metrics: `elastic_average.count`, steps.

    Shapes and dtypes: any; the slot `center` is like the parameter and begins as the mean of those of all workers, in
    float32 or wider.

    Differs from the paper: workers meet at the same step, as in its equations; those of its Algorithm 1 meet the center
    one after another.

    Raises:
        ValueError: a number out of its range, or an `axis` that is no name; at `update`, a call where no such axis is.

    References:
        Zhang et al., 2014, equations 5 and 6 (EASGD), every k steps as in Algorithm 1. https://arxiv.org/abs/1412.6651

    >>> import optchain as oc
    >>> tx = oc.elastic_average(oc.sgd(0.1), every=10, axis="worker")
    """

def ema_nesterov(tx: optax.GradientTransformation, beta: Number, decay: Number = 0.99) -> Transform:
    r"""Lets a transformation step from a point ahead of its iterate, along the running mean of the iterate's steps.

    .. math::
        \theta_{t+1} = y_t + \mathrm{tx}(g(y_t)), \qquad
        m_{t+1} = b m_t + (1 - b) (\theta_{t+1} - \theta_t), \qquad y_t = \theta_t + \beta_t m_t

    The parameters are y, where gradients are taken; `averaged_params(state, params)` gives :math:`\theta`, which is to
    be evaluated. Against Nesterov's step from the last two iterates the mean is less noisy.

    Args:
        tx: any transformation, with its learning rate.
        beta: :math:`\beta`, how far ahead, at least 0; as a schedule it is 0 in the warm-up and in the last phase. From
            1 on for long, the mean feeds itself and grows: each step multiplies it by :math:`b + (1 - b) \beta`.
        decay: b, in [0, 1).

    Metrics: `ema_nesterov.beta`.

    Shapes and dtypes: any; the slot `mu` (m above) is like the parameter, in float32 or wider.

    Differs from the paper: nothing.

    Raises:
        ValueError: a number out of its range.

    References:
        Yau et al., 2026, EMA-Nesterov. https://arxiv.org/abs/2605.25395

    >>> import optchain as oc
    >>> tx = oc.ema_nesterov(oc.adamw(1e-3), beta=0.5)
    """

def lookahead(
    tx: optax.GradientTransformation,
    sync_period: int,
    slow_step_size: Number,
    reset_state: bool = False,
) -> Transform:
    r"""Lets a transformation run for some steps and then takes back a part of the way.

    .. math::
        \theta \leftarrow \theta + \mathrm{tx}(g), \qquad
        \phi \leftarrow \phi + \alpha (\theta - \phi), \; \theta \leftarrow \phi \quad\text{every } k \text{ steps}

    The parameters are the fast weights :math:`\theta`, an ordinary tree; `averaged_params(state)` gives the slow ones
    :math:`\phi`, which are to be evaluated. A slow step does not change the state of `tx` without `reset_state`.

    Args:
        tx: any transformation, with its learning rate.
        sync_period: k, fast steps for each slow one, at least 1.
        slow_step_size: :math:`\alpha`, in [0, 1], or a schedule of the slow steps; the number `slow.learning_rate`.
        reset_state: start `tx` again after each slow step, with all that it keeps.

    Metrics: `lookahead.count`, fast steps since the last slow one.

    Shapes and dtypes: any; the slot `slow` is like the parameter and begins as its copy, in float32 or wider.

    Differs from the paper: nothing.

    Raises:
        ValueError: a number out of its range.

    References:
        Zhang et al., 2019, Algorithm 1. https://arxiv.org/abs/1907.08610

    >>> import optchain as oc
    >>> tx = oc.lookahead(oc.adamw(1e-3), sync_period=5, slow_step_size=0.5)
    """

def outer_nesterov(
    tx: optax.GradientTransformation,
    every: int,
    momentum: Number = 0.9,
    learning_rate: Number = 0.7,
    axis: str | Sequence[str] | None = None,
) -> Transform:
    r"""Lets a transformation run for some steps, takes the way back as a gradient, and steps by Nesterov's momentum.

    .. math::
        \theta \leftarrow \theta + \mathrm{tx}(g), \qquad
        \Delta = \phi - \theta, \; v \leftarrow \mu v + \Delta, \; \phi \leftarrow \phi - \eta (\Delta + \mu v), \;
        \theta \leftarrow \phi \quad\text{every } k \text{ steps}

    The parameters are :math:`\theta`; `averaged_params(state)` gives :math:`\phi`. Without momentum and with a rate
    below 1 it is `lookahead`.

    With an `axis` it is DiLoCo: along this axis of a mesh, inside `jax.shard_map`, each device is a worker that steps
    parameters of its own on gradients of its own, and :math:`\Delta` is the mean over the workers. They meet in this
    one mean every k steps, and leave with the same parameters. What `tx` computes across a parameter it computes of the
    worker's own; what stands around would decide for all workers by the gradients of one, and is refused if it looks
    across entries. The outer weights, their momentum and the count are the same at all workers, `inner` and the metrics
    are each worker's.

    Args:
        tx: any transformation, with its learning rate.
        every: k, steps of `tx` for each outer one, at least 1; 500 in the paper.
        momentum: :math:`\mu`, in [0, 1); the number `outer.momentum.decay`.
        learning_rate: :math:`\eta`, or a schedule of the outer steps; the number `outer.lr.learning_rate`.
        axis: the name of a mesh axis, or several, along which each device is a worker; also the `axis_name` of
            `jax.vmap`. None is one worker.

    Metrics: `outer_nesterov.count`, steps since the last outer one, and those of the outer chain.

    Shapes and dtypes: any; the outer parameters and their momentum are like the parameter, in float32 or wider.

    Differs from the paper: nothing.

    Raises:
        ValueError: a number out of its range, or an `axis` that is no name; at `update`, a call where no such axis is.

    References:
        Douillard et al., 2023, Algorithm 1 (DiLoCo). https://arxiv.org/abs/2311.08105

    >>> import optchain as oc
    >>> tx = oc.outer_nesterov(oc.adamw(1e-3), every=50)
    >>> tx = oc.outer_nesterov(oc.adamw(1e-3), every=500, axis="worker")
    """

def polyak_average(start: Number = 0.0, every: Number = 1.0, *, mask: Mask | None = None) -> Transform:
    r"""Leaves the update alone and keeps the mean of the parameters that it leads to, all with the same weight.

    .. math::
        u = g, \qquad a \leftarrow a + \frac{p + g - a}{n + 1} \quad\text{at the update } t = s + n k, \; n = 1, 2, ...

    It is the last link of a chain: the incoming update must be the step that is taken. `averaged_params` reads a. With
    the defaults it is Polyak averaging; with a start late in training and every k steps, at the ends of the cycles of
    a cyclic schedule, it is stochastic weight averaging (SWA).

    Fields:
        start: s, updates before the mean begins, at least 0; until then a is the parameter, and the one that stands
            there is the first sample. Rounded to a whole number.
        every: k, updates between two samples, at least 1; rounded to a whole number.

    Shapes and dtypes: any; the slot `average` is like the parameter and begins as its copy, in float32 or wider. It
    reads the parameters: `update` without them is an error.

    Differs from the paper: nothing; statistics of batch normalization must be computed again for the mean.

    References:
        Polyak and Juditsky, 1992, equation 6. doi:10.1137/0330046
        Izmailov et al., 2018, Algorithm 1 (SWA). https://arxiv.org/abs/1803.05407
    """

def schedule_free(
    tx: optax.GradientTransformation,
    learning_rate: Number,
    b1: Number = 0.9,
    weight_lr_power: Number = 2.0,
    *,
    decay_at_z: bool = False,
) -> Transform:
    r"""Turns a transformation's steps into those of a point between its own iterates and their average.

    .. math::
        z \leftarrow z + \mathrm{tx}(g), \qquad
        x \leftarrow (1 - c) x + c z, \quad c = \frac{\eta^r}{\sum_{s \le t} \eta_s^r}, \qquad
        y = (1 - b_1) z + b_1 x, \qquad u = y - p

    The parameters are y, where gradients are taken; `averaged_params(state, params)` gives x, which is to be evaluated
    and kept. No schedule that falls to 0 is needed, only a warm-up. `tx` has no momentum of its own: b1 takes its
    place.

    Args:
        tx: any transformation, with its learning rate: `oc.adamw(rate, b1=0.0)`, or the presets `schedule_free_sgd` and
            `schedule_free_adamw`.
        learning_rate: :math:`\eta`, that of `tx`, at least 0, which weighs the iterates; a schedule is read from step 0
            on. An override by `hyper` changes the rate of `tx`, not these weights.
        b1: :math:`b_1`, in (0, 1].
        weight_lr_power: r, at least 0; with 0 all iterates weigh the same.
        decay_at_z: show `tx` the iterates z as parameters, so that its weight decay acts on them, instead of y.

    Metrics: `schedule_free.b1`, `schedule_free.weight_sum`.

    Shapes and dtypes: any; `z` is like the parameter, in float32 or wider. The average is computed from y and z, so
    low-precision parameters need `precision` around this.

    Differs from the paper: nothing; its code weighs by the largest rate so far, which is the same until the rate falls.

    Raises:
        ValueError: a number out of its range, or `decay_at_z` that is not a bool.

    References:
        Defazio et al., 2024, equations 3 to 5 and Algorithm 1. https://arxiv.org/abs/2405.15682

    >>> import optchain as oc
    >>> rate = oc.linear(0.0, 1.0, 100)
    >>> tx = oc.schedule_free(oc.sgd(rate), rate)
    """

def snapshot_params(every: Number, *, mask: Mask | None = None) -> Transform:
    r"""Leaves the update alone and keeps the parameters that stood at the end of the last period.

    .. math::
        u = g, \qquad q \leftarrow \begin{cases} p + g & \text{at the updates } t = k, 2k, ... \\ q & \text{else}
        \end{cases}

    It is the last link of a chain: the incoming update must be the step that is taken. With the period of a cyclic
    schedule it holds the end of the last cycle, a member of a snapshot ensemble; `averaged_params` reads it.

    Fields:
        every: k, updates in a period, at least 1; rounded to a whole number. As a schedule it may change over time.

    Shapes and dtypes: any; the slot `snapshot` is like the parameter and begins as its copy, in float32 or wider. It
    reads the parameters: `update` without them is an error.

    Differs from the paper: one snapshot is held; an ensemble reads it once in every period.

    References:
        Huang et al., 2017, section 3 (snapshot ensembles). https://arxiv.org/abs/1704.00109
    """

def clip_by_adagc(
    beta: Number = 0.98,
    max_ratio: Number = 1.05,
    warmup_steps: int = 100,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Scales the update of each leaf down, where its norm exceeds a multiple of what it was so far.

    .. math::
        u = g \min\left(1, \lambda \frac{\gamma}{\lVert g \rVert}\right), \qquad
        \gamma \leftarrow \beta \gamma + (1 - \beta) \lVert u \rVert

    During the first updates, :math:`t < T`, everything passes, and :math:`\gamma` is the least norm so far.

    Fields:
        beta: :math:`\beta`, the decay of the mean, in [0, 1).
        max_ratio: :math:`\lambda`, > 0.
        warmup_steps: T, updates without clipping, the first of them always; 100 in the paper.

    Shapes and dtypes: any; the norm is summed in float64. The slot `gamma` is a scalar for each leaf. A NaN or infinity
    spoils its whole leaf.

    Differs from the paper: a norm that is 0 or not finite does not enter the history: there the least norm, and with it
    all updates to come, would be 0. During the warm-up the paper clips by the global norm, which is another link.

    References:
        Wang et al., 2025, Algorithm 1. https://arxiv.org/abs/2502.11034

    >>> import optchain as oc
    >>> warmup = oc.clip_by_global_norm(oc.piecewise([1.0, 1e30], [99]))
    >>> tx = oc.chain(warmup, oc.clip_by_adagc(), oc.adamw(1e-3))
    """

def adaptive_grad_clip(
    clipping: Number,
    eps: Number = 0.001,
    axis: int | tuple[int, ...] | None = None,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Scales the update of each output's weights down, where it is large beside these weights.

    .. math::
        u_{\cdot j} = g_{\cdot j} \min\left(1,
        \lambda\, \frac{\max(\lVert p_{\cdot j} \rVert, \epsilon)}{\lVert g_{\cdot j} \rVert}\right)

    where j counts the last axis, the outputs. A vector or a scalar is one unit.

    Fields:
        clipping: :math:`\lambda`, the bound on the ratio of the norms, > 0; about 0.01.
        eps: :math:`\epsilon`, the least that a norm of weights counts for, in the units of p, > 0.
        axis: the axis or axes that each norm is taken over, of every leaf that the mask chooses; None stands for all
            but the last, and for that of a vector.

    Shapes and dtypes: any; norms are summed in float64. It reads the parameters: `update` without them is an error. A
    kernel has its outputs last, as in Flax. For one with several axes of outputs give a view with `as_matrices`. Leave
    the last linear layer out with a mask, as in the paper. A NaN or infinity spoils the weights of its output.

    Differs from the paper: nothing. optax takes three axes for a layer with heads, (d, heads, features), whose first
    axis is summed; here the first two are, as in a convolution over one axis.

    References:
        Brock et al., 2021, equation 3. https://arxiv.org/abs/2102.06171

    >>> import optchain as oc
    >>> tx = oc.chain(oc.adaptive_grad_clip(0.01), oc.sgd(0.1, momentum=0.9, nesterov=True))
    """

def clip_by_block_rms(threshold: Number, *, mask: Mask | None = None) -> Transform:
    r"""Scales the update of each leaf down, where its root mean square exceeds a bound.

    .. math::
        u = \frac{g}{\max(1, \mathrm{RMS}(g) / d)}

    After adaptive moments, whose updates have a root mean square of about 1, it bounds what spikes do to them.

    Fields:
        threshold: d, in the units of g, > 0; 1 in the paper.

    Shapes and dtypes: any; the mean is taken in float32. A NaN or infinity spoils its whole leaf.

    Differs from the paper: nothing.

    References:
        Shazeer and Stern, 2018, section 6. https://arxiv.org/abs/1804.04235

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_rms(), oc.clip_by_block_rms(1.0), oc.scale_by_learning_rate(1e-2))
    """

def clip_by_global_norm(max_norm: Number, *, mask: Mask | None = None) -> Transform:
    r"""Scales all updates down together, where their common norm exceeds a bound.

    .. math::
        n = \sqrt{\textstyle\sum_{leaves} \lVert g \rVert^2}, \qquad u = g \min(1, \mathrm{max\_norm} / n)

    Fields:
        max_norm: bound on the norm, in the units of g, > 0.

    Metrics: `norm`, the norm before clipping, and `scale`, the factor applied.

    Shapes and dtypes: any; the squares are added in float64, regardless of the dtype of the gradients. A NaN or
    infinity makes the norm non-finite, which the metric shows, and spoils the updates: refusing such a step is a
    guard's business. A norm beyond the largest number, 3.4e38 in float32, is infinite, and clips to 0; on TPUs, which
    have no wider range to add the squares in, one above the root of that, 1.8e19.
    Within `shard_map` it is that of the whole tree under `over_axes`.

    Differs from the paper: nothing.

    References:
        Pascanu, Mikolov and Bengio, 2012, Algorithm 1. https://arxiv.org/abs/1211.5063
    """

def clip_by_leaf_norm(max_norm: Number, *, mask: Mask | None = None) -> Transform:
    r"""Scales the update of each leaf down, where its own norm exceeds a bound.

    .. math::
        u = g \min(1, \mathrm{max\_norm} / \lVert g \rVert)

    Fields:
        max_norm: bound on the norm of each leaf, in the units of g, > 0.

    Shapes and dtypes: any; the norm is summed in float64. A NaN or infinity spoils its whole leaf.

    Differs from the paper: each leaf has a norm of its own (`clipnorm` of Keras); for the norm of all leaves together
    see `clip_by_global_norm`.

    References:
        Pascanu, Mikolov and Bengio, 2012, Algorithm 1. https://arxiv.org/abs/1211.5063
    """

def differentially_private_aggregate(
    l2_norm_clip: Number,
    noise_multiplier: Number,
    key: int | jax.Array = 0,
    *,
    batch_size: float | None = None,
    mask: Mask | None = None,
) -> Transform:
    r"""Turns the gradients of the single examples into their mean, each clipped, with noise that hides any one of them.

    .. math::
        u = \frac{1}{B} \left(\sum_{i=1}^{B} g_i \min\left(1, \frac{C}{\lVert g_i \rVert}\right)
        + \sigma C\, \mathcal{N}(0, I)\right)

    where the norm is that of all leaves of one example together. It is the first link of a chain; the gradients are
    those of `jax.vmap(jax.grad(loss), in_axes=(None, 0))`, with a leading axis for the examples in every leaf.
    Gradients in the shapes of the parameters are a batch of one. Where a batch comes in parts,
    `differentially_private_accumulate` does this for all of them together.

    Fields:
        l2_norm_clip: C, the bound on the norm of one example's gradient, > 0.
        noise_multiplier: :math:`\sigma`, at least 0; with the part of the data in a batch and the number of steps it
            gives the privacy, see `oc.privacy_spent`.
        key: of the noise, a whole number or a key of `jax.random`, which may be traced: each member of a vmapped
            ensemble draws its own noise from its own key. What is to be private needs one that nobody can guess.
        batch_size: B, > 0; None is the size of the batch at hand. Where each example is drawn by itself (Poisson
            sampling), as accountants assume, sizes vary, and B must be the expected one. Then a batch may be empty, and
            examples of gradient 0 that fill it up change nothing.

    Metrics: `clipped`, the fraction of the examples whose gradient was clipped.

    Shapes and dtypes: any; leaves of shape (B, ...) become (...). No slots: the noise is a function of the key, this
    link's count and the leaf's path, the same however the parameters are sharded, and layers stacked in one array draw
    differently. It reads the parameters' shapes: `update` without them is an error. A NaN or infinity spoils the whole
    update. Leaves outside the mask are averaged, neither clipped nor noised: they are not private.

    Differs from the paper: nothing with the expected `batch_size`, the paper's L.

    Raises:
        ValueError: a `batch_size` that is not a positive number, besides numbers out of their ranges.

    References:
        Abadi et al., 2016, Algorithm 1. https://arxiv.org/abs/1607.00133

    >>> import optchain as oc
    >>> tx = oc.chain(oc.differentially_private_aggregate(1.0, noise_multiplier=1.1, key=7), oc.sgd(0.1))
    """

def clip_qk(kernels: Mapping[str, int], tau: Number = 100.0, rotary: Mapping[str, int] | None = None) -> Transform:
    r"""Shrinks, head by head, the kernels of queries and keys after the step where an attention logit was too large.

    .. math::
        \gamma_h = \min\Bigl(1, \frac{\tau}{S_h}\Bigr), \qquad u = \sqrt{\gamma_h} (p + g) - p

    where :math:`S_h` is the largest logit of the head in the batch, before the softmax and after the division by the
    root of the head's size. As queries and keys both shrink, so do the logits of the head, by :math:`\gamma_h`. It is
    the last link of a chain: the incoming update must be the step that is taken.

    The logits are the extra argument `max_logits` of `update` and `oc.apply`: a tree with one array, of as many numbers
    as there are heads, for each attention module, at the module's path. Flax makes it where the module says
    `self.sow("intermediates", "max_logits", logits.max(axis=(0, 2, 3)))` of logits (batch, heads, queries, keys)::

        loss, sown = model.apply({"params": params}, batch, mutable="intermediates")  # within the loss, as its aux
        params, state = oc.apply(tx, grads, state, params, max_logits=sown["intermediates"])

    There a leaf `block/attention/max_logits` belongs to all kernels within `block/attention`; `{"block/attention":
    logits}` says the same, and a bare array is for all kernels. A step that has none passes `max_logits=None` and
    clips nothing; to give nothing is an error. The collection may hold nothing else.

    Args:
        kernels: a table from patterns on paths to the axis that counts heads, such as
            `{"*/query/kernel": -2, "*/key/kernel": -2}` for kernels (inputs, heads, size); likewise biases.
        tau: :math:`\tau`, the largest logit that is let be, positive; a number or a schedule.
        rotary: a table of the same kind for those that are scaled by :math:`\gamma_h` itself, for the other side is
            shared by all heads and stays: the rotary queries of latent attention.

    Metrics: `max_logit`, the largest logit of all heads.

    Shapes and dtypes: any kernel with an axis of heads; stacked layers come first in kernels and logits. It reads the
    parameters. Logits that are not finite clip nothing.

    Differs from the paper: where several query heads share a key, that is shrunk for the largest of their logits.

    Raises:
        ValueError: a pattern that matches no parameter; a kernel without logits, or with another number of heads.

    References:
        Kimi Team, 2025, Algorithm 1. https://arxiv.org/abs/2507.20534

    >>> import optchain as oc
    >>> heads = {"*/query/kernel": -2, "*/key/kernel": -2}
    >>> tx = oc.chain(muon=oc.muon(0.02, scale="rms"), qk=oc.clip_qk(heads))
    """

def clip_by_quantile(quantile: Number = 0.99, *, mask: Mask | None = None) -> Transform:
    r"""Limits the entries of each leaf to a quantile of their sizes.

    .. math::
        u = \min(\max(g, -c), c), \qquad c = Q_q(|g|)

    A few outliers are brought down to the rest, regardless of the units; with `quantile=1` everything passes.

    Fields:
        quantile: q, the part of the entries that pass, in [0, 1]; between two entries c is interpolated.

    Shapes and dtypes: any. It sorts each leaf. A NaN spoils its whole leaf.

    Differs from the paper: nothing: it is Winsorizing, of the sizes.

    References:
        Tukey, 1962 (Winsorizing). doi:10.1214/aoms/1177704711

    >>> import optchain as oc
    >>> tx = oc.chain(oc.clip_by_quantile(0.99, mask=oc.is_matrix), oc.adamw(1e-3))
    """

def clip(max_delta: Number, *, mask: Mask | None = None) -> Transform:
    r"""Limits every entry of the update to an interval around 0.

    .. math::
        u = \min(\max(g, -c), c)

    Fields:
        max_delta: c, in the units of g, > 0.

    Shapes and dtypes: any. An infinity becomes c, a NaN stays.

    Differs from the paper: nothing. It limits gradients, not weights.

    References:
        Mikolov, 2012, section 3.2.2. Statistical Language Models Based on Neural Networks, PhD thesis, Brno
    """

def clip_by_zscore(
    alpha: Number = 0.97,
    z_threshold: Number = 2.5,
    warmup_steps: int = 25,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Scales all updates down together, where their common norm is an outlier among those before.

    .. math::
        z = \frac{n - \mu}{\sigma}, \qquad
        n^* = \begin{cases} \mu + \sigma z_{max}^2 / z & z > z_{max} \\ n & \text{else} \end{cases}, \qquad
        u = \frac{n^*}{n} g

    .. math::
        \mu \leftarrow \alpha \mu + (1 - \alpha) n^*, \qquad
        \sigma^2 \leftarrow \alpha \sigma^2 + (1 - \alpha) (n^* - \mu)^2

    with the new mean in the variance. The further out a norm is, the further it is brought down. During the warm-up
    everything passes, and the mean and the variance are those of all norms.

    Fields:
        alpha: :math:`\alpha`, the decay of mean and variance, in [0, 1).
        z_threshold: :math:`z_{max}`, in standard deviations, > 0.
        warmup_steps: updates without clipping, the first of them always.

    Metrics: `norm`, the norm before clipping, and `scale`, the factor applied.

    Shapes and dtypes: any; the norm is summed in float64. The slots are three scalars. A norm that is 0 or not finite
    does not enter the history; an update that is not finite stays so: refusing it is a guard's business.

    Differs from the paper: what does not enter the history, above.

    References:
        Kumar et al., 2025, Algorithm 1. https://arxiv.org/abs/2504.02507

    >>> import optchain as oc
    >>> tx = oc.chain(oc.clip_by_zscore(), oc.adamw(1e-3))
    """

def demo_mean(
    density: float,
    axis: str | tuple[str, ...] | None = None,
    decay: Number = 0.999,
    chunk: int = 64,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Averages over devices what each sends: the largest frequencies of a momentum, which it takes out of it (DeMo).

    .. math::
        m_i \leftarrow b m_i + g_i, \qquad q_i = \operatorname{top}_k(\operatorname{DCT}(m_i)), \qquad
        u = \operatorname{DCT}^{-1}\Bigl(\frac 1 N \sum_{i=1}^N q_i\Bigr), \qquad
        m_i \leftarrow m_i - \operatorname{DCT}^{-1}(q_i)

    on each device i of N. The last two axes of a leaf, or its only one, are cut into chunks, each as long as the
    largest divisor of the axis up to `chunk`. The cosine transform (type II, orthonormal) is that of a chunk, in which
    entries compete by their magnitude. What changes fast is sent at once, the rest when it has grown.

    Fields:
        density: the part of the entries of a chunk that is sent, in (0, 1]; k is rounded to a whole number of at least
            1.
        axis: the name of a mesh axis, or a tuple of several, along which each device has gradients of its own; also the
            `axis_name` of `jax.vmap`. None is one device, which sends to itself.
        decay: b, in [0, 1]; with 1 it is error feedback alone.
        chunk: the most entries of a chunk along an axis, at least 1.

    What is sent: k values and k places of each chunk, of 2 bytes (4 in chunks of more than 65,536 entries), of each
    device to every other one. A leaf of which that would be no less than all of it is sent whole.

    Shapes and dtypes: any; the slot `residual` (m above) is like the parameter, in float32 or wider, and begins at 0.
    With an axis it has a first axis of devices: see `oc.state_specs`. Entries of g up to 1e36.

    Raises:
        ValueError: a density or a chunk out of its range; at `update`, a call where no such axis is, or gradients that
            have been summed over it.

    Differs from the paper: the learning rate and weight decay are links of their own. The sign that the authors' code
    takes of u is one too: `chain(demo_mean(...), scale_by_sign(), scale_by_learning_rate(1e-3))`. The momentum is that
    of the gradients, to which nothing else need add one.

    References:
        Peng et al., 2024, Algorithm 1. https://arxiv.org/abs/2411.19870

    >>> import optchain as oc
    >>> tx = oc.chain(oc.demo_mean(0.01, axis="data"), oc.scale_by_sign(), oc.scale_by_learning_rate(1e-3))
    """

def low_bit_mean(bits: int = 8, axis: str | tuple[str, ...] | None = None, *, mask: Mask | None = None) -> Transform:
    r"""Averages gradients and residuals over devices, each of which adds up one part; what is sent are low-bit codes.

    .. math::
        x_i = g_i + e_i, \qquad q_i = Q(x_i), \qquad m = \frac 1 N \sum_{i=1}^N q_i, \qquad u = Q(m), \qquad
        e_i \leftarrow x_i - q_i + N (m - u) \text{ at the entries that device } i \text{ adds up}

    on each device i of N, for each leaf. :math:`Q` rounds to even levels, 127 or 7 of each sign, of the largest entry
    of its block of at most 512. Device i receives its part of all :math:`q_j`, adds them up in float32, and sends the
    mean in a code again. Both errors are fed back: the mean over the devices of all that has been sent and of
    :math:`e_i` is that of the gradients.

    Fields:
        bits: of a level with its sign, 8 or 4.
        axis: the name of a mesh axis, or a tuple of several, along which each device has gradients of its own; also the
            `axis_name` of `jax.vmap`. None is one device, which sends to itself.

    What is sent: the codes of a leaf once to the devices that add them up and once back, regardless of their number:
    a quarter of what a mean of float32 sends with 8 bits, an eighth with 4. A leaf so small that codes and scales would
    take more room than it is sent whole.

    Shapes and dtypes: any; the slot `residual` is like the parameter, in float32 or wider, and begins at 0. With an
    axis it has a first axis of devices: see `oc.state_specs`. Entries of g up to 1e37.

    Raises:
        ValueError: other bits; at `update`, a call where no such axis is, or gradients that have been summed over it.

    Differs from the paper: it has no residuals, and no second code, because each device needs its part alone there.

    References:
        Wang et al., 2023 (qgZ). https://arxiv.org/abs/2306.10209

    >>> import optchain as oc
    >>> tx = oc.chain(oc.low_bit_mean(axis="data"), oc.sgd(0.1))
    """

def powersgd_mean(
    rank: int = 4,
    axis: str | tuple[str, ...] | None = None,
    seed: int | jax.Array = 0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Averages gradients and residuals over devices in factors of low rank, by one step of power iteration.

    .. math::
        X_i = G_i + E_i, \qquad P = \mathrm{QR}\Big(\frac 1 N \sum_i X_i V\Big), \qquad R_i = X_i^T P, \qquad
        R = \frac 1 N \sum_i R_i, \\
        u = P R^T, \qquad E_i \leftarrow X_i - P R_i^T, \qquad V_j \leftarrow R_j / \|R_j\|

    on each device i of N, for each matrix. The columns of :math:`P` are orthogonal, those of :math:`V` have length 1.

    Fields:
        rank: columns of both factors, at least 1.
        axis: the name of a mesh axis, or a tuple of several, along which each device has gradients of its own; also the
            `axis_name` of `jax.vmap`. None is one device, which sends to itself.
        seed: of the normal numbers that :math:`V` begins with, a whole number or a key of `jax.random`, which may be
            traced; the same on all devices.

    What is sent: a sum over the devices for each of both factors, `rank` numbers for each row and each column. Vectors
    are sent whole, and so is a matrix that has no more entries than its factors.

    Shapes and dtypes: matrices, and vectors; other leaves need `as_matrices`, `over_layers`, or a mask that leaves them
    out, which sends them whole. The slot `residual` is like the parameter, in float32 or wider, and begins at 0. With
    an axis it has a first axis of devices: see `oc.state_specs`. The slot `right` has `rank` numbers for each column
    of a matrix that is sent in factors. Entries of g up to 1e36.

    Raises:
        ValueError: a rank below 1; at `update`, a call where no such axis is, or gradients that have been summed over
            it.

    Differs from the paper: columns of :math:`V` have length 1, which changes no result, and one that would be 0 stays
    as it was. Of two readings of Algorithm 2, a device remembers what it has not sent itself, and not what the mean
    leaves out of its gradient; the sum over the devices is the same.

    References:
        Vogels et al., 2019, Algorithms 1 and 2. https://arxiv.org/abs/1905.13727

    >>> import optchain as oc
    >>> tx = oc.chain(oc.powersgd_mean(rank=4, axis="data"), oc.sgd(0.1))
    """

def qsgd_mean(
    bits: int = 4,
    axis: str | tuple[str, ...] | None = None,
    seed: int | jax.Array = 0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Averages over devices what each sends: gradient and residual, rounded at random to levels of a few bits.

    .. math::
        x_i = g_i + e_i, \qquad s_i = \operatorname{sign}(x_i) \frac{\|x_i\|_\infty}{L} \xi(L |x_i| / \|x_i\|_\infty),
        \qquad u = \frac 1 N \sum_{i=1}^N s_i, \qquad e_i \leftarrow x_i - s_i

    on each device i of N, for each block of 512 entries of a leaf. :math:`\xi` rounds up or down with the probability
    that makes it exact on average; L is 7 for 4 bits and 127 for 8.

    Fields:
        bits: of a level with its sign, 4 or 8.
        axis: the name of a mesh axis, or a tuple of several, along which each device has gradients of its own; also the
            `axis_name` of `jax.vmap`. None is one device, which sends to itself.
        seed: of the rounding, a whole number or a key of `jax.random`, which may be traced. It is a hash of seed,
            count, device and element.

    What is sent: the levels, two of 4 bits in a byte, and one float32 for each block, of each device to every other
    one. That is less than a mean of whole leaves sends for up to 15 devices with 4 bits and 7 with 8; `low_bit_mean`
    sends as much regardless of their number. A leaf whose levels and scales would take more room than it is sent whole.

    Shapes and dtypes: any; the slot `residual` is like the parameter, in float32 or wider, and begins at 0. With an
    axis it has a first axis of devices: see `oc.state_specs`. Entries of g up to 1e37.

    Raises:
        ValueError: other bits; at `update`, a call where no such axis is, or gradients that have been summed over it.

    Differs from the paper: what rounding has left out is fed back. The scale of a block is its largest entry in the
    place of its norm, so that the residual of an entry is always below one level. Levels have a fixed number of bits
    in the place of Elias codes.

    References:
        Alistarh et al., 2016, section 3. https://arxiv.org/abs/1610.02132

    >>> import optchain as oc
    >>> tx = oc.chain(oc.qsgd_mean(bits=4, axis="data"), oc.sgd(0.1))
    """

def random_k_mean(
    density: float,
    axis: str | tuple[str, ...] | None = None,
    seed: int | jax.Array = 0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Averages over devices what each sends: random entries, the same on all, of its gradient and what it kept back.

    .. math::
        x_i = g_i + e_i, \qquad s_i = x_i \text{ at k random places}, \qquad
        u = \frac 1 N \sum_{i=1}^N s_i, \qquad e_i \leftarrow x_i - s_i

    on each device i of N, for each leaf. The places are other ones in each step.

    Fields:
        density: the part of the entries that is sent, in (0, 1]; k is rounded to a whole number of at least 1.
        axis: the name of a mesh axis, or a tuple of several, along which each device has gradients of its own; also the
            `axis_name` of `jax.vmap`. None is one device, which sends to itself.
        seed: of the places, a whole number or a key of `jax.random`, which may be traced; the same on all devices. They
            are a hash of seed, count and element.

    What is sent: a sum of k values over the devices, regardless of their number; all know the places.

    Shapes and dtypes: any; the slot `residual` is like the parameter, in float32 or wider, and begins at 0. With an
    axis it has a first axis of devices: see `oc.state_specs`. Entries of g up to 1e37.

    Raises:
        ValueError: a density out of its range; at `update`, a call where no such axis is, or gradients that have been
            summed over it.

    Differs from the paper: the learning rate is not part of what is compressed; let it stand before this link for that.
    The paper's devices draw places of their own.

    References:
        Stich et al., 2018, Algorithm 2. https://arxiv.org/abs/1809.07599

    >>> import optchain as oc
    >>> tx = oc.chain(oc.random_k_mean(0.05, axis="data"), oc.sgd(0.1))
    """

def sign_mean(axis: str | tuple[str, ...] | None = None, *, mask: Mask | None = None) -> Transform:
    r"""Averages over devices what each sends: a bit for each entry, the sign, and one scale, of gradient and residual.

    .. math::
        x_i = g_i + e_i, \qquad s_i = \frac{\|x_i\|_1}{n} \operatorname{sign}(x_i), \qquad
        u = \frac 1 N \sum_{i=1}^N s_i, \qquad e_i \leftarrow x_i - s_i

    on each device i of N, for each leaf of n entries.

    Fields:
        axis: the name of a mesh axis, or a tuple of several, along which each device has gradients of its own; also the
            `axis_name` of `jax.vmap`. None is one device, which sends to itself.

    What is sent: n/8 bytes and one float32 of each device to every other one. A mean of whole leaves sends up to 8
    bytes for each entry, regardless of the number of devices: from 64 devices on this is more. A leaf of one entry is
    sent whole.

    Shapes and dtypes: any; the slot `residual` is like the parameter, in float32 or wider, and begins at 0. With an
    axis it has a first axis of devices: see `oc.state_specs`. Entries of g up to 1e37.

    Raises:
        ValueError: at `update`, a call where no such axis is, or gradients that have been summed over it.

    Differs from the paper: the learning rate is not part of what is compressed; let it stand before this link for that.
    The sign of 0 is 1, because there is no third value of a bit; the error is as large.

    References:
        Karimireddy et al., 2019, Algorithms 1 and 2. https://arxiv.org/abs/1901.09847

    >>> import optchain as oc
    >>> tx = oc.chain(oc.sign_mean(axis="data"), oc.sgd(0.1))
    """

def top_k_mean(density: float, axis: str | tuple[str, ...] | None = None, *, mask: Mask | None = None) -> Transform:
    r"""Averages over devices what each sends: the largest entries of its gradient and of what it has not sent before.

    .. math::
        x_i = g_i + e_i, \qquad s_i = \operatorname{top}_k(x_i), \qquad
        u = \frac 1 N \sum_{i=1}^N s_i, \qquad e_i \leftarrow x_i - s_i

    on each device i of N, for each leaf, where entries compete by their magnitude.

    Fields:
        density: the part of the entries that is sent, in (0, 1]; k is rounded to a whole number of at least 1.
        axis: the name of a mesh axis, or a tuple of several, along which each device has gradients of its own; also the
            `axis_name` of `jax.vmap`. None is one device, which sends to itself.

    What is sent: k values and k int32 places of each device to every other one. That is less than a mean of whole
    leaves sends as long as `density` is below 1/N. A leaf of which more than half would be sent is sent whole.

    Shapes and dtypes: any; the slot `residual` is like the parameter, in float32 or wider, and begins at 0. With an
    axis it has a first axis of devices: see `oc.state_specs`. It sorts each leaf. Entries of g up to 1e37.

    Raises:
        ValueError: a density out of its range; at `update`, a call where no such axis is, or gradients that have been
            summed over it.

    Differs from the paper: the learning rate is not part of what is compressed; let it stand before this link for that.

    References:
        Stich et al., 2018, Algorithm 2. https://arxiv.org/abs/1809.07599
        Karimireddy et al., 2019, Algorithm 2. https://arxiv.org/abs/1901.09847

    >>> import optchain as oc
    >>> tx = oc.chain(oc.top_k_mean(0.01, axis="data"), oc.clip_by_global_norm(1.0), oc.sgd(0.1))
    """

def accumulate(
    tx: optax.GradientTransformation,
    every: Number,
    rows: int | None = None,
    over: str | Sequence[str] | None = None,
) -> Transform:
    r"""Steps once every few micro-batches, on the mean of their gradients.

    .. math::
        \bar g = \frac{\sum_i w_i g_i}{\sum_i w_i}, \qquad u = \mathrm{tx}(\bar g)\ \text{at the last},\ 0\ \text{else}

    The wrapped transformation runs only when it steps; between steps its state rests and the update is zero. A
    micro-batch with a NaN or infinity is left out of the mean and counted; if all are, no step is made. For a model
    without batch statistics or dropout the step is that of one large batch.

    Args:
        tx: any transformation. Its schedules count the steps made, not the micro-batches.
        every: micro-batches for each step, at least 1, or a schedule of the steps made; rounded to a whole number.
        rows: where `tx` is `optchain.rows`, the look-ups of a micro-batch in a table, at most: room is made for `every`
            times as many, and `every` is constant.
        over: the name of a mesh axis, or several, along which each device has gradients of its own.

    `update` and `oc.apply` take the extra arguments

    - `weight`, the weight w of this micro-batch: the number of its tokens, where the loss is a mean over tokens. A
      weight of 0 leaves a micro-batch out; a negative one does too.
    - `emit`, a bool that may be traced: step now, on the mean of what has been seen since the last step, as at the end
      of an epoch. With a weight of 0 and gradients of 0 that is a step without another micro-batch.

    Of those that `tx` reads, `value` (of a transformation of optax too), `validation` and `hessian` are averaged in the
    same way, over the micro-batches that give them; all others are forwarded, at a step those of its last micro-batch.
    What has no mean is refused: functions, and the `max_logits` of `clip_qk`.

    Through `oc.apply` a micro-batch costs a test of its gradients and the addition; `update` writes zeros besides.

    On a mesh, gradients of a micro-batch that is spread over devices are summed over these before they come here: one
    reduction for each micro-batch. With `over`, inside `jax.shard_map`, each device adds the gradients of its own parts
    instead, and nothing is sent until the step, which begins with one reduction of each gradient and of the weights:

        def micro(carry, x):  # x: this device's part of a micro-batch
            params, state = carry
            grads = jax.grad(loss)(jax.lax.pcast(params, "data", to="varying"), x)  # else JAX would reduce them
            return oc.apply(tx, grads, state, params), None

    Each part counts as a micro-batch: it has a `weight` of its own, and is left out by itself if it is not finite.
    `tx` and the parameters are the same on all devices. Begin inside `shard_map` too, with the specs that
    `oc.state_specs(tx, params, specs)` gives; outside of it, one device accumulates alone.

    Metrics: `accumulate.micro`, `accumulate.emitted`, `accumulate.dropped`, `accumulate.every`.

    Shapes and dtypes: any; the running mean is like the parameters, in float32 or wider; so is that of a `hessian`,
    where something reads it. With `over` these have an axis of devices in front, of which each device has one.

    Raises:
        ValueError: `every` below 1; `rows` where nothing takes them, or with `over`; a technique that reads what has no
            mean, unless `every` is 1; while tracing, more look-ups than `rows`, gradients of single examples, a
            function where a transformation of optax may call it, or with `over` gradients that are reduced already.

    >>> import optchain as oc
    >>> tx = oc.accumulate(oc.adamw(1e-3), every=8)
    """

def delayed(
    tx: optax.GradientTransformation,
    delay: int | Sequence[int],
    uniform: bool = False,
    seed: int | jax.Array = 0,
) -> Transform:
    r"""Gives a transformation the gradients of earlier steps, as asynchronous workers would: a simulator of staleness.

    .. math::
        \theta_{t+1} = \theta_t + \mathrm{tx}(g_{t - \tau_t}), \qquad g_t = \nabla L(\theta_t)

    The gradient of a step goes into a ring in the state, and `tx` receives the one that was computed
    :math:`\tau_t` steps ago, at the parameters and on the batch of that step. The delays are

    - constant, with one number;
    - by worker, with several: step t is that of worker t mod n, whose gradients are as old as its delay;
    - random, with `uniform`: drawn at each step from 0 to that number, each with the same probability. A gradient may
      then be taken twice, or never.

    While :math:`t < \tau_t`, nothing has arrived: the update is zero, and the state of `tx` stays as it is. Counts and
    schedules within `tx` are of the steps that it has taken. With a delay of 0 it is `tx`, and keeps nothing.

    What the links of `tx` receive besides: `staleness`, the delay of this step, for `scale_by_staleness`, and
    `stale_params`, the parameters that the gradient was computed at, for `compensate_delay`; these are kept in a second
    ring where something in `tx` reads them. All other extra arguments are those of this step.

    Args:
        tx: any transformation. What computes a second gradient, such as `sam`, stands around: `sam(delayed(tx, 4))`.
        delay: :math:`\tau`, in steps, at least 0; a whole number, or one for each worker.
        uniform: draw the delay of each step from 0 to `delay`.
        seed: of the delays that are drawn, a whole number or a key of `jax.random`, which may be traced: each member of
            a vmapped ensemble draws its own from its own seed. They are a function of the seed and the step.

    Metrics: `delayed.staleness`, the delay of the last step; `delayed.taken`, steps of `tx`; `delayed.waited`, steps at
    which nothing had arrived.

    Shapes and dtypes: any; a ring is like the parameters, in float32 or wider, with an axis in front, which is
    longer by one than the largest delay. A step writes one entry of it and reads one, in place where the buffers are
    donated.

    Differs from the paper: there workers run at the same time, and how stale a gradient is follows from their speed;
    here it is said or drawn, and a run is a function of its seed. One step sees one gradient, whole: not, as there,
    some entries of it sooner than others.

    Raises:
        ValueError: a delay that is not a whole number of at least 0, or no delay; a `tx` that takes gradients of rows,
            or reads `grad_fn` or `value_fn`.

    References:
        Niu et al., 2011, Algorithm 1 and equation 2.4 (Hogwild). https://arxiv.org/abs/1106.5730

    >>> import optchain as oc
    >>> tx = oc.delayed(oc.sgd(0.1), 4)
    >>> tx = oc.delayed(oc.chain(oc.compensate_delay(0.04), oc.sgd(0.1)), [1, 2, 8], uniform=True)
    """

def guard(
    tx: optax.GradientTransformation,
    check_outputs: bool = False,
    max_norm: float | None = None,
    max_value: float | None = None,
    spike: float | None = None,
    decay: float = 0.99,
    warmup: int = 100,
    patience: int = 10,
    loss_scale: float | None = None,
    growth: int = 2000,
) -> Transform:
    r"""Rejects a step whose gradients are not finite, or are a spike: zero update, the state restored bit for bit.

    A sample x (the norm of all gradients, or the extra argument `value`) is a spike where

    .. math::
        x > m + k \sigma, \qquad \sigma = \max(\sqrt{q - m^2}, 0.05 |m|), \qquad
        m \leftarrow b m + (1 - b) x', \quad q \leftarrow b q + (1 - b) x'^2, \quad x' = \min(x, m + k \sigma)

    Non-finite samples never enter the running mean m and mean square q. A spike enters as the limit x', so that a
    change that lasts is followed. Where all samples were zero there is no limit.

    Args:
        tx: any transformation. Its schedules count the accepted steps.
        check_outputs: also reject where the new updates or parameters are not finite; the step is computed twice,
            about 2 times the time of an elementwise rule.
        max_norm: reject where the gradients' norm is above this.
        max_value: reject where `value` is above this.
        spike: k, in standard deviations, > 0; None for no test of spikes.
        decay: b, in [0, 1); during the first samples a plain mean.
        warmup: samples before the test of spikes begins, at least 0.
        patience: rejections in a row from which on the metric `guard.exhausted` is 1, for a trainer to stop or reload.
        loss_scale: where the loss is multiplied by `loss_scale(state)` before differentiation (float16), its first
            value: gradients are divided by it, it halves when they overflow (to 1 at least) and doubles after `growth`
            good steps. An accumulation then stands within: `guard(accumulate(tx, 8), loss_scale=2.0**15)`.
        growth: steps without overflow after which the loss scale doubles.

    `update` and `oc.apply` take the extra argument `value`, the loss; it is checked too, and forwarded as all others.
    With `max_value` it must be given, None in a step that has none.
    Through `oc.apply` the parameters stand within the same `cond`, and a rejected step touches nothing.

    Metrics: `guard.accepted`, `guard.rejected`, `guard.streak`, `guard.reason` (an index of `REASONS`), `guard.leaf`
    (that of the first leaf with a NaN or an infinity, in the gradients or else in the output, among all leaves of the
    parameters, or -1), `guard.norm`, `guard.exhausted`, and `guard.loss_scale` where there is one.
    `rejection(state, params)` says the reason and the leaf in words.

    Raises:
        ValueError: a number out of its range.

    References:
        Loss scaling: Micikevicius et al., 2017, section 3.2. https://arxiv.org/abs/1710.03740

    >>> import optchain as oc
    >>> tx = oc.guard(oc.adamw(1e-3), spike=6.0)
    """

def scale_on_plateau(
    factor: float = 0.1,
    patience: int = 10,
    tolerance: float = 0.0001,
    cooldown: int = 0,
    minimum: float = 0.0,
    raise_by: float = 1.0,
    against: str = "best",
) -> Transform:
    r"""Scales the update by a factor that falls while the loss does not.

    .. math::
        u = c g, \qquad c \leftarrow \begin{cases}
        \max(f c, c_{min}) & \text{after more than `patience` values without a better one} \\
        r c & \text{at a better value} \\ c & \text{else} \end{cases}

    A value v is better than the best b so far where :math:`v < b - \epsilon |b|`, for negative values too. The bold
    driver, `scale_on_plateau(0.5, patience=0, tolerance=0.0, raise_by=1.05, against="last")`, lowers the step whenever
    the loss has not fallen since the last value, and raises it whenever it has.

    Args:
        factor: f, in (0, 1).
        patience: how many values without a better one are tolerated, at least 0.
        tolerance: :math:`\epsilon`, in [0, 1).
        cooldown: values after a fall that are not counted, at least 0.
        minimum: :math:`c_{min}`, in [0, 1].
        raise_by: r, at least 1.
        against: compare with the "best" value so far, or with the "last".

    `update` and `oc.apply` take the extra argument `validation` or, without it, `value`; to give neither is an error.
    A NaN, an infinity or None changes nothing: feed a validation loss once, and NaN until there is a new one.

    Metrics: `factor`, `best`, `stale`.

    Differs from the paper: the bold driver there also undoes a step that failed; a guard does that.

    Raises:
        ValueError: a number out of its range, or another word than "best" or "last".

    References:
        Vogl et al., 1988, section 3 (bold driver). doi:10.1007/BF00332914

    >>> import optchain as oc
    >>> tx = oc.chain(oc.adam(1e-3), oc.scale_on_plateau(0.5, patience=5))
    """

def differentially_private_accumulate(
    tx: optax.GradientTransformation,
    every: Number,
    l2_norm_clip: Number,
    noise_multiplier: Number,
    key: int | jax.Array = 0,
    *,
    batch_size: float | None = None,
) -> Transform:
    r"""Steps once every few micro-batches of gradients of single examples, on their clipped mean with noise.

    .. math::
        S \leftarrow S + \sum_{i} g_i \min\left(1, \frac{C}{\lVert g_i \rVert}\right), \qquad
        u = \mathrm{tx}\left(\frac{S + \sigma C\, \mathcal{N}(0, I)}{B}\right)\ \text{at the last},\ 0\ \text{else}

    This is `differentially_private_aggregate` of a batch that comes in parts: each example is clipped by itself, and
    noise is added once, the same as to the whole batch. To average micro-batches before the clip would hide no example,
    and noise for each would be more than the privacy needs. Between steps `tx` rests and the update is zero.

    Args:
        tx: any transformation that comes after the aggregate, such as `oc.sgd(0.1)`. Its schedules, and those of the
            numbers here, count the steps made, not the micro-batches.
        every: micro-batches for each step, at least 1, or a schedule of the steps made; rounded to a whole number.
        l2_norm_clip: C, the bound on the norm of one example's gradient, > 0; the number `private.l2_norm_clip`. An
            override by `hyper` must be the same in all micro-batches of a step.
        noise_multiplier: :math:`\sigma`, at least 0; the number `private.noise_multiplier`.
        key: of the noise, a whole number or a key of `jax.random`, which may be traced. What is to be private needs one
            that nobody can guess.
        batch_size: B, > 0, of all micro-batches of a step together; None is the number of examples seen. Where each
            example is drawn by itself (Poisson sampling) it must be the expected number; micro-batches may be empty
            then, and examples of gradient 0 that fill them up change nothing.

    `update` and `oc.apply` take the extra argument `emit`, a bool that may be traced: step now, on what has been seen
    since the last step and this micro-batch, as at the end of an epoch. A `value`, `validation` or `hessian` that `tx`
    reads is averaged over the examples, as in `accumulate`, and functions are refused; nothing hides the examples in
    these.

    No micro-batch is left out for what is in it: a NaN or infinity spoils the whole step, and a batch without examples
    makes a step of noise alone. A `guard` around decides by gradients that are not private; let it stand within:
    `differentially_private_accumulate(oc.guard(tx), ...)`.

    Metrics: `private.clipped`, the fraction of the examples that were clipped, of this batch so far;
    `differentially_private_accumulate.micro`, `.emitted`, `.examples` (seen, of this batch) and `.every`.

    Shapes and dtypes: any; leaves of shape (n, ...) with n examples each, which may differ between micro-batches,
    become (...); gradients in the shapes of the parameters are one example. The sum is like the parameters, in float32
    or wider. It reads the parameters' shapes: `update` without them is an error.

    Differs from the paper: nothing with the expected `batch_size`, the paper's L: its lot is the batch here, and its
    batch a micro-batch.

    Raises:
        ValueError: a number out of its range; a `tx` with a `differentially_private_aggregate` of its own, or one that
            reads what has no mean, unless `every` is 1; while tracing, leaves with different numbers of examples, or a
            function where a transformation of optax may call it.

    References:
        Abadi et al., 2016, Algorithm 1. https://arxiv.org/abs/1607.00133

    >>> import optchain as oc
    >>> tx = oc.differentially_private_accumulate(oc.sgd(0.1), 8, 1.0, noise_multiplier=1.1, key=7, batch_size=256)
    """

def add_cautious_decayed_weights(weight_decay: Number, *, mask: Mask | None = None) -> Transform:
    r"""Adds a multiple of the parameter to the update where the two have the same sign.

    .. math::
        u = g + \lambda [g p \ge 0]\, p

    It stands after the moments and before the learning rate. An entry that the update already moves away from 0 is not
    held back, so that the minima of the loss stay where they are.

    Fields:
        weight_decay: :math:`\lambda`, at least 0; per unit of the learning rate where a rate link follows.

    Shapes and dtypes: any. It reads the parameters: `update` without them is an error.

    Differs from the paper: nothing.

    References:
        Chen et al., 2025, Algorithm 1. https://arxiv.org/abs/2510.12402
    """

def add_corrected_decayed_weights(
    weight_decay: Number,
    learning_rate: Number,
    peak: Number,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Adds a multiple of the parameter to the update that falls with the learning rate.

    .. math::
        u = g + \lambda \frac{\eta}{\eta_{max}} p

    Where a layer is followed by a normalization, decay and rate together set the ratio of its gradient's norm to its
    own; with a constant decay that ratio, and the gradient, grows as the rate falls. Decayed in step with the rate it
    stays. For `scale_by_adam` before and `scale_by_learning_rate` after it this is AdamC. Give other parameters a
    constant decay by two links with masks.

    Fields:
        weight_decay: :math:`\lambda` at the peak, at least 0; per unit of the learning rate, which a rate link applies.
        learning_rate: :math:`\eta`, the rate or schedule of the rate link, at least 0.
        peak: :math:`\eta_{max}`, the largest rate of that schedule, > 0.

    Shapes and dtypes: any. It reads the parameters: `update` without them is an error.

    Differs from the paper: nothing.

    References:
        Defazio, 2025, Algorithm 2 (AdamC). https://arxiv.org/abs/2506.02285
    """

def add_decayed_weights(weight_decay: Number = 0.0, mask: Mask | None = None) -> Transform:
    r"""Adds a multiple of the parameter to the update.

    .. math::
        u = g + \lambda p

    After the moments and before the learning rate this is decoupled decay, as in AdamW; before the moments it is the
    gradient of the penalty :math:`\lambda \lVert p \rVert^2 / 2` (L2), which adaptive moments then rescale. For plain
    SGD the two are the same.

    Fields:
        weight_decay: :math:`\lambda`, at least 0; per unit of the learning rate where a rate link follows.

    Shapes and dtypes: any. It reads the parameters: `update` without them is an error.

    Differs from the paper: there the decay is scaled by the schedule but not by the base rate; here the rate link
    scales both, as elsewhere in practice.

    References:
        Loshchilov and Hutter, 2017, Algorithms 1 and 2. https://arxiv.org/abs/1711.05101
    """

def decay_to_init(weight_decay: Number, *, mask: Mask | None = None) -> Transform:
    r"""Adds a multiple of the way from the initial parameter to the update.

    .. math::
        u = g + \lambda (p - p_0)

    In fine-tuning it holds parameters near the pretrained ones, where ordinary decay pulls them to 0. Before the
    moments it is the gradient of the penalty :math:`\lambda \lVert p - p_0 \rVert^2 / 2`, after them decoupled.

    Fields:
        weight_decay: :math:`\lambda`, at least 0; per unit of the learning rate where a rate link follows.

    Shapes and dtypes: any; the slot `initial` is a copy of the parameter in float32 or wider. It reads the parameters:
    `update` without them is an error.

    Differs from the paper: new parameters have no penalty of their own; give them another by masks.

    References:
        Li, Grandvalet and Davoine, 2018, equation 2 (L2-SP). https://arxiv.org/abs/1802.01483
    """

def keep_params_max_norm(max_norm: Number, *, mask: Mask | None = None) -> Transform:
    r"""Shortens the update so that the weights into each output stay within a ball.

    .. math::
        u_{\cdot j} = \min\left(1, \frac{c}{\lVert (p + g)_{\cdot j} \rVert}\right) (p + g)_{\cdot j} - p_{\cdot j}

    where j counts the last axis, the outputs. Vectors and scalars pass. It is the last link of a chain: the incoming
    update must be the step that is taken.

    Fields:
        max_norm: c, in the units of the parameter, > 0; 3 to 4 with dropout.

    Shapes and dtypes: any; norms are summed in float64. It reads the parameters: `update` without them is an error. A
    kernel has its outputs last, as in Flax. For one with several axes of outputs give a view with `as_matrices`.

    Differs from the paper: nothing.

    References:
        Hinton et al., 2012 (the bound on each hidden unit's incoming weights). https://arxiv.org/abs/1207.0580

    >>> import optchain as oc
    >>> tx = oc.chain(oc.sgd(0.1, momentum=0.9), oc.keep_params_max_norm(3.0, mask="*/kernel"))
    """

def keep_params_nonnegative(*, mask: Mask | None = None) -> Transform:
    r"""Shortens the update so that no entry of the parameter falls below 0.

    .. math::
        u = \max(p + g, 0) - p

    It is the last link of a chain: the incoming update must be the step that is taken.

    Fields: none.

    Shapes and dtypes: any. It reads the parameters: `update` without them is an error. An entry that is stopped gets
    the update -p, so that it is exactly 0 after `apply_updates`; within `rows` one that begins below 0 stays as it is
    until a step touches its row.

    Differs from the paper: nothing.

    References:
        Lin, 2007, section 4 (projected gradients). doi:10.1162/neco.2007.19.10.2756

    >>> import optchain as oc
    >>> tx = oc.chain(oc.sgd(0.1), oc.keep_params_nonnegative())
    """

def keep_params_norm(*, mask: Mask | None = None) -> Transform:
    r"""Turns the update into the one that leads back to the norm that each parameter began with.

    .. math::
        u = R\, \frac{p + g}{\lVert p + g \rVert} - p, \qquad R = \lVert p_0 \rVert

    It is the last link of a chain: the incoming update must be the step that is taken. With `scale_by_trust_ratio`
    before the learning rate, which then is the step over R, it is Hyperball. It takes the place of weight decay.

    Fields: none.

    Shapes and dtypes: any; the norm is summed in float64. The slot `radius` is a scalar for each leaf. It reads the
    parameters: `update` without them is an error. A parameter that begins at 0 has no norm to keep: its updates pass.
    In bfloat16 the parameter's own rounding moves the norm a little, and the next step moves it back.

    Differs from the paper: the norm of the update is another link's business.

    References:
        Wen et al., 2026. https://arxiv.org/abs/2606.16899

    >>> import optchain as oc
    >>> hyperball = oc.chain(
    ...     oc.scale_by_adam(), oc.scale_by_trust_ratio(), oc.scale_by_learning_rate(0.01), oc.keep_params_norm()
    ... )
    """

def keep_params_in_range(low: Number, high: Number, *, mask: Mask | None = None) -> Transform:
    r"""Shortens the update so that no entry of the parameter leaves an interval.

    .. math::
        u = \min(\max(p + g, l), h) - p

    It is the last link of a chain: the incoming update must be the step that is taken. With -0.01 and 0.01 it is the
    weight clipping of the Wasserstein GAN.

    Fields:
        low: l, in the units of the parameter, any finite number.
        high: h, in the units of the parameter, any finite number; where it is below `low` it is what counts.

    Shapes and dtypes: any. It reads the parameters: `update` without them is an error. An entry that begins outside the
    interval is brought to its edge by the first step, within `rows` by the first one that touches its row. In low
    precision the edge is met within one rounding.

    Differs from the paper: nothing.

    References:
        Arjovsky, Chintala and Bottou, 2017, Algorithm 1, line 7. https://arxiv.org/abs/1701.07875

    >>> import optchain as oc
    >>> tx = oc.chain(oc.rmsprop(5e-5), oc.keep_params_in_range(-0.01, 0.01))
    """

def keep_params_spectral_norm(
    max_norm: Number,
    steps: int = 1,
    seed: int | jax.Array = 0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Shortens the update so that the largest singular value of each matrix stays within a bound.

    .. math::
        W = p + g, \qquad a = \frac{W v}{\|W v\|}, \qquad \sigma = \|W^T a\|, \qquad v \leftarrow \frac{W^T a}{\sigma},
        \qquad u = \min\left(1, \frac{c}{\sigma}\right) W - p

    It is the last link of a chain: the incoming update must be the step that is taken. One step of power iteration from
    the last vector follows the largest singular value as the matrix changes. Until the vector has turned there,
    :math:`\sigma` is too small, never too large: the norm may exceed the bound in the first steps, and for a few steps
    where another singular value becomes the largest.

    Fields:
        max_norm: c, in the units of the parameter, > 0. With 1 a layer makes no difference of its inputs longer.
        steps: of power iteration in each update, at least 1; more follow a fast change sooner.
        seed: of the normal numbers that :math:`v` begins with, a whole number or a key of `jax.random`, which may be
            traced.

    Shapes and dtypes: matrices; the slot `right` has one number for each column, in float32 or wider. It reads the
    parameters: `update` without them is an error. For kernels of convolutions, which the paper sees as matrices of
    inputs by outputs, give a view with `as_matrices`.

    Raises:
        ValueError: steps below 1.

    Differs from the paper: the parameters themselves are scaled, and only where they exceed the bound, which is the
    projection of Gouk et al.; Miyato et al. divide by :math:`\sigma` in the forward pass, whatever it is.

    References:
        Miyato et al., 2018, Algorithm 1. https://arxiv.org/abs/1802.05957
        Gouk et al., 2018, Algorithm 1. https://arxiv.org/abs/1804.04368

    >>> import optchain as oc
    >>> tx = oc.chain(oc.sgd(0.1, momentum=0.9), oc.keep_params_spectral_norm(1.0, mask="*/kernel"))
    """

def proximal_elastic_net(learning_rate: Number, l1: Number, l2: Number = 0.0, *, mask: Mask | None = None) -> Transform:
    r"""Takes the step of the learning rate and then the proximal step of an L1 and L2 penalty, which makes exact zeros.

    .. math::
        x = p - \eta g, \qquad
        u = \frac{\operatorname{sign}(x) \max(|x| - \eta \lambda_1, 0)}{1 + \eta \lambda_2} - p

    It stands in the place of `scale_by_learning_rate`, at the end of a chain, because the threshold is in the units of
    the parameter and moves with the rate. With `l2=0` it is the proximal step of the lasso.

    Fields:
        learning_rate: :math:`\eta`, at least 0.
        l1: :math:`\lambda_1`, weight of :math:`\sum |p|` in the loss, at least 0.
        l2: :math:`\lambda_2`, weight of :math:`\sum p^2 / 2` in the loss, at least 0.

    Shapes and dtypes: any. It reads the parameters: `update` without them is an error. A parameter that the threshold
    stops gets the update -p, so that it is exactly 0 after `apply_updates`.

    Differs from the paper: after an adaptive link the proximal step stays Euclidean, it is not rescaled by the moments.

    References:
        Beck and Teboulle, 2009, equation 1.4 (ISTA). doi:10.1137/080716542
        Zou and Hastie, 2005, equation 3 (elastic net). doi:10.1111/j.1467-9868.2005.00503.x
    """

def cautious(tx: optax.GradientTransformation) -> Transform:
    r"""Zeroes the entries of a technique's update whose sign disagrees with the gradient, and scales up the rest.

    .. math::
        \phi_i = [u_i g_i > 0], \qquad u'_i = \frac{d}{1 + \sum_j \phi_j} \phi_i u_i

    with d the number of entries of the leaf. It stands around the moments and before decay and learning rate,
    `chain(cautious(scale_by_adam()), add_decayed_weights(0.1), scale_by_learning_rate(1e-3))`: after the rate an update
    has the other sign than the gradient.

    Args:
        tx: any transformation whose update has the sign of the gradient.

    Shapes and dtypes: any; the entries are counted in each leaf, of a declared layer in the layer (`over_layers`).

    Differs from the paper: nothing; its code divides by the mean of the mask and a small constant instead.

    Raises:
        ValueError: a transformation with a learning rate.

    References:
        Liang et al., 2024, Algorithm 1 and the scaling with xi = 1 of section 2. https://arxiv.org/abs/2411.16085

    >>> import optchain as oc
    >>> tx = oc.chain(oc.cautious(oc.scale_by_lion()), oc.scale_by_learning_rate(1e-4))
    """

def compensate_delay(strength: Number = 0.04, *, mask: Mask | None = None) -> Transform:
    r"""Adds to a stale gradient what it has likely changed by since, from its square and the way of the parameters.

    .. math::
        u = g + \lambda\, g^2 (\theta_t - \theta_{t - \tau})

    It is a Taylor step of the gradient, whose Hessian is taken for the diagonal of :math:`\lambda g g^T`. The
    parameters :math:`\theta_{t - \tau}` that the gradient was computed at are the extra argument `stale_params`, a tree
    like the parameters. `delayed` gives it to the links within it; a loop with real workers gives it to the update.
    A step that has none passes `stale_params=None`, and the update stays as it is. It comes first, for it reads the
    gradient as it was computed.

    Fields:
        strength: :math:`\lambda`, at least 0, in units of the inverse of the loss; 0.04 in the paper on CIFAR-10.

    Shapes and dtypes: any; what would be infinite is the largest finite number.

    Differs from the paper: nothing (DC-ASGD-c).

    References:
        Zheng et al., 2016, Algorithm 2 and equation 10. https://arxiv.org/abs/1609.08326

    >>> import optchain as oc
    >>> tx = oc.delayed(oc.chain(oc.compensate_delay(0.04), oc.sgd(0.1)), 4)
    """

def compensate_delay_by_rms(
    strength: Number = 2.0,
    decay: Number = 0.95,
    eps: Number = 1e-07,
    *,
    bias_correction: bool = True,
    mask: Mask | None = None,
) -> Transform:
    r"""Adds to a stale gradient what it has likely changed by since, by entry relative to the gradient's usual size.

    .. math::
        \nu \leftarrow b \nu + (1 - b) g^2, \qquad
        u = g + \frac{\lambda}{\sqrt{\hat\nu + \epsilon}}\, g^2 (\theta_t - \theta_{t - \tau})

    with :math:`\hat\nu` over the weight that the mean has seen. It is `compensate_delay` with a strength for each
    entry, which has less variance between them; what it is for and its extra argument `stale_params` are those of that.

    Fields:
        strength: :math:`\lambda`, at least 0, in units of the inverse of the parameters; 2 in the paper on CIFAR-10.
        decay: b, of the mean of squares, in [0, 1); 0.95 in the paper on CIFAR-10, 0 on ImageNet.
        eps: :math:`\epsilon`, under the root, > 0, in the units of :math:`g^2`.
        bias_correction: divide the mean by the weight that it has seen.

    Shapes and dtypes: any; the slot `nu` is like the parameter, in float32 or wider. What would be infinite is the
    largest finite number.

    Differs from the paper: the mean starts at 0 and is debiased; its :math:`\nu` is not (`bias_correction=False`),
    which compensates the first steps more. Of several workers all have one mean here, as in the paper's equation; in
    the authors' code each has its own.

    References:
        Zheng et al., 2016, section 6 (DC-ASGD-a). https://arxiv.org/abs/1609.08326

    >>> import optchain as oc
    >>> tx = oc.delayed(oc.chain(oc.compensate_delay_by_rms(2.0), oc.sgd(0.1)), 4)
    """

def graft(magnitude: optax.GradientTransformation, direction: optax.GradientTransformation) -> Transform:
    r"""Takes the direction of the update from one technique and, leaf by leaf, its norm from another.

    .. math::
        u = \frac{\lVert u_M \rVert}{\lVert u_D \rVert} u_D, \qquad 0 \text{ where } u_D \text{ is}

    Both see the same gradients. Grafting tells how much of a method's effect is its implicit step size, and lets one
    that needs tuning run with the schedule of one that is tuned.

    Args:
        magnitude: any transformation, which gives the norms; its numbers have names such as `"magnitude.b1"`.
        direction: any transformation, which gives the directions; its numbers keep their own names.

    Shapes and dtypes: any; norms are taken of each leaf, of a declared layer in the layer (`over_layers`).

    Differs from the paper: no small constant in the quotient; a direction of norm 0 stays 0.

    References:
        Agarwal et al., 2020, Algorithm 1, layer by layer. https://arxiv.org/abs/2002.11803

    >>> import optchain as oc
    >>> tx = oc.chain(oc.graft(oc.scale_by_adam(), direction=oc.scale_by_rss()), oc.scale_by_learning_rate(1e-3))
    """

def grokfast_ema(alpha: Number = 0.98, lamb: Number = 2.0, *, mask: Mask | None = None) -> Transform:
    r"""Adds a multiple of the running mean of the gradient to it, which amplifies its slow components.

    .. math::
        u = g + \lambda \mu, \qquad \mu \leftarrow \alpha \mu + (1 - \alpha) g

    It stands before the moments. The mean begins as the first gradient.

    Fields:
        alpha: :math:`\alpha`, decay of the mean, in [0, 1).
        lamb: :math:`\lambda`, amplification, at least 0.

    Shapes and dtypes: any; the slot `mu` is like the parameter, in float32 or wider.

    Differs from the paper: nothing; the mean begins as in its code.

    References:
        Lee et al., 2024, section 4 (Grokfast-EMA). https://arxiv.org/abs/2405.20233
    """

def add_noise(eta: Number, gamma: Number, key: int | jax.Array = 0, *, mask: Mask | None = None) -> Transform:
    r"""Adds normal noise of falling variance to the update.

    .. math::
        u = g + \sqrt{\eta / t^\gamma}\, n, \qquad n \sim \mathcal N(0, 1)

    Fields:
        eta: :math:`\eta`, variance at the first update, in the units of :math:`g^2`, at least 0.
        gamma: :math:`\gamma`, exponent of its fall, at least 0; 0.55 in the paper.
        key: of the random numbers, a whole number or a key of `jax.random`, which may be traced: each member of a
            vmapped ensemble draws its own from its own key. They are a hash of key, count, path and element: the same
            however arrays are sharded, and others for each leaf. Stacked layers are one leaf.

    Shapes and dtypes: any.

    Differs from the paper: nothing; its t counts from 0.

    References:
        Neelakantan et al., 2015, equation 1. https://arxiv.org/abs/1511.06807
    """

def rows(
    tx: optax.GradientTransformation,
    tables: str | Sequence[str] = "*embedding",
    mode: str = "decay_corrected",
) -> Transform:
    r"""Runs a transformation on the rows of tables that a step looks up, and on all other parameters as usual.

    The touched rows and their slots are gathered, updated as a small table, and scattered back, in place where the
    buffers are donated: time and temporary memory depend on the number of look-ups, not on the table. `optchain.apply`
    does it; `update` returns gradients of rows, which `optax.apply_updates` cannot add. Rows looked up more than once
    are summed first, so that norms are those of the dense gradient.

    Where zero gradients move a parameter, as under momentum or weight decay, touching some rows is another algorithm
    than the dense one. What becomes of a row that sleeps for k steps is the `mode`:

    - `"decay_corrected"`: it makes up for them when it wakes. The slots decay by k updates with a gradient of 0 at once
      (:math:`\mu \leftarrow b_1^k \mu`), and weight decay that follows the moments catches up with every rate that it
      slept through, :math:`p \leftarrow p \prod_i (1 - \eta_i \lambda)`. What it leaves out, against the dense
      algorithm, are the steps that old momentum would take meanwhile. Until it wakes, the row in the table is stale:
      evaluate with `optchain.awake_params`.
    - `"lazy"`: it rests, slots and weights, as in SparseAdam of torch.
    - `"exact"`: there is nothing to make up for, and this is the dense algorithm (SGD, Adagrad, row-wise Adagrad,
      FTRL); an error where it is not.

    Where a step looks up so large a share of the rows that reading all of them is faster (`CROSSOVER` in
    `optchain/embeddings/touched.py`), the table is updated as a whole with the same result. A dense gradient of a table
    touches all rows.

    Args:
        tx: a technique, or a chain or groups of techniques, that does not mix the rows of a table (`core_ndim` 0 or 1;
            a clip by global norm may). `guard` and `accumulate` stand outside: `guard(rows(tx))`.
        tables: a pattern on paths, or several. Tables have their rows along the first axis; a scalar is not one.
        mode: one of the three words above.

    Shapes and dtypes: tables with one axis or more. The state has the slots of `tx` for whole tables, and if rows catch
    up 4 bytes for each row, or 12 with weight decay. Tables may be sharded by rows.

    Differs from the paper: there it is the penalty of a rare coordinate that catches up; here moments do too. The lazy
    form is that of torch's SparseAdam.

    Raises:
        ValueError: an unknown mode; a link that mixes rows, is not one of optchain's, or has no law for rows at rest;
            while tracing, a gradient of rows for a parameter that is not a table.

    References:
        Duchi and Singer, 2009 (sparse high-dimensional gradients). Journal of Machine Learning Research 10:2899-2934

    >>> import optchain as oc
    >>> tx = oc.guard(oc.rows(oc.chain(oc.clip_by_global_norm(1.0), oc.adamw(1e-3)), tables="*/embedding"))
    """

def krum(byzantine: int, *, keep: int = 1, mask: Mask | None = None) -> Transform:
    r"""Takes the update of the client that is nearest to its neighbours, or averages a few of these.

    .. math::
        s_k = \sum_{i \in N_k} \lVert \Delta_k - \Delta_i \rVert^2, \qquad
        u = \frac 1 m \sum_{k \in M} \Delta_k

    where :math:`N_k` are the K - f - 2 other clients nearest to k, over all leaves together, and M those m of the least
    score s. With K of at least 2 f + 3, f bad clients cannot make it choose an update far from those of the others.
    `update` and `oc.apply` take the extra argument `client_weights`, one number for each client: 0 for one that has
    dropped out and is not one of the K, and all others count the same. None counts all, and to give nothing is an
    error. It is the first link of a chain; the updates are pseudo-gradients as for `client_mean`.

    Fields:
        byzantine: f, how many bad clients there may be among those of a round, at least 0.
        keep: m, how many updates are averaged, from 1 to K - f; with more than one it is multi-Krum.

    Metrics: `clients`, how many took part; `score`, the least score, of updates over the distance of the best one to
    its farthest neighbour.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Updates in the shapes of the parameters are those of
    one client. It reads the parameters' shapes: `update` without them is an error. No slots. Updates that are not
    finite are far from all others. It computes the distances of all pairs.

    Raises:
        ValueError: numbers out of their ranges; while tracing, fewer than 2 f + 3 clients where f is at least 1, fewer
            than m + f, weights of another number of clients, or different numbers of them in the leaves.

    Differs from the paper: where so many clients drop out that K falls below f + 3, which only the step knows, each has
    its nearest neighbour alone. Where fewer than m take part all are averaged.

    References:
        Blanchard et al., 2017, "Machine Learning with Adversaries", sections 4 and 5 (Multi-Krum), NIPS 2017; the
        report is https://arxiv.org/abs/1703.02757

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.krum(byzantine=2, keep=3), lr=oc.scale_by_learning_rate(1.0))
    """

def client_mean(weighted: bool = True, *, mask: Mask | None = None) -> Transform:
    r"""Averages the updates of clients, each weighted by its number of examples: federated averaging.

    .. math::
        u = \frac{\sum_k n_k \Delta_k}{\sum_k n_k}

    `update` and `oc.apply` take the extra argument `client_weights`, the numbers :math:`n_k`, one for each client: 0
    for one that has dropped out. None counts all the same, and to give nothing is an error. It is the first link of a
    chain. The updates are pseudo-gradients, the parameters that each client was given minus those that it has arrived
    at, with a leading axis for the clients in every leaf. What follows is the rule of the server: a learning rate of 1
    is federated averaging, Adam (Yogi, Adagrad) before a learning rate is FedAdam (FedYogi, FedAdagrad).

    Fields:
        weighted: by the numbers of examples; otherwise all clients that take part count the same.

    Metrics: `clients`, how many took part.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Updates in the shapes of the parameters are those of
    one client. It reads the parameters' shapes: `update` without them is an error. No slots. Without any client that
    takes part the update is 0. A NaN or infinity of any client that takes part spoils the update.

    Raises:
        ValueError: while tracing, weights of another number of clients, or different numbers of them in the leaves.

    Differs from the paper: it averages updates, not parameters, which is the same with a learning rate of 1.

    References:
        McMahan et al., 2016, Algorithm 1. https://arxiv.org/abs/1602.05629
        Reddi et al., 2020, Algorithm 2. https://arxiv.org/abs/2003.00295

    >>> import optchain as oc
    >>> fedavg = oc.chain(combine=oc.client_mean(), lr=oc.scale_by_learning_rate(1.0))
    >>> fedadam = oc.chain(
    ...     combine=oc.client_mean(),
    ...     adam=oc.scale_by_adam(b1=0.9, b2=0.99, eps=1e-3),
    ...     lr=oc.scale_by_learning_rate(0.01),
    ... )
    """

def client_median(*, mask: Mask | None = None) -> Transform:
    r"""Takes of each entry the median over the clients: any minority of bad clients cannot move it far.

    .. math::
        u_j = \operatorname{median}_k \Delta_{k,j}

    Of an even number of clients it is the mean of the two in the middle. `update` and `oc.apply` take the extra
    argument `client_weights`, one number for each client: 0 for one that has dropped out, and all others count the
    same, for a number that a client says of itself could be wrong too. None counts all, and to give nothing is an
    error. It is the first link of a chain; the updates are pseudo-gradients as for `client_mean`.

    Fields: none.

    Metrics: `clients`, how many took part.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Updates in the shapes of the parameters are those of
    one client, which pass. It reads the parameters' shapes: `update` without them is an error. No slots. A NaN counts
    as infinite: as long as fewer than half of the values of an entry are, it is finite. It sorts the K values of each
    entry.

    Raises:
        ValueError: while tracing, weights of another number of clients, or different numbers of them in the leaves.

    Differs from the paper: nothing; the paper's gradients are pseudo-gradients here. Where clients differ by nature,
    the median ignores what few of them have learned, and is biased.

    References:
        Yin et al., 2018, Definition 1 and Algorithm 1, option I. https://arxiv.org/abs/1803.01498

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.client_median(), lr=oc.scale_by_learning_rate(1.0))
    """

def client_private_mean(
    l2_norm_clip: Number,
    noise_multiplier: Number,
    key: int | jax.Array = 0,
    *,
    clients: float | None = None,
    mask: Mask | None = None,
) -> Transform:
    r"""Averages the updates of clients, each clipped, with noise that hides any one of them: DP-FedAvg.

    .. math::
        u = \frac{1}{B} \left(\sum_k \Delta_k \min\left(1, \frac{C}{\lVert \Delta_k \rVert}\right)
        + \sigma C\, \mathcal{N}(0, I)\right)

    where the norm is that of all leaves of one client together, so that it is all of a client's examples that are
    hidden. `update` and `oc.apply` take the extra argument `client_weights`, one number for each client: 0 for one that
    has dropped out, and all others count the same. None counts all, and to give nothing is an error. It is the first
    link of a chain; the updates are pseudo-gradients as for `client_mean`.

    Fields:
        l2_norm_clip: C, the bound on the norm of one client's update, > 0.
        noise_multiplier: :math:`\sigma`, at least 0; with the part of the clients in a round and the number of rounds
            it gives the privacy, see `oc.privacy_spent`.
        key: of the noise, a whole number or a key of `jax.random`, which may be traced. What is to be private needs one
            that nobody can guess.
        clients: B, > 0; None is how many took part. Where clients drop out, or each is drawn by itself, as accountants
            assume, B must be the expected number, for how many took part tells something of each.

    Metrics: `clients`, how many took part; `clipped`, the fraction of them whose update was clipped.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Updates in the shapes of the parameters are those of
    one client. It reads the parameters' shapes: `update` without them is an error. No slots: the noise is a function of
    the key, this link's count and the leaf's path. A NaN or infinity of a client that takes part spoils the update.
    Leaves outside of the mask are averaged, neither clipped nor noised: they are not private.

    Raises:
        ValueError: numbers out of their ranges; while tracing, weights of another number of clients, or different
            numbers of them in the leaves.

    Differs from the paper: all clients count the same, which is its weight with a bound of one example.

    References:
        McMahan et al., 2017, Algorithm 1, flat clipping, the estimator of fixed denominator.
        https://arxiv.org/abs/1710.06963

    >>> import optchain as oc
    >>> tx = oc.chain(
    ...     combine=oc.client_private_mean(1.0, noise_multiplier=1.1, key=7, clients=100),
    ...     lr=oc.scale_by_learning_rate(1.0),
    ... )
    """

def client_secure_mean(bound: Number = 1.0, *, mask: Mask | None = None) -> Transform:
    r"""Averages the updates of clients as sums of masked whole numbers, of which no single update can be read.

    .. math::
        u = \frac{\max_i n_i}{s \sum_k n_k} \sum_k q_k, \qquad
        q_k = \operatorname{round}\left(s \frac{n_k}{\max_i n_i} \operatorname{clip}(\Delta_k, -C, C)\right), \qquad
        s = \frac{2^{30}}{K C}

    Client k sends :math:`q_k + r_k + \sum_{i > k} r_{ki} - \sum_{i < k} r_{ik}` modulo :math:`2^{32}`, where the masks
    r are random. Those of pairs cancel in the sum, bit for bit; the masks of the clients themselves, and those that
    they share with clients that have dropped out, are taken from it. `update` and `oc.apply` take the extra argument
    `client_weights`, the numbers :math:`n_k`, one for each client: 0 for one that has dropped out. None counts all the
    same, and to give nothing is an error. It is the first link of a chain; the updates are pseudo-gradients as for
    `client_mean`.

    Fields:
        bound: C, > 0: larger entries are clipped to it. The update is exact to :math:`C K / 2^{30}` for each client.

    Metrics: `clients`, how many took part; `clipped`, the fraction of their entries that were clipped.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Updates in the shapes of the parameters are those of
    one client. It reads the parameters' shapes: `update` without them is an error. No slots. An infinity is clipped as
    all else, and a NaN counts as 0: a guard after this link sees neither. Leaves outside of the mask are averaged in
    the open. Derivatives through a step are 0.

    Raises:
        ValueError: numbers out of their ranges; while tracing, weights of another number of clients, or different
            numbers of them in the leaves.

    Differs from the paper: this is its arithmetic, in one program. Keys are not agreed on and secrets are not shared:
    the masks are functions of this link's count and hide nothing from who runs it. The numbers of examples are known.

    References:
        Bonawitz et al., 2016. https://arxiv.org/abs/1611.04482

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.client_secure_mean(bound=0.5), lr=oc.scale_by_learning_rate(1.0))
    """

def client_trimmed_mean(trim: Number = 0.1, *, mask: Mask | None = None) -> Transform:
    r"""Averages of each entry the values of the clients but the largest and the smallest ones.

    .. math::
        u_j = \frac{1}{K - 2 b} \sum_{i=b+1}^{K-b} \Delta_{(i),j}, \qquad b = \lfloor \beta K \rfloor

    where :math:`\Delta_{(1),j} \le \dots \le \Delta_{(K),j}` are the values of an entry in order. Up to b bad clients
    cannot move it beyond the values of the others. `update` and `oc.apply` take the extra argument `client_weights`,
    one number for each client: 0 for one that has dropped out and is not one of the K, and all others count the same.
    None counts all, and to give nothing is an error. It is the first link of a chain; the updates are pseudo-gradients
    as for `client_mean`.

    Fields:
        trim: :math:`\beta`, the part that is left out at either end, in [0, 0.5), so that something is left: at least
            the expected part of bad clients.

    Metrics: `clients`, how many took part.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Updates in the shapes of the parameters are those of
    one client, which pass. It reads the parameters' shapes: `update` without them is an error. No slots. A NaN counts
    as infinite, and so is left out with the largest values. It sorts the K values of each entry.

    Raises:
        ValueError: a `trim` out of its range, which leaves no client; while tracing, weights of another number of
            clients, or different numbers of them in the leaves.

    Differs from the paper: nothing; the paper's gradients are pseudo-gradients here, and where :math:`\beta K` is not a
    whole number it is rounded down.

    References:
        Yin et al., 2018, Definition 2 and Algorithm 1, option II. https://arxiv.org/abs/1803.01498

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.client_trimmed_mean(0.2), lr=oc.scale_by_learning_rate(1.0))
    """

def as_matrices(tx: optax.GradientTransformation, views: Mapping[str, str]) -> Transform:
    """Declares how parameters with other axes than rows and columns are seen as matrices.

    What looks across a matrix refuses a parameter of another rank, for a convolution or an attention kernel would
    silently be many small matrices. A view says what is meant: names for the axes, an arrow, and the same names again
    in their new order. A group in brackets is one axis: merged on the right, taken apart on the left. The last two
    axes on the right are the matrix, all before them count layers, each of which is updated by itself.

    =========================  =================================================================
    `"h w i o -> (h w i) o"`   a convolution as one matrix
    `"d h k -> d (h k)"`       an attention kernel as one matrix, all heads together
    `"d h k -> h d k"`         the same, one matrix for each head
    `"d (3 k) -> 3 d k"`       queries, keys and values that are fused in one kernel, each by itself
    =========================  =================================================================

    Parts of unequal lengths along one axis are written as their sum; each part is updated by itself, as if it were a
    parameter. With 8 heads of queries that share 2 of keys and 2 of values, each head of length k:

    ==================================  ========================================================
    `"d (8+2+2 k) -> d (8+2+2 k)"`      queries, keys and values that are fused in one kernel
    `"d 8+2+2 k -> d (8+2+2 k)"`        the same, where the kernel has an axis for the heads
    `"d 512+128+128 -> d 512+128+128"`  the same, by the numbers of columns
    ==================================  ========================================================

    The result is `tx` with the declaration in each of its links, wrappers and groups included. Slots like the
    parameter keep its shape; of a parameter in parts, every other slot is one vector that holds those of all parts, one
    after the other. Elementwise techniques are the same either way, and see the parameter as it is;
    transformations of optax's do too. Axes declared by `over_layers` come before those of the view.

    Args:
        tx: any transformation.
        views: a table from patterns on paths to views; the first pattern that matches a parameter decides.

    Shapes and dtypes: any.

    Raises:
        ValueError: something else than a table, or a text that is no view; at `init` and `update`, a view that does
            not fit its parameter.

    >>> import optchain as oc
    >>> tx = oc.as_matrices(oc.adamw(1e-3), {"*/conv/kernel": "h w i o -> (h w i) o"})
    """

def groups(tx: optax.GradientTransformation, rules: Mapping[Any, Any] | Sequence[tuple[Mask, Any]]) -> Transform:
    """Gives groups of parameters other numbers, transformations of their own, or no step at all.

    The rules are tried in order, and the first that matches takes the parameter. What a rule says is

    - a table of factors for numbers of `tx` by name, `{"learning_rate": 0.1, "weight_decay": 0.0}`: in the step of
      these leaves every number of that name is multiplied; `{}` leaves all as it is. A bare
      name is that of the links that make the update; another one, such as the slow step of a lookahead, has a dotted
      name (`"slow.learning_rate"`), and patterns (`"*.learning_rate"`) match whole names;
    - `optchain.FROZEN`: no step and not one byte of state;
    - another transformation, which then steps these leaves instead of `tx`.

    Leaves with factors stay together: `tx` has one state, one count, and one global norm for all of them. Frozen leaves
    and those with their own transformation are not in that norm; to clip all together, put the clip before the groups
    in a chain. All transformations step at the same updates. Rates that find themselves (`prodigy`, D-Adaptation,
    `dog`, `dowg`) keep one estimate under factors of `learning_rate` that differ.

    Args:
        tx: the transformation of all groups that have factors; they reach its links through all wrappers.
        rules: from a mask (a pattern on paths such as `"*/bias"`, a tuple of patterns, or, in a list of pairs, a
            predicate of (path, leaf)) to what happens. Factors are at least 0 and may be traced.

    Overrides by `hyper` and metrics have the names that they have in `tx`, and mean the number before its factor. Those
    of a group's own transformation begin with the name of its technique: `"sgd.lr.learning_rate"`. Numbers that only
    set up the state, such as an initial value, are not multiplied.

    Shapes and dtypes: any.

    Raises:
        ValueError: a factor for a number that `tx` does not have or that leaves the number's range; at `init` and
            `update`, a parameter that no rule takes, or a rule that takes none; factors that differ between leaves for
            a number that all leaves share, such as the bound on a global norm.

    >>> import optchain as oc
    >>> rules = {"embed/*": oc.FROZEN, "*/bias": {"weight_decay": 0.0}, "head/*": oc.sgd(0.1), "*": {}}
    >>> tx = oc.groups(oc.adamw(1e-3), rules)
    """

def mask_updates(
    where: Callable[[jax.Array, str, jax.Array, Any], jax.Array] | Mapping[str, Any],
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Zeroes the entries of the update outside a mask.

    .. math::
        u = \begin{cases} g & \text{where } m \\ 0 & \text{elsewhere} \end{cases}

    Fields:
        where: m: a tree of arrays of bools, found by the paths of the parameters, regardless of the containers; or
            a function of (step, path, gradient, parameter) that gives bools of the gradient's shape, where the step
            counts this link's updates from 0 and the parameter is None where `update` gets none.

    A parameter that has moved stays where it is, and links after this one may move what it zeroes: `sparse` holds
    weights at 0 no matter what steps them, and `sparse_update` lets slots rest together with their entry.

    Shapes and dtypes: any.

    Errors: a parameter that the tree lacks, or something else than a bool for each entry, is a `ValueError`.

    Differs from the paper: nothing; the fixed random masks are those of its iterative training, without rounds.

    References:
        Frankle and Carbin, 2018, section 1. https://arxiv.org/abs/1803.03635

    >>> import jax.numpy as jnp
    >>> import optchain as oc
    >>> upper = {"kernel": jnp.triu(jnp.ones((3, 3), bool))}
    >>> tx = oc.chain(oc.adam(1e-3), oc.mask_updates(upper))
    """

def over_layers(
    tx: optax.GradientTransformation,
    layers: str | Sequence[str] | Mapping[str, int] | Callable[[str, jax.Array], int],
) -> Transform:
    """Declares which leading axes of which parameters count layers, so that stacked layers are updated as single ones.

    A scanned model (`nn.scan`, `nnx.scan`) keeps the parameters of all its layers in one array. What looks across a
    parameter, such as a norm by leaf or a matrix method, would mix the layers, or refuse the extra axis; here every
    technique in `tx`, wrappers and groups included, is mapped over the declared axes. Elementwise techniques and what
    looks across all parameters, such as the global norm, are the same either way.

    The result is `tx` with the declaration in each of its links: nothing is wrapped, and the state's structure stays.
    It does not reach into transformations of optax's, which see the stacked arrays.

    Args:
        tx: any transformation.
        layers: a pattern on paths or several, for one layer axis; a table from patterns to the number of axes, of which
            the first pattern that matches decides (`{"blocks/experts/*": 2, "blocks/*": 1}`); or a function of
            (path, leaf) that returns the number.

    Shapes and dtypes: any; a slot that holds one number for a parameter has the shape of the layer axes.

    Raises:
        ValueError: something else than patterns, or a number of axes that is none; at `init` and `update`, a pattern
            that matches no parameter, or more axes than a parameter has.

    >>> import optchain as oc
    >>> tx = oc.over_layers(oc.chain(oc.clip_by_leaf_norm(1.0), oc.adamw(1e-3)), "blocks/*")
    """

def keep_random(
    density: Number,
    rescale: bool = False,
    seed: int | jax.Array = 0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Keeps random entries of the update, other ones at each step.

    .. math::
        u = \begin{cases} g & \text{where } x < \rho \\ 0 & \text{elsewhere} \end{cases}, \qquad x \sim \mathcal U(0, 1)

    Fields:
        density: :math:`\rho`, the probability with which an entry is kept, in (0, 1].
        rescale: divide what is kept by :math:`\rho`, so that the update is right on average.
        seed: of the random numbers, a whole number or a key of `jax.random`, which may be traced: each member of a
            vmapped ensemble draws its own from its own seed. They are a hash of seed, count, path and element: the same
            however arrays are sharded, and others for each leaf. Stacked layers are one leaf.

    Shapes and dtypes: any.

    Differs from the paper: each entry is kept with the same probability, where the paper keeps large ones more often.

    References:
        Wangni et al., 2017, section 2. https://arxiv.org/abs/1710.09854

    >>> import optchain as oc
    >>> tx = oc.chain(oc.keep_random(0.1, rescale=True), oc.sgd(0.1))
    """

def sparse_update(
    tx: Transform,
    indicator: Callable[[jax.Array, Any], jax.Array] = nonzero,
    lazy: bool = False,
) -> Transform:
    r"""Zeroes the update of a technique wherever an indicator says so.

    .. math::
        u' = \begin{cases} u & \text{where the indicator holds} \\ 0 & \text{elsewhere} \end{cases}

    The slots either see the full gradient everywhere, so that the second moment of an entry at rest decays (the sparse
    update of RMSProp in the literature on sparse training), or, when `lazy`, rest together with their entry.

    Args:
        tx: an elementwise technique of one link, such as `scale_by_rms(0.9)`.
        indicator: a function of the gradient and the parameter (None where `update` gets none) that returns bools of
            the gradient's shape.
        lazy: leave the slots of resting entries alone too.

    Differs from the paper: the count of a lazy entry is that of the link, so bias correction does not wait for it.

    Raises:
        ValueError: a technique that looks across entries, or one that is not a single link; an indicator
            that is no function, or, at trace time, that gives no bool for each entry.

    References:
        The lazy form is that of SparseAdam in PyTorch and of LazyAdam in TensorFlow.

    >>> import optchain as oc
    >>> tx = oc.sparse_update(oc.scale_by_rms(0.9), lazy=True)
    """

def keep_top_k(density: Number, error_feedback: bool = True, *, mask: Mask | None = None) -> Transform:
    r"""Keeps the largest entries of each leaf's update, and adds what it holds back to the next one.

    .. math::
        a = r + g, \qquad u = \operatorname{top}_k(a), \qquad r \leftarrow a - u, \qquad k = \rho n

    where n entries of a leaf compete by their magnitude; of equal ones those with the lower index are kept.

    Fields:
        density: :math:`\rho`, the part of the entries that is kept, in (0, 1]; k is rounded to a whole number.
        error_feedback: remember r; without it what is held back is lost, and there is no slot.

    Shapes and dtypes: any; the slot `residual` is like the parameter and begins at 0, in float32 or wider. It sorts
    each leaf.

    Differs from the paper: r is that of updates as they come; in the paper they are gradients times the learning rate,
    which they are here after a link with the rate.

    References:
        Stich et al., 2018, Algorithm 1. https://arxiv.org/abs/1809.07599
        Aji and Heafield, 2017, Algorithm 1. https://arxiv.org/abs/1704.05021

    >>> import optchain as oc
    >>> tx = oc.chain(oc.sgd(0.1), oc.keep_top_k(0.01))
    """

def scale_by_apollo(
    rank: int = 128,
    scale: Number = 1.0,
    update_proj_gap: int = 200,
    scaling: str = "channel",
    max_growth: Number = 1.01,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    seed: int | jax.Array = 0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Scales each channel of the gradient by as much as Adam would scale it, measured on a random sketch.

    .. math::
        R = S g, \quad S_{ij} \sim N(0, 1 / rank), \qquad \tilde R = \mathrm{Adam}(R), \qquad
        s_j = \|\tilde R_j\| / \|R_j\|, \qquad u_j = \alpha \, s_j \, g_j

    for the columns :math:`j` of a matrix with no more rows than columns, and for the rows of one with more. Then the
    update is scaled down to at most :math:`\gamma` times the norm of the last one.

    Fields:
        rank: rows of the sketch, at least 1; at most the shorter side is used.
        scale: :math:`\alpha`, positive; the sketch has about :math:`\sqrt{rank / rows}` of Adam's factor.
        update_proj_gap: steps after which a new sketch is drawn, at least 1.
        scaling: `"channel"`, or `"tensor"`: one factor for the matrix, from the norms of all of R (APOLLO-Mini, with
            rank 1).
        max_growth: :math:`\gamma`, positive.
        b1: decay of Adam's mean, in [0, 1).
        b2: decay of Adam's mean square, in [0, 1).
        eps: added to Adam's root, in the units of g, at least 0.
        seed: of the sketches, which are drawn again at each step rather than kept: a whole number or a key of
            `jax.random`, which may be traced.

    Shapes and dtypes: matrices; the slots `mu` and `nu` have `rank` numbers for each channel, `size` is a number, in
    float32 or wider. The link keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes,
    :math:`1 - \prod b`, as two numbers each. Sums of gradients must stay finite: entries of g up to 1e36.

    Raises:
        ValueError: `rank` or `update_proj_gap` below 1, or another scaling.

    Differs from the paper: nothing; the sketches come from JAX's generator. The authors' code limits the growth before
    Adam's bias correction, here it is limited after it: on 120 recorded gradients of six matrices their updates are 0.6
    to 1.2 times as long, and 1 to 1.15 times at the end.

    References:
        Zhu et al., 2024, Algorithm 1 and equation 4 (the limit on growth). https://arxiv.org/abs/2412.05270

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_apollo(rank=64, mask="*/kernel"), oc.scale_by_learning_rate(0.01))
    >>> mini = oc.scale_by_apollo(rank=1, scaling="tensor", scale=11.3, mask="*/kernel")
    """

def scale_by_dion(
    rank: int = 64,
    b: Number = 0.95,
    scale: str = "spectral",
    seed: int | jax.Array = 0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Replaces the momentum of a matrix by an orthogonal matrix of low rank, and keeps what that leaves out.

    .. math::
        B &= \mu + g, \qquad P = \mathrm{QR}(B V), \qquad R = B^T P \\
        \mu &\leftarrow B - (1 - b) P R^T, \qquad V_j \leftarrow R_j / \|R_j\|, \qquad u = s \, P V^T

    One step of power iteration from the last right factor finds the largest singular vectors of the momentum as it
    changes; the columns of :math:`P` are orthogonal, those of :math:`V` have length 1.

    Fields:
        rank: columns of both factors, at least 1; at most the smaller side of the matrix is used.
        b: how much of the part that was stepped along stays in the momentum, in [0, 1).
        scale: the factor :math:`s`: `"spectral"`, `"width"`, `"rms"` or `"none"`, see
            `optchain.matrices.shape_scale`.
        seed: of the normal numbers that :math:`V` begins with, a whole number or a key of `jax.random`, which may be
            traced.

    Shapes and dtypes: matrices, of inputs by outputs as in Flax; the slot `mu` is like the parameter, `right` has
    `rank` numbers for each of its columns, both in float32 or wider. Sums of gradients must stay finite: entries of
    g up to 1e36.

    Raises:
        ValueError: a rank below 1, or another scale.

    Differs from the paper: where a column of :math:`R` is shorter than 1e-5 of the longest, as all are beyond the rank
    of the momentum, the old one stays in :math:`V`, and the update has no such part. It is the law of one device: how
    the factors are exchanged between devices is left to the compiler.

    References:
        Ahn et al., 2025, Algorithm 1. https://arxiv.org/abs/2504.05295

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_dion(rank=16, mask="*/kernel"), oc.scale_by_learning_rate(0.01))
    """

def scale_by_fira(
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: Number = 1.0,
    *,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    max_growth: Number = 1.01,
    mask: Mask | None = None,
) -> Transform:
    r"""Runs Adam on the gradient's part along its leading singular vectors, and scales the rest as much as that part.

    .. math::
        R = P^T g, \quad \psi = \mathrm{Adam}(R), \qquad
        S_j = \frac{\|\psi_j\|}{\|R_j\|} (g - \alpha P R)_j, \qquad u = \alpha P \psi + S

    for the columns :math:`j` of a matrix with no more rows than columns, and for the rows of one with more; :math:`P`
    is that of `scale_by_galore`. Then :math:`S` is scaled down to at most :math:`\gamma` times its last norm.

    Fields:
        rank: columns of the projection, at least 1; at most the shorter side is used.
        update_proj_gap: steps between two projections, at least 1.
        scale: :math:`\alpha`, positive.
        b1: decay of Adam's mean, in [0, 1).
        b2: decay of Adam's mean square, in [0, 1).
        eps: added to Adam's root, in the units of g, at least 0.
        max_growth: :math:`\gamma`, positive.

    Shapes and dtypes: matrices; the slots are those of `scale_by_galore` and the number `size`, in float32 or wider. A
    column of :math:`R` that is 0 has no factor: that of :math:`S` is 0. Sums of gradients must stay finite: entries of
    g up to 1e36.

    Raises:
        ValueError: `rank` or `update_proj_gap` below 1.

    Differs from the paper: nothing with a scale of 1; where that stands otherwise is as in its code. The code limits
    :math:`S` before Adam's bias correction, here it is limited after it: on 120 recorded gradients of six matrices
    theirs is 0.48 to 1.44 times as long, and 1.01 to 1.15 times at the end.

    References:
        Chen et al., 2024, section 4 (norm-based scaling, norm-growth limiter). https://arxiv.org/abs/2410.01623

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_fira(rank=64, mask="*/kernel"), oc.scale_by_learning_rate(0.01))
    """

def scale_by_galore(
    rank: int = 128,
    update_proj_gap: int = 200,
    scale: Number = 1.0,
    *,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    mask: Mask | None = None,
) -> Transform:
    r"""Runs Adam on the gradient's part along its own leading singular vectors of some steps ago.

    .. math::
        R = P^T g, \qquad u = \alpha \, P \, \mathrm{Adam}(R)

    for a matrix with no more rows than columns, and :math:`R = g P`, :math:`u = \alpha \, \mathrm{Adam}(R) P^T` for one
    with more. :math:`P` holds the first `rank` singular vectors of the gradient on the shorter side, taken again every
    `update_proj_gap` steps; Adam's moments go on in the new space as they are.

    Fields:
        rank: columns of the projection, at least 1; at most the shorter side is used.
        update_proj_gap: steps between two projections, at least 1.
        scale: :math:`\alpha`, positive.
        b1: decay of Adam's mean, in [0, 1).
        b2: decay of Adam's mean square, in [0, 1).
        eps: added to Adam's root, in the units of g, at least 0.

    Shapes and dtypes: matrices; the slots have `rank` numbers for each row or column, in float32 or wider. The link
    keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers
    each. Sums of gradients must stay finite: entries of g up to 1e36.

    Raises:
        ValueError: `rank` or `update_proj_gap` below 1.

    Differs from the paper: where the root of :math:`\nu` is below 1e-6 of the largest one in its column, which is what
    rounding leaves where the rank exceeds that of the gradient, Adam's step is 0, not as large as elsewhere. optax
    projects the longer side, which keeps a larger projector and smaller moments; for square matrices both are the same.

    References:
        Zhao et al., 2024, Algorithm 2. https://arxiv.org/abs/2403.03507

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_galore(rank=64, scale=0.25, mask="*/kernel"), oc.scale_by_learning_rate(0.01))
    """

def scale_by_kl_soap(
    b1: Number = 0.95,
    b2: Number = 0.95,
    eps: Number = 1e-08,
    every: int = 10,
    initial_value: Number = 0.1,
    floor: Number = 1e-06,
    max_dim: int = 10000,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Runs Adam in eigenvectors of the Kronecker factors that are nearest to the gradients' covariance in divergence.

    .. math::
        S_a &\leftarrow b_2 S_a + \tfrac{1 - b_2}{columns} \, g \, \hat S_b^{-1} g^T, \qquad
        S_b \leftarrow b_2 S_b + \tfrac{1 - b_2}{rows} \, g^T \hat S_a^{-1} g, \qquad
        \hat S = Q \, \mathrm{diag}(\lambda) \, Q^T \\
        \lambda_{a,i} &\leftarrow b_2 \lambda_{a,i} + \tfrac{1 - b_2}{columns} \textstyle\sum_j
        g'^2_{ij} / \lambda_{b,j}, \qquad g' = Q_a^T g \, Q_b

    and likewise for :math:`\lambda_b`. Where SOAP adds up :math:`g g^T`, each factor here sees gradients that the other
    one has whitened. What follows is SOAP: Adam on :math:`g'`, rotated back, and every `every` steps
    :math:`Q \leftarrow \mathrm{QR}(S Q)`; the first gradient makes the bases, and its update is 0.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square and of the factors, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        every: steps between two changes of the bases, at least 1.
        initial_value: of the eigenvalues, in the units of g, positive.
        floor: the least eigenvalue that is divided by, as a part of the largest, at least 0.
        max_dim: sides longer than this keep the standard basis, in which their factor is diagonal: they have its
            eigenvalues, and nothing square.

    Shapes and dtypes: matrices; `mu` and `nu` are like the parameter; for each side of n entries `left_values` and
    `right_values` have n numbers, and the other slots :math:`2 n^2` where n is at most `max_dim`. The weights of the
    gradient that the means leave out, `mu_missed` and `nu_missed`, are numbers. All are in float32 or wider. The link
    keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers
    each. Products of gradients must stay finite: entries of g up to 1e18.

    Raises:
        ValueError: `every` or `max_dim` below 1.

    Differs from the paper: `max_dim`, as SOAP has it. `floor` bounds the eigenvalues relative to the largest, where the
    authors' code bounds their inverse roots by the length of the side, and does not debias. The first gradient is
    whitened by the initial eigenvalue, where theirs enters the factors as it is: it weighs 1 / `initial_value` times as
    much here, by default 10, and moves the eigenvalues too. On recorded gradients of six matrices the updates are the
    same until the bases first change, and differ by 7 to 11 percent of their norm after 120 steps. As in
    `scale_by_soap` the update has no part where the root of :math:`\nu` is below 1e-6 of the largest one.

    References:
        Lin et al., 2025, claims 2 and 3 and the implementation by QR. https://arxiv.org/abs/2509.03378

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_kl_soap(mask="*/kernel"), oc.scale_by_learning_rate(3e-3))
    """

def scale_by_kron(
    b1: Number = 0.9,
    precond_lr: Number = 0.1,
    every: int = 1,
    seed: int | jax.Array = 0,
    max_dim: int = 10000,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Whitens the running mean of the gradients of a matrix by two triangular factors that are fitted step by step.

    .. math::
        \mu &\leftarrow b_1 \mu + (1 - b_1) g, \qquad m = \mu / (1 - b_1^t), \qquad v \sim N(0, 1) \\
        A &= Q_L m Q_R^T, \qquad B = Q_L^{-T} v \, Q_R^{-1} \\
        Q_L &\leftarrow Q_L - \frac{\eta}{\|A A^T + B B^T\|} \mathrm{triu}(A A^T - B B^T) \, Q_L, \qquad
        Q_R \leftarrow Q_R - \frac{\eta}{\|A^T A + B^T B\|} \mathrm{triu}(A^T A - B^T B) \, Q_R \\
        u &= Q_L^T Q_L \, m \, Q_R^T Q_R, \text{ clipped to a root mean square of at most } 1.1

    At the fixed point the preconditioned gradients are white: all directions have the same size on average.

    Fields:
        b1: decay of the mean, in [0, 1).
        precond_lr: :math:`\eta`, the step of the factors, positive, at most 1 in practice.
        every: the factors are fitted at the first step and then every so many steps, at least 1.
        seed: of the normal numbers :math:`v`, which are the same for all parameters of one shape: a whole number or a
            key of `jax.random`, which may be traced.
        max_dim: the factors of sides longer than this are diagonal, with the diagonal of the law above.

    Shapes and dtypes: matrices; the slot `mu` is like the parameter; the factor of a side of n entries is square, with
    :math:`n^2` numbers, or a vector where n is more than `max_dim`; all in float32 or wider. The link keeps the weight
    that the mean of decay `b1` has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers.
    Products of gradients must stay finite: entries of g up to 1e18.

    Raises:
        ValueError: `every` or `max_dim` below 1.

    Differs from the paper: the norm of a symmetric matrix is the lower bound :math:`\|A x\|`, x the unit vector along A
    times its largest column, as in the authors' code. The factors are balanced (equal largest entries) at each fit, not
    now and then: their product is the same. They rest where all of m is 0, which would let them grow for ever.

    References:
        Pooladzandi and Li, 2024, equations for the Kronecker product group. https://arxiv.org/abs/2402.04553

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_kron(mask="*/kernel"), oc.scale_by_learning_rate(1e-3))
    """

def scale_by_muon(
    ns_coeffs: str | tuple[float, float, float] | tuple[tuple[float, float, float], ...] = (3.4445, -4.775, 2.0315),
    ns_steps: int = 5,
    beta: Number = 0.95,
    eps: Number = 1e-08,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    scale: str = "none",
    mask: Mask | None = None,
) -> Transform:
    r"""Replaces the running mean of the gradients of a matrix by the nearest orthogonal matrix.

    .. math::
        \mu \leftarrow b \mu + (1 - b) g, \qquad \hat\mu = b \mu + (1 - b) g \text{ (Nesterov) or } \mu, \qquad
        u = s \cdot \mathrm{orthogonalized}(\hat\mu)

    All singular values of the update are about 1 (between 0.7 and 1.2 where they were above 0.003 of the Frobenius
    norm) times the factor :math:`s` of the matrix' shape.

    Fields:
        ns_coeffs: the coefficients (a, b, c) of the polynomial of Newton-Schulz: those of every step, by default those
            of Jordan et al., or three for each step; or `"polar_express"`, others in each step, which converge to
            :math:`U V^T`.
        ns_steps: how many polynomials, at least 1.
        beta: :math:`b`, decay of the mean, in [0, 1).
        eps: added to the norm that the mean is divided by, in the units of g, at least 0.
        nesterov: look ahead by one step.
        adaptive: multiply the update by its inner product with :math:`\hat\mu`, which is the nuclear norm of that: the
            steepest step instead of one whose length does not depend on the gradients.
        preconditioning: what the mean is divided by before the first polynomial, which needs singular values of at most
            1 and makes the largest of them 1: `"frobenius"`, the norm; nearer to 1 come `"schatten"`, the root of the
            norm of the matrix of inner products, and `"aol"`, a number for each row or column of the shorter side;
            `"spectral"`, the largest singular value itself, by a decomposition.
        scale: the factor :math:`s`: `"none"`, `"width"`, `"spectral"` or `"rms"`, see
            `optchain.matrices.shape_scale`.

    Shapes and dtypes: matrices, of inputs by outputs as in Flax; other parameters need a mask, layers or a matrix view.
    The slot `mu` is like the parameter, in float32 or wider, and so is all arithmetic.

    Raises:
        ValueError: coefficients of another form, or another preconditioning or scale.

    Differs from the paper: the iteration runs in float32, not in bfloat16. As there (and in PyTorch) the mean is not
    debiased, which only the look-ahead sees; optax debiases it. `scale` is the factor of the learning rate.

    References:
        Jordan et al., 2024, Muon: an optimizer for hidden layers. https://kellerjordan.github.io/posts/muon/
        Liu et al., 2025, equations 3 and 4 (`scale="rms"`). https://arxiv.org/abs/2502.16982
        Amsel et al., 2025, Algorithm 1 (`ns_coeffs="polar_express"`). https://arxiv.org/abs/2505.16932
        Boissin et al., 2025 (`preconditioning="aol"`). https://arxiv.org/abs/2512.04632
        Grishina et al., 2025 (`preconditioning="schatten"`). https://arxiv.org/abs/2506.10935

    >>> import optchain as oc
    >>> tx = oc.chain(muon=oc.scale_by_muon(scale="rms", mask="*/kernel"), lr=oc.scale_by_learning_rate(0.02))
    """

def scale_by_normuon(
    b1: Number = 0.95,
    b2: Number = 0.95,
    eps: Number = 1e-08,
    ns_steps: int = 5,
    nesterov: bool = False,
    ns_coeffs: str | tuple[float, float, float] | tuple[tuple[float, float, float], ...] = (3.4445, -4.775, 2.0315),
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Orthogonalizes the running mean of the gradients and divides each neuron's part by its root mean square.

    .. math::
        \mu &\leftarrow b_1 \mu + (1 - b_1) g, \qquad O = \mathrm{orthogonalized}(\mu) \\
        \nu_j &\leftarrow b_2 \nu_j + (1 - b_2) \tfrac{1}{rows} \textstyle\sum_i O_{ij}^2, \qquad
        \hat O_{ij} = O_{ij} / (\sqrt{\nu_j} + \epsilon), \qquad
        u = 0.2 \sqrt{rows \cdot columns} \; \hat O / \|\hat O\|_F

    The root mean square of the update is 0.2, that of AdamW's.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square of each neuron, in [0, 1).
        eps: added to the root, at least 0.
        ns_steps: how many polynomials, at least 1.
        nesterov: orthogonalize :math:`b_1 \mu + (1 - b_1) g`.
        ns_coeffs: the coefficients of the polynomials, or `"polar_express"`, see `scale_by_muon`.

    Shapes and dtypes: matrices, of inputs by outputs as in Flax, where a column is a neuron; the slot `mu` is like the
    parameter, `nu` has one number for each column, both in float32 or wider.

    Raises:
        ValueError: coefficients of another form.

    Differs from the paper: there rows are neurons, as PyTorch stores them; `nesterov`, absent there, is off.

    References:
        Li et al., 2025, Algorithm 1. https://arxiv.org/abs/2510.05491

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_normuon(mask="*/kernel"), oc.scale_by_learning_rate(1e-3))
    """

def scale_by_scion(
    b: Number = 0.9,
    radius: Number = 1.0,
    norm: str = "spectral",
    ns_steps: int = 5,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Replaces the running mean of the gradients by the steepest step on the ball of an operator norm.

    .. math::
        \mu \leftarrow b \mu + (1 - b) g, \qquad u = \rho \cdot
        \begin{cases}
            \sqrt{columns / rows} \; \mathrm{orthogonalized}(\mu) & \text{spectral: hidden matrices} \\
            \mathrm{sign}(\mu) / rows & \text{sign: embeddings and heads} \\
            \mu / \mathrm{rms}(\mu) & \text{rms: biases and scales}
        \end{cases}

    Times the learning rate it is the update of unconstrained Scion; with a decoupled weight decay of 1 before the rate
    the parameters stay in the ball of radius :math:`\rho`: constrained Scion.

    Fields:
        b: decay of the mean, in [0, 1); the paper's :math:`\alpha` is 1 - b.
        radius: :math:`\rho`, of the ball, positive.
        norm: `"spectral"`, `"sign"` or `"rms"`.
        ns_steps: how many polynomials of Newton-Schulz for the spectral norm, at least 1.

    Shapes and dtypes: matrices of inputs by outputs as in Flax, of any shape for `"rms"`; the slot `mu` is like the
    parameter, in float32 or wider.

    Raises:
        ValueError: another norm.

    Differs from the paper: nothing.

    References:
        Pethick et al., 2025, Algorithms 1 and 2, and the norms of their tables 2 to 4. https://arxiv.org/abs/2502.07529

    >>> import optchain as oc
    >>> hidden, rest = oc.scale_by_scion(radius=50.0, mask="*/kernel"), oc.scale_by_scion(norm="rms", mask="*/bias")
    >>> tx = oc.chain(hidden, rest, oc.add_decayed_weights(1.0), oc.scale_by_learning_rate(1e-3))
    """

def scale_by_shampoo(
    b: Number = 1.0,
    exponent: Number = 0.25,
    eps: Number = 1e-06,
    every: int = 1,
    block_size: int = 1024,
    max_dim: int = 10000,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Multiplies the update of a matrix from both sides by inverse roots of the second moments of rows and columns.

    .. math::
        L \leftarrow b L + w \, g g^T, \qquad R \leftarrow b R + w \, g^T g, \qquad
        u = (L + \epsilon \lambda_{max}(L) I)^{-e} \; g \; (R + \epsilon \lambda_{max}(R) I)^{-e}

    with :math:`w = 1 - b`, or 1 where :math:`b = 1`: a mean that forgets, or the sum of the paper.

    Fields:
        b: decay of the moments, in [0, 1]; 1 is the sum.
        exponent: :math:`e`, positive; 1/4 in the paper, 1/2 is often better.
        eps: the ridge, as a part of the largest eigenvalue, at least 0; below 1e-7 rounding errors decide.
        every: the inverse roots are computed at the first step and then every so many steps. Where gradients grow in a
            direction that the last roots have enlarged, the steps do too: graft, or compute roots often, at the start.
        block_size: longer sides are cut in blocks of at most this length, each with moments of its own.
        max_dim: sides longer than this are not cut and have no moments. The other side's exponent is then :math:`2e`,
            so that the update of a first gradient has the same size; without both sides g passes.

    Shapes and dtypes: matrices; the four slots hold symmetric matrices for each block, in float32 or wider: for each
    number of the parameter at most :math:`2 (r / c + c / r)` numbers where a block has r rows and c columns. A side
    much shorter than the other one so costs the most: 10,000 by 8 take 250 numbers for each with blocks of 1000.
    Products of gradients must stay finite: entries of g up to 1e18.

    Raises:
        ValueError: `every`, `block_size` or `max_dim` below 1.

    Differs from the paper: the ridge of Gupta et al. is a fixed :math:`\epsilon I` in the initial moments; this one is
    that of Anil et al., relative, so that the units of the gradient do not matter. Momentum and grafting, the size of
    another technique's update for this direction, are links of their own: `trace`, `graft`.

    References:
        Gupta, Koren and Singer, 2018, Algorithm 1. https://arxiv.org/abs/1802.09568
        Anil et al., 2020, sections 3 and 4 (blocks, rare roots). https://arxiv.org/abs/2002.09018

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_shampoo(b=0.95, exponent=0.5, mask="*/kernel"), oc.scale_by_learning_rate(0.01))
    """

def scale_by_soap(
    b1: Number = 0.95,
    b2: Number = 0.95,
    eps: Number = 1e-08,
    every: int = 10,
    max_dim: int = 10000,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Runs Adam in the bases of the eigenvectors of Shampoo's preconditioners.

    .. math::
        g' &= Q_L^T g \, Q_R, \qquad \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad
        \nu \leftarrow b_2 \nu + (1 - b_2) g'^2 \\
        u &= Q_L \left(
            \frac{Q_L^T \mu \, Q_R / (1 - b_1^{t-1})}{\sqrt{\nu / (1 - b_2^{t-1})} + \epsilon} \right) Q_R^T \\
        L &\leftarrow b_2 L + (1 - b_2) g g^T, \qquad R \leftarrow b_2 R + (1 - b_2) g^T g

    The first gradient only makes the bases, the eigenvectors of its :math:`L` and :math:`R`: its update is 0. Every
    `every` steps one step of power iteration follows, :math:`Q_L \leftarrow \mathrm{QR}(L Q_L)`.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square and of the preconditioners, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        every: steps between two changes of the bases, at least 1.
        max_dim: sides longer than this keep the standard basis, and have no preconditioner.

    Shapes and dtypes: matrices; `mu` and `nu` are like the parameter, the other slots square, :math:`2 n^2` numbers for
    each side of n entries where n is at most `max_dim`, and `mu_missed` and `nu_missed`, the weights of the gradient
    that the means leave out, are numbers, all in float32 or wider. The link keeps the weight that each mean has seen,
    :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each.
    Products of gradients must stay finite: entries of g up to 1e18.

    Raises:
        ValueError: `every` or `max_dim` below 1.

    Differs from the paper: the first step, of which it says nothing, is that of its authors' code. That code also sorts
    each basis by eigenvalue before it changes, with :math:`\nu`, which the paper does not. It leaves the weight decay
    out of that first step, where a decay that follows this link takes :math:`\eta \lambda` of each parameter off. Where
    the root of :math:`\nu` is below 1e-6 of the largest one, which is what rounding leaves in directions that no
    gradient had, the update has no part: in the authors' code it is as large there as elsewhere, for a gradient of low
    rank most of the update.

    References:
        Vyas et al., 2024, Algorithms 3 and 4. https://arxiv.org/abs/2409.11321

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_soap(mask="*/kernel"), oc.scale_by_learning_rate(3e-3))
    """

def scale_by_acprop(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-16,
    eps_root: Number = 1e-16,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Divides the gradient by how far the gradients before it were from their running mean.

    .. math::
        u = \frac{g}{\sqrt{\nu / (1 - b_2^{t-1})} + \epsilon}, \qquad
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad
        \nu \leftarrow b_2 \nu + (1 - b_2) (g - \mu)^2 + \epsilon_{root}

    The first gradient, before which there is none, is divided by :math:`1 + \epsilon`.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean squared deviation, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added to the slot `nu` at each step, in the units of g**2, at least 0.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, `weight`, what the last `nu` had seen, is
    one number for the leaf, in float32 or wider. The link keeps the weight that the mean of decay `b2` has seen,
    :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers.

    Differs from the paper: debiased, and both eps are one number there. optax takes the deviation from the old mean,
    which is :math:`1 / b_1` times as large.

    References:
        Zhuang et al., 2021, algorithm ACProp. https://arxiv.org/abs/2110.05454
    """

def scale_by_belief(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-16,
    eps_root: Number = 1e-16,
    *,
    nesterov: bool = False,
    mask: Mask | None = None,
) -> Transform:
    r"""Divides the running mean of the gradients by how far the gradients are from it.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad
        \nu \leftarrow b_2 \nu + (1 - b_2) (g - \mu)^2 + \epsilon_{root}, \qquad
        u = \frac{\mu / (1 - b_1^t)}{\sqrt{\nu / (1 - b_2^t)} + \epsilon}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean squared deviation, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added to the slot `nu` at each step, in the units of g**2, at least 0.
        nesterov: let the mean look ahead by one step, as in `scale_by_nadam`.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. The link keeps the
    weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each.

    Differs from the paper: both eps are one number there.

    References:
        Zhuang et al., 2020, Algorithm 2. https://arxiv.org/abs/2010.07468
    """

def scale_by_adabound(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    final_ratio: Number = 100.0,
    gamma: Number = 0.001,
    bias_correction: bool = True,
    amsgrad: bool = False,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Adam whose step sizes are held between two bounds that close in on one of SGD.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2

        u = \mu\, \mathrm{clip}\left(\frac{\sqrt{1 - b_2^t}}{1 - b_1^t} \frac{1}{\sqrt\nu + \epsilon},\
        c \left(1 - \frac{1}{\gamma t + 1}\right),\ c \left(1 + \frac{1}{\gamma t}\right)\right)

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        final_ratio: c, the final step size of SGD divided by the learning rate, positive: 0.1 by 1e-3 in the paper.
        gamma: :math:`\gamma`, how fast the bounds close in, per step, positive.
        bias_correction: debias both means, the first within the bounds.
        amsgrad: AMSBound: divide by the largest :math:`\nu` so far.

    Shapes and dtypes: any; the slots `mu` and `nu`, with `amsgrad` also `nu_max`, are like the parameter, in float32 or
    wider. The link keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`,
    as two numbers each.

    Differs from the paper: debiased, and with eps, as in the authors' program; Algorithm 2 and 3 are
    `bias_correction=False, eps=0.0` with a learning rate that falls as :math:`1 / \sqrt t`. The bounds are in units of
    the learning rate, which multiplies the update afterwards; :math:`\gamma` is :math:`1 - b_2` there.

    References:
        Luo et al., 2019, Algorithms 2 (AdaBound) and 3 (AMSBound). https://arxiv.org/abs/1902.09843
    """

def scale_by_adadelta(rho: Number = 0.9, eps: Number = 1e-06, *, mask: Mask | None = None) -> Transform:
    r"""Divides the update by its running root mean square, and multiplies it by that of the updates made so far.

    .. math::
        E_g \leftarrow \rho E_g + (1 - \rho) g^2, \qquad
        u = \sqrt{\frac{E_x + \epsilon}{E_g + \epsilon}}\, g, \qquad E_x \leftarrow \rho E_x + (1 - \rho) u^2

    Fields:
        rho: decay of both mean squares, in [0, 1).
        eps: added inside both roots, in the units of g**2 and of u**2, at least 0; with 0 nothing ever moves.

    Shapes and dtypes: any; the slots `e_g` and `e_x` are like the parameter, in float32 or wider.

    Differs from the paper: nothing; the update is in the units of the parameter, so that its learning rate is 1.

    References:
        Zeiler, 2012, Algorithm 1. https://arxiv.org/abs/1212.5701
    """

def scale_by_rss(
    initial_accumulator_value: Number = 0.1,
    eps: Number = 1e-07,
    *,
    eps_in_sqrt: bool = True,
    mask: Mask | None = None,
) -> Transform:
    r"""Divides the update by the root of the sum of all its squares so far.

    .. math::
        G \leftarrow G + g^2, \qquad u = \frac{g}{\sqrt{G + \epsilon}} \quad\text{or}\quad \frac{g}{\sqrt{G} + \epsilon}

    Fields:
        initial_accumulator_value: G before the first update, in the units of g**2, at least 0.
        eps: at least 0; in the units of g**2 inside the root, of g outside.
        eps_in_sqrt: add eps inside the root, or to the root.

    Shapes and dtypes: any; the slot `sum_of_squares` (G above) is like the parameter, in float32 or wider.

    Differs from the paper: there the accumulator starts at 0, and eps (:math:`\delta`) stands outside the root.

    References:
        Duchi, Hazan and Singer, 2011, Figure 1, diagonal form. Journal of Machine Learning Research 12:2121-2159
    """

def scale_by_adahessian(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    hessian_power: Number = 1.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Divides the running mean of the gradients by the running root mean square of the curvature.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) \hat h^2, \qquad
        u = \frac{\mu / (1 - b_1^t)}{\left(\nu / (1 - b_2^n)\right)^{k / 2} + \epsilon}

    The estimate :math:`\hat h` of the Hessian's diagonal is the extra argument `hessian` of `update` and `oc.apply`, a
    tree like the gradients; `oc.hutchinson` makes one. A step that has none passes `hessian=None`, and :math:`\nu`
    and the number n of estimates stay as they are; to give nothing is an error. Before the first one the divisor is 1.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean squared curvature, for each estimate, in [0, 1).
        eps: added to the divisor, in the units of h, positive.
        hessian_power: k, from 0 (the gradient) to 1 (Newton's step).

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, `weight` (:math:`1 - b_2^n`) is one number
    for the leaf, in float32 or wider. The link keeps the weight that the mean of decay `b1` has seen, :math:`1 - b^t`
    or, where b changes, :math:`1 - \prod b`, as two numbers.

    Differs from the paper: eps is 1e-4 in the authors' program, 1e-8 here: where the curvature has the root mean square
    c, a step is :math:`(c + 10^{-4}) / (c + 10^{-8})` times as long, twice at :math:`c = 10^{-4}`. The estimate is not
    averaged over blocks, such as the entries of one filter of a convolution; it may be averaged before it is given.
    Without an estimate the authors' program counts on; here the debiasing counts estimates.

    References:
        Yao et al., 2020, Algorithm 1 and equations 11 to 13. https://arxiv.org/abs/2006.00719
    """

def scale_by_adam(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Divides the running mean of the gradients by the root of the running mean of their squares.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        u = \frac{\mu / (1 - b_1^t)}{\sqrt{\nu / (1 - b_2^t) + \epsilon_{root}} + \epsilon}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0; positive to differentiate through the update.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. The link keeps the
    weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each.

    Differs from the paper: `eps_root`, absent there, is 0 by default.

    References:
        Kingma and Ba, 2014, Algorithm 1. https://arxiv.org/abs/1412.6980
    """

def scale_by_adam_mini(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    block: str = "leaf",
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Adam with one second moment for each block of a parameter.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad
        \nu_B \leftarrow b_2 \nu_B + (1 - b_2)\, \mathrm{mean}_B\, g^2, \qquad
        u = \frac{\mu / (1 - b_1^t)}{\sqrt{\nu_B / (1 - b_2^t)} + \epsilon}

    A block is the whole leaf, or a slice of its first axis (a token of an embedding), or of its last one (an output
    neuron of a kernel of Flax). Where blocks differ from leaf to leaf, masks or `groups` choose; heads are leaves of
    their own in a view of `as_matrices`, such as `"d (h k) -> h d k"` for queries and keys. A bias, as any array of
    fewer than two axes, is one block.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        block: "leaf", "row" (slices of the first axis) or "column" (slices of the last axis).

    Shapes and dtypes: any; the slot `mu` is like the parameter, `nu` one number for each block, in float32 or wider.
    The link keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two
    numbers each.

    Differs from the paper: which parameters are embeddings, queries, keys and the rest is given by masks, not read off
    their names; weight decay is a link of its own (`add_decayed_weights`). Since its version 1.1 the authors' program
    steps biases by Adam, entry by entry, as `scale_by_adam` under a mask: on recorded gradients of three vectors the
    updates differ by 11 to 35 percent of their norm on average.

    Raises:
        ValueError: another word for `block`.

    References:
        Zhang et al., 2024, Algorithm 1. https://arxiv.org/abs/2406.16793
    """

def scale_by_adamax(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Divides the running mean of the gradients by a decaying maximum of their sizes.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow \max(b_2 \nu, |g| + \epsilon), \qquad
        u = \frac{\mu / (1 - b_1^t)}{\nu}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the maximum, in [0, 1).
        eps: added to the size of g, in the units of g, at least 0.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. The link keeps the
    weight that the mean of decay `b1` has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two
    numbers.

    Differs from the paper: eps, absent there; with 0 an entry that never had a gradient stays.

    References:
        Kingma and Ba, 2014, Algorithm 2. https://arxiv.org/abs/1412.6980
    """

def scale_by_adan(
    b1: Number = 0.98,
    b2: Number = 0.92,
    b3: Number = 0.99,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Adam with Nesterov momentum from the differences of successive gradients.

    .. math::
        d = g - g_{last}, \qquad \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad
        \delta \leftarrow b_2 \delta + (1 - b_2) d, \qquad \nu \leftarrow b_3 \nu + (1 - b_3) (g + b_2 d)^2

        u = \frac{\mu / (1 - b_1^t) + b_2 \delta / (1 - b_2^t)}{\sqrt{\nu / (1 - b_3^t) + \epsilon_{root}} + \epsilon}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean difference, and its weight in the update, in [0, 1).
        b3: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.

    Shapes and dtypes: any; the slots `mu`, `delta`, `nu` and `last` are like the parameter, in float32 or wider. The
    link keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two
    numbers each.

    Differs from the paper: its :math:`\beta` are :math:`1 - b` here; the means begin at 0 and are debiased, as in the
    authors' program, instead of at the first gradient and its square; the decay of the parameters is a link of its own.
    optax weighs the differences with :math:`1 - b_2`, though its :math:`b_2` is :math:`1 - \beta_2`: by default 0.08
    instead of the paper's 0.92; its preset has an `eps_root` of 1e-8, a floor of 1e-4 under the gradients.

    References:
        Xie et al., 2022, Algorithm 1. https://arxiv.org/abs/2208.06677
    """

def scale_by_ademamix(
    b1: Number = 0.9,
    b2: Number = 0.999,
    b3: Number = 0.9999,
    alpha: Number = 6.0,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Adam with a second mean of the gradients, that reaches back much further.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad m \leftarrow b_3 m + (1 - b_3) g, \qquad
        \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        u = \frac{\mu / (1 - b_1^t) + \alpha m}{\sqrt{\nu / (1 - b_2^t) + \epsilon_{root}} + \epsilon}

    The paper warms up :math:`\alpha` and :math:`b_3` in T steps: `alpha=oc.linear(6.0 / T, 6.0, T - 1)` and
    `b3=oc.linear_half_life(0.9, 0.9999, T)`.

    Fields:
        b1: decay of the fast mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        b3: decay of the slow mean, in [0, 1).
        alpha: :math:`\alpha`, weight of the slow mean, at least 0.
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.

    Shapes and dtypes: any; the slots `mu`, `slow` (m above) and `nu` are like the parameter, in float32 or wider. The
    link keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two
    numbers each.

    Differs from the paper: `eps_root`, absent there, is 0 by default; :math:`\alpha` is 5 in its Algorithm 1.

    References:
        Pagliardini, Ablin and Grangier, 2024, Algorithm 1. https://arxiv.org/abs/2409.03137
    """

def scale_by_adopt(
    b1: Number = 0.9,
    b2: Number = 0.9999,
    eps: Number = 1e-06,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    mask: Mask | None = None,
) -> Transform:
    r"""Takes the running mean of gradients that are divided by the root mean square of the gradients before them.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1)\,
        \mathrm{clip}\left(\frac{g}{\max(\sqrt\nu, \epsilon)},\ \pm (t - 1)^{1/4}\right), \qquad
        \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad u = \mu

    The first gradient makes no step: :math:`\nu \leftarrow g^2`.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: the least divisor, in the units of g, positive.
        nesterov: let the mean look ahead by one step: the update is :math:`b_1 \mu` and the rest of the quotient.
        use_clipping: clip the quotient.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider.

    Differs from the paper: nothing; its t counts from 0 where this one counts from 1.

    References:
        Taniguchi et al., 2024, Algorithm 2, with clipping as in its section 5. https://arxiv.org/abs/2411.02853
    """

def scale_by_amsgrad(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    *,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    mask: Mask | None = None,
) -> Transform:
    r"""Adam that divides by the largest root mean square so far, so that no step size ever grows again.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        \nu_{max} \leftarrow \max(\nu_{max}, \nu / (1 - b_2^t)), \qquad
        u = \frac{\mu / (1 - b_1^t)}{\sqrt{\nu_{max} + \epsilon_{root}} + \epsilon}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        bias_correction_mu: divide the mean by :math:`1 - b_1^t`.
        bias_correction_nu: divide the mean square by :math:`1 - b_2^t` before the maximum is taken.

    Shapes and dtypes: any; the slots `mu`, `nu` and `nu_max` are like the parameter, in float32 or wider. The link
    keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers
    each.

    Differs from the paper: there neither mean is debiased, which is `bias_correction_mu=False` and
    `bias_correction_nu=False`, and there is no eps. PyTorch debiases after the maximum, so that its steps may grow.

    References:
        Reddi, Kale and Kumar, 2018, Algorithm 2. https://arxiv.org/abs/1904.09237
    """

def scale_by_came(
    b1: Number = 0.9,
    b2: Number = 0.999,
    b3: Number = 0.9999,
    eps: Number = 1e-30,
    eps_residual: Number = 1e-16,
    clipping_threshold: Number = 1.0,
    min_dim_size_to_factor: int = 2,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Divides by factored mean squares, averages, and divides again by how far the parts were from their mean.

    .. math::
        r, s \leftarrow b_2 (r, s) + (1 - b_2)\, \mathrm{mean}_{col, row} (g^2 + \epsilon), \qquad
        \hat g = g \Big/ \sqrt{\frac{r s^T}{\mathrm{mean}\, r}}, \qquad
        \bar g = \frac{\hat g}{\max(1, \mathrm{RMS}(\hat g) / d)}

        \mu \leftarrow b_1 \mu + (1 - b_1) \bar g, \qquad
        R, S \leftarrow b_3 (R, S) + (1 - b_3)\, \mathrm{mean}_{col, row} ((\bar g - \mu)^2 + \epsilon_{res}), \qquad
        u = \mu \Big/ \sqrt{\frac{R S^T}{\mathrm{mean}\, R}}

    Rows and columns are the two longest axes; other axes count matrices. Where the shorter of the two is below
    `min_dim_size_to_factor`, and on vectors, the mean square has the shape of the parameter, and :math:`u = \mu`.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        b3: decay of the mean squared deviation, in [0, 1).
        eps: :math:`\epsilon`, added to the squares, in the units of g**2, positive.
        eps_residual: :math:`\epsilon_{res}`, added to the squared deviations, which have no units, positive.
        clipping_threshold: d, bound on the root mean square of a leaf, positive.
        min_dim_size_to_factor: the least number of rows and of columns that are factored, from 1.

    Shapes and dtypes: any; the slot `mu` and, where nothing is factored, `nu` are like the parameter, the others are
    the factors of both matrices, all in float32 or wider.

    Differs from the paper: it sums where here are means, which is the same quotient. That vectors have no residual is
    as in the authors' program; the paper treats matrices.

    Raises:
        ValueError: `min_dim_size_to_factor` is no whole number from 1.

    References:
        Luo et al., 2023, Algorithm 2. https://arxiv.org/abs/2307.02047
    """

def ema(decay: Number, debias: bool = True, *, mask: Mask | None = None) -> Transform:
    r"""Replaces the update by the exponential moving average of all updates so far.

    .. math::
        \mu \leftarrow b \mu + (1 - b) g, \qquad u = \frac{\mu}{1 - b^t} \quad\text{or}\quad u = \mu

    Fields:
        decay: b, in [0, 1); about :math:`1 / (1 - b)` updates are averaged.
        debias: divide by the weight :math:`1 - b^t` that the average has seen.

    Shapes and dtypes: any; the slot `mu` is like the parameter, in float32 or wider. The link keeps the weight that the
    mean of decay `decay` has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers.

    Differs from the paper: nothing; debiased it is the numerator of Adam.

    References:
        Kingma and Ba, 2014, Algorithm 1. https://arxiv.org/abs/1412.6980
    """

def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: Number = 0.8,
    *,
    min_dim_size_to_factor: int = 128,
    eps: Number = 1e-30,
    max_decay: Number = 1.0,
    mask: Mask | None = None,
) -> Transform:
    r"""Divides the update by the root of its mean square, kept as one number for each row and one for each column.

    .. math::
        b = \min(b_{max},\ 1 - t^{-c}), \qquad
        r \leftarrow b r + (1 - b)\, \mathrm{mean}_{col} (g^2 + \epsilon), \qquad
        s \leftarrow b s + (1 - b)\, \mathrm{mean}_{row} (g^2 + \epsilon), \qquad
        u = g \Big/ \sqrt{\frac{r s^T}{\mathrm{mean}\, r}}

    Rows and columns are the two longest axes; other axes count matrices. Where the shorter of the two is below
    `min_dim_size_to_factor`, and on vectors, the mean square has the shape of the parameter.

    Fields:
        factored: False keeps the mean square of all parameters in their own shape.
        decay_rate: c, how fast the decay rises to 1, in [0, 1).
        min_dim_size_to_factor: the least number of rows and of columns that are factored, from 1.
        eps: :math:`\epsilon`, added to the squares, in the units of g**2, positive.
        max_decay: :math:`b_{max}`, a bound of the decay, in [0, 1]; 0.999 in Zhai et al.

    Shapes and dtypes: any; the slots `nu_row` and `nu_col` hold a matrix's factors, `nu` the mean square of what is not
    factored, like the parameter, all in float32 or wider.

    Differs from the paper: it sums where here are means, which is the same quotient, and factors every matrix.

    Raises:
        ValueError: `min_dim_size_to_factor` is no whole number from 1.

    References:
        Shazeer and Stern, 2018, Algorithm 4. https://arxiv.org/abs/1804.04235
        Zhai et al., 2021 (the bound of the decay). https://arxiv.org/abs/2106.04560
    """

def ftrl(
    learning_rate: Number,
    beta: Number = 1.0,
    l1: Number = 0.0,
    l2: Number = 0.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Moves the parameter to where the sum of all linearized losses so far, with an L1 and L2 penalty, is least.

    .. math::
        \sigma = \frac{\sqrt{n + g^2} - \sqrt n}{\alpha}, \qquad z \leftarrow z + g - \sigma p, \qquad
        n \leftarrow n + g^2

    .. math::
        u = \begin{cases} -p & |z| \le \lambda_1 \\
        - \dfrac{z - \operatorname{sign}(z) \lambda_1}{(\beta + \sqrt n) / \alpha + \lambda_2} - p & \text{else}
        \end{cases}

    It stands in the place of `scale_by_learning_rate`, at the end of a chain. Entries that have seen no gradient stay
    where they began; with `l1` they become exact zeros, which is why it serves linear models of very many features.

    Fields:
        learning_rate: :math:`\alpha`, > 0.
        beta: :math:`\beta`, smooths the rate at first, in the units of g, at least 0.
        l1: :math:`\lambda_1`, weight of :math:`\sum |p|`, at least 0.
        l2: :math:`\lambda_2`, weight of :math:`\sum p^2 / 2`, at least 0.

    Shapes and dtypes: any; the slots `z` and `n` are like the parameter, in float32 or wider. It reads the parameters:
    `update` without them is an error.

    Differs from the paper: there parameters begin at 0; here z begins so that the formula gives the parameter that is
    there. An entry without a gradient is left alone, which with a constant rate follows from the formula.

    References:
        McMahan et al., 2013, Algorithm 1. doi:10.1145/2487575.2488200
    """

def scale_by_laprop(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-15,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Takes the running mean of gradients that are already divided by their root mean square.

    .. math::
        \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        \mu \leftarrow b_1 \mu + (1 - b_1) \frac{g}{\sqrt{\nu / (1 - b_2^t)} + \epsilon}, \qquad
        u = \frac{\mu}{1 - b_1^t}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. The link keeps the
    weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each.

    Differs from the paper: the learning rate multiplies the mean, not each term; equal where the rate is constant.

    References:
        Ziyin, Wang and Ueda, 2020, Algorithm 1. https://arxiv.org/abs/2002.04839
    """

def scale_by_lion(
    b1: Number = 0.9,
    b2: Number = 0.99,
    *,
    mode: str = "hard",
    smooth_beta: float = 1.0,
    mask: Mask | None = None,
) -> Transform:
    r"""Steps by the sign of an interpolated momentum.

    .. math::
        u = \operatorname{sign}(b_1 \mu + (1 - b_1) g), \qquad \mu \leftarrow b_2 \mu + (1 - b_2) g

    Fields:
        b1: weight of the momentum in the step, in [0, 1).
        b2: decay of the momentum, in [0, 1).
        mode: what the update is of the interpolated momentum c: `"hard"`, its sign; `"smooth"`,
            :math:`\tanh(\beta c)`; `"refined"`, c itself between -1 and 1 and its sign beyond.
        smooth_beta: :math:`\beta`, > 0, in the units of 1 / g; of the mode `"smooth"` alone.

    Shapes and dtypes: any; the slot `mu` is like the parameter, in float32 or wider.

    Raises:
        ValueError: another mode, or a `smooth_beta` that is not positive.

    Differs from the paper: weight decay is a link of its own (`add_decayed_weights`); there is one mode, `"hard"`.

    References:
        Chen et al., 2023, Algorithm 2. https://arxiv.org/abs/2302.06675
    """

def scale_by_madgrad(
    learning_rate: Number,
    momentum: Number = 0.9,
    eps: Number = 1e-06,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Dual averaging with momentum: steps from the first parameters along the sum of all gradients.

    .. math::
        \eta_t = \eta \sqrt t, \qquad s \leftarrow s + \eta_t g, \qquad \nu \leftarrow \nu + \eta_t g^2, \qquad
        z = p_0 - \frac{s}{\sqrt[3]{\nu} + \epsilon}, \qquad u = (1 - b) (z - p)

    The update is the whole step, downhill: neither a rate nor a sign follows. It is not proportional to the rate, which
    is part of both sums.

    Fields:
        learning_rate: :math:`\eta`, at least 0.
        momentum: b, the weight of the parameters against z, in [0, 1).
        eps: added to the cube root, in the units of g, positive.

    Shapes and dtypes: any; the slots `sum` (s above), `sum_of_squares` (:math:`\nu`) and `start` (:math:`p_0`, a copy)
    are like the parameter, in float32 or wider. It reads the parameters: `update` without them is an error.

    Differs from the paper: eps is added there as here, and the authors' program, optax and pytorch_optimizer add it to
    the rate too. Only updates of this link may move the parameters; a decay before it is one of the gradient (L2).

    References:
        Defazio and Jelassi, 2021, Algorithm 1. https://arxiv.org/abs/2101.11075
    """

def trace(decay: Number, nesterov: bool = False, *, mask: Mask | None = None) -> Transform:
    r"""Replaces the update by a decaying sum of all updates so far.

    .. math::
        m \leftarrow g + b m, \qquad u = m \quad\text{(heavy ball)}, \qquad u = g + b m \quad\text{(Nesterov)}

    Fields:
        decay: :math:`b`, in [0, 1). The sum is not normalized: a constant g grows by :math:`1 / (1 - b)`.
        nesterov: look ahead by one step.

    Shapes and dtypes: any; the slot `trace` (m above) is like the parameter, in float32 or wider.

    Differs from the paper: the learning rate multiplies the sum, not each term; equal where the rate is constant.

    References:
        Polyak, 1964, equation 9. doi:10.1016/0041-5553(64)90137-5
        Sutskever et al., 2013, equations 3 and 4. Proceedings of ICML, PMLR 28(3):1139-1147
    """

def scale_by_nadam(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    *,
    warmup: Number = 0.0,
    momentum_decay: Number = 0.004,
    mask: Mask | None = None,
) -> Transform:
    r"""Adam whose mean looks ahead by one step.

    .. math::
        \mu \leftarrow m_t \mu + (1 - m_t) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        m_t = b_1 (1 - c\, 0.96^{\psi t})

        u = \frac{m_{t+1} \mu / (1 - \prod_{i=1}^{t+1} m_i) + (1 - m_t) g / (1 - \prod_{i=1}^t m_i)}
        {\sqrt{\nu / (1 - b_2^t) + \epsilon_{root}} + \epsilon}

    Fields:
        b1: decay of the mean, after its warm-up, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        warmup: c, the share of `b1` that is missing at first, in [0, 1]; 0 is the plain form, 0.5 the paper's schedule.
        momentum_decay: :math:`\psi`, how fast the missing share vanishes, per step, at least 0.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider; `weight`,
    :math:`1 - \prod m_i`, is a scalar for each leaf. The link keeps the weight that the mean of decay `b2` has seen,
    :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers.

    Differs from the paper: without its momentum schedule by default, as `optax.nadam`; `warmup=0.5` is it. The second
    mean is debiased as in Adam, without a further factor :math:`b_2`. PyTorch takes :math:`m_t` in the update, but
    :math:`b_1` in the mean; here it is :math:`m_t` in both, as in the paper.

    References:
        Dozat, 2016, Algorithm 2. Incorporating Nesterov Momentum into Adam, ICLR workshop
    """

def scale_by_novograd(
    b1: Number = 0.9,
    b2: Number = 0.25,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    weight_decay: Number = 0.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Sums gradients that are divided by the running norm of their leaf.

    .. math::
        \nu \leftarrow b_2 \nu + (1 - b_2) \lVert g \rVert^2, \qquad
        \mu \leftarrow b_1 \mu + \frac{g}{\sqrt{\nu + \epsilon_{root}} + \epsilon} + \lambda p, \qquad u = \mu

    The first gradient begins both: :math:`\nu \leftarrow \lVert g \rVert^2`.

    Fields:
        b1: decay of the sum, in [0, 1). The sum is not normalized: a constant term grows by :math:`1 / (1 - b_1)`.
        b2: decay of the squared norm, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        weight_decay: :math:`\lambda`, per unit of the learning rate, at least 0.

    Shapes and dtypes: any; the slot `mu` is like the parameter, `nu` one number for the leaf, in float32 or wider. It
    reads the parameters: `update` without them is an error.

    Differs from the paper: eps_root, absent there, is 0; the paper's experiments use larger :math:`b_2`, such as 0.98.

    References:
        Ginsburg et al., 2019, Algorithm 1. https://arxiv.org/abs/1905.11286
    """

def scale_by_optimistic_gradient(alpha: Number = 1.0, beta: Number = 1.0, *, mask: Mask | None = None) -> Transform:
    r"""Adds to the update its change since the last one, as if it would change as much again.

    .. math::
        u = \alpha g + \beta (g - g_{last})

    Fields:
        alpha: weight of the gradient, at least 0.
        beta: weight of its change, at least 0. The first gradient counts as unchanged.

    Shapes and dtypes: any; the slot `last` is like the parameter, in float32 or wider.

    Differs from the paper: nothing; it has :math:`\alpha = \beta = 1`.

    References:
        Daskalakis et al., 2017, equation 6. https://arxiv.org/abs/1711.00141
        Mokhtari, Ozdaglar and Pattathil, 2019, equation 9 (generalized). https://arxiv.org/abs/1901.08511
    """

def scale_by_padam(
    power: Number = 0.125,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""AMSGrad that divides by a power of the largest mean square so far, between SGD with momentum and AMSGrad.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        \nu_{max} \leftarrow \max(\nu_{max}, \nu / (1 - b_2^t)), \qquad
        u = \frac{\mu / (1 - b_1^t)}{(\sqrt{\nu_{max}} + \epsilon)^{2 p}}

    Fields:
        power: the power p of the mean square, in (0, 0.5]; 0.5 is AMSGrad, and near 0 it is SGD with momentum. The
            update has the units of g to the power :math:`1 - 2 p`, so that a good learning rate depends on it.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        bias_correction_mu: divide the mean by :math:`1 - b_1^t`.
        bias_correction_nu: divide the mean square by :math:`1 - b_2^t` before the maximum is taken.

    Shapes and dtypes: any; the slots `mu`, `nu` and `nu_max` are like the parameter, in float32 or wider. The link
    keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers
    each.

    Differs from the paper: there neither mean is debiased, which is `bias_correction_mu=False` and
    `bias_correction_nu=False`, and there is no eps, which is `eps=0`. Where all gradients have been 0 its quotient is
    0 / 0, and this update is 0. The authors' code has the same eps, but instead of debiasing before the maximum it
    multiplies the update by :math:`\sqrt{1 - b_2^t}`, for any p.

    References:
        Chen, Zhou, Tang, Yang, Cao and Gu, 2018, Algorithm 1. https://arxiv.org/abs/1806.06763
    """

def scale_by_radam(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    threshold: Number = 5.0,
    *,
    nesterov: bool = False,
    mask: Mask | None = None,
) -> Transform:
    r"""Adam that divides by its root mean square only once that is sure enough, and then less the surer it is.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        \hat\mu = \frac{\mu}{1 - b_1^t}, \qquad \hat\nu = \frac{\nu}{1 - b_2^t}

        \rho_\infty = \frac{2}{1 - b_2} - 1, \qquad \rho_t = \rho_\infty - \frac{2 t b_2^t}{1 - b_2^t}, \qquad
        r_t = \sqrt{\frac{(\rho_t - 4) (\rho_t - 2) \rho_\infty}{(\rho_\infty - 4) (\rho_\infty - 2) \rho_t}}

        u = r_t \frac{\hat\mu}{\sqrt{\hat\nu + \epsilon_{root}} + \epsilon} \ \text{where}\ \rho_t > \rho_{min}, \qquad
        u = \hat\mu \ \text{else}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1); up to 0.6 the root is never sure enough.
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        threshold: :math:`\rho_{min}`, the samples that the mean square must be worth, at least 4.
        nesterov: let the mean look ahead by one step, as in `scale_by_nadam`.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. The link keeps the
    weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each. A
    change of :math:`b_2` does not touch the means; :math:`\rho_t` becomes that of t samples at the new decay.

    Differs from the paper: its threshold is 4, and it has neither eps.

    References:
        Liu et al., 2019, Algorithm 2. https://arxiv.org/abs/1908.03265
    """

def scale_by_rms(
    decay: Number = 0.9,
    eps: Number = 1e-08,
    initial_scale: Number = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Divides the update by the root of the running mean of its squares.

    .. math::
        \nu \leftarrow b \nu + (1 - b) g^2, \qquad
        u = \frac{g}{\sqrt{\nu + \epsilon}} \quad\text{or}\quad \frac{g}{\sqrt{\nu} + \epsilon}

    Fields:
        decay: b, in [0, 1).
        eps: at least 0; in the units of g**2 inside the root, of g outside.
        initial_scale: :math:`\nu` before the first update, in the units of g**2, at least 0.
        eps_in_sqrt: add eps inside the root, or to the root.
        bias_correction: divide :math:`\nu` by :math:`1 - b^t`.

    Shapes and dtypes: any; the slot `nu` is like the parameter, in float32 or wider. The link keeps the weight that the
    mean of decay `decay` has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers.

    Differs from the paper: there is no eps in the lecture; its decay is 0.9.

    References:
        Tieleman and Hinton, 2012. Lecture 6.5 of Neural Networks for Machine Learning, Coursera
    """

def scale_by_rowwise_adagrad(
    initial_accumulator_value: Number = 0.0,
    eps: Number = 1e-08,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Divides the update of a row by the root of the sum of all its mean squares so far.

    .. math::
        G \leftarrow G + \frac{1}{d} \sum_{j=1}^d g_j^2, \qquad u = \frac{g}{\sqrt G + \epsilon}

    It keeps 4 bytes for a row of d numbers, where Adagrad keeps 4 d.

    Fields:
        initial_accumulator_value: G before the first update, in the units of g**2, at least 0.
        eps: added to the root, in the units of g, at least 0.

    Shapes and dtypes: any; a row is what lies along the last axis, and the slot has the shape of all others, in float32
    or wider.

    Differs from the paper: there is none that defines it; DLRM, which it is used for, cites its implementation.

    References:
        Duchi, Hazan and Singer, 2011, Figure 1. Journal of Machine Learning Research 12:2121-2159
        Naumov et al., 2019 (DLRM). https://arxiv.org/abs/1906.00091
    """

def scale_by_rprop(
    learning_rate: Number,
    eta_minus: Number = 0.5,
    eta_plus: Number = 1.2,
    min_step_size: Number = 1e-06,
    max_step_size: Number = 50.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Steps by the sign of the gradient, by a size of each entry's own that grows until the sign changes.

    .. math::
        \Delta \leftarrow \begin{cases}
        \min(\eta^+ \Delta, \Delta_{max}) & \text{where}\ g\, u_{last} > 0 \\
        \max(\eta^- \Delta, \Delta_{min}) & \text{where}\ g\, u_{last} < 0 \\ \Delta & \text{else} \end{cases}
        \qquad
        u = \begin{cases} 0 & \text{where}\ g\, u_{last} < 0 \\ \Delta \operatorname{sign}(g) & \text{else} \end{cases}

    Fields:
        learning_rate: :math:`\Delta` before the first update, in the units of the parameter, positive; later values of
            a schedule do nothing.
        eta_minus: :math:`\eta^-`, where the sign has changed, in (0, 1).
        eta_plus: :math:`\eta^+`, where it has not, at least 1.
        min_step_size: :math:`\Delta_{min}`, in the units of the parameter, positive.
        max_step_size: :math:`\Delta_{max}`, in the units of the parameter, positive.

    Shapes and dtypes: any; the slots `step_size` and `last` are like the parameter, in float32 or wider. The update is
    the step itself: negate it, and leave a learning rate out.

    Differs from the paper: where the sign changes the entry rests for one step instead of going back by the last one
    (iRprop-), as in PyTorch. optax 0.2.8 has the same slots, but returns the update of the step before, 0 at first, and
    stops an entry at once where its sign changes.

    References:
        Riedmiller and Braun, 1993. doi:10.1109/ICNN.1993.298623
        Igel and Huesken, 2000, Algorithm 4 (iRprop-). Improving the Rprop Learning Algorithm, Proceedings of NC
    """

def scale_by_sign(*, mask: Mask | None = None) -> Transform:
    r"""Steps by the sign of the gradient.

    .. math::
        u = \operatorname{sign}(g)

    Fields: none.

    Shapes and dtypes: any; no slots. The sign of 0 is 0.

    Differs from the paper: nothing.

    References:
        Bernstein et al., 2018, Algorithm 1. https://arxiv.org/abs/1802.04434
    """

def scale_by_signum(beta: Number = 0.9, *, mask: Mask | None = None) -> Transform:
    r"""Steps by the sign of the running mean of the gradients.

    .. math::
        \mu \leftarrow b \mu + (1 - b) g, \qquad u = \operatorname{sign}(\mu)

    Fields:
        beta: b, decay of the mean, in [0, 1).

    Shapes and dtypes: any; the slot `mu` is like the parameter, in float32 or wider.

    Differs from the paper: nothing.

    References:
        Bernstein et al., 2018, Algorithm 2. https://arxiv.org/abs/1802.04434
    """

def scale_by_simplified_ademamix(
    b1: Number = 0.99,
    b2: Number = 0.95,
    alpha: Number = 0.0,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Divides a decaying sum of the gradients, and the last one once more, by their root mean square.

    .. math::
        \mu \leftarrow b_1 \mu + g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        u = \frac{\mu + \alpha g}{\sqrt{\nu / (1 - b_2^t) + \epsilon_{root}} + \epsilon}

    Fields:
        b1: decay of the sum, in [0, 1). It is not normalized: a constant g grows by :math:`1 / (1 - b_1)`.
        b2: decay of the mean square, in [0, 1).
        alpha: :math:`\alpha`, weight of the last gradient, at least 0.
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. The link keeps the
    weight that the mean of decay `b2` has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two
    numbers.

    Differs from the paper: `eps_root`, absent there, is 0 by default.

    References:
        Morwani et al., 2025, Simplified AdEMAMix. https://arxiv.org/abs/2502.02431
    """

def scale_by_sm3(*, b2: Number = 1.0, eps: Number = 1e-08, mask: Mask | None = None) -> Transform:
    r"""Adagrad whose sums of squares are bounded by one number for each row and one for each column.

    .. math::
        \nu_{ij} = b_2 \min(r_i, c_j) + w g_{ij}^2, \qquad r_i \leftarrow \max_j \nu_{ij}, \qquad
        c_j \leftarrow \max_i \nu_{ij}, \qquad u = \frac{g}{\sqrt{\nu + \epsilon}}

    with :math:`w = 1` where :math:`b_2` is 1 (sums), and :math:`w = 1 - b_2` else (running means). Columns are slices
    of the last axis, rows run along it; vectors and scalars keep :math:`\nu` itself.

    Fields:
        b2: :math:`b_2`, decay of the bounds, in [0, 1]; 1 in the paper.
        eps: added inside the root, in the units of g**2, at least 0.

    Shapes and dtypes: any; the slots `nu_row` and `nu_col` hold the bounds of a matrix, `nu` the sums of a vector, all
    in float32 or wider.

    Differs from the paper: eps, which is 0 there with 0 / 0 = 0. It leaves the cover open; where a parameter has more
    than two axes optax takes the slices of each. The momentum that optax adds is a link of its own (`ema`).

    References:
        Anil et al., 2019, Algorithm SM3-II. https://arxiv.org/abs/1901.11150
    """

def scale_by_sophia(
    b1: Number = 0.965,
    b2: Number = 0.99,
    eps: Number = 1e-08,
    gamma: Number = 0.01,
    clip_threshold: Number = 1.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Divides the running mean of the gradients by that of the curvature, and clips the quotient.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad h \leftarrow b_2 h + (1 - b_2) \hat h, \qquad
        u = \mathrm{clip}\left(\frac{\mu}{\max(\gamma h, \epsilon)},\ -\rho,\ \rho\right)

    The estimate :math:`\hat h` of the Hessian's diagonal is the extra argument `hessian` of `update` and `oc.apply`, a
    tree like the gradients: of `oc.hutchinson` (Sophia-H) or, for a cross entropy, of `oc.gauss_newton_bartlett`
    (Sophia-G, with a gamma of 0.05). A step that has none passes `hessian=None`, and :math:`h` stays as it is; to give
    nothing is an error. Where :math:`h` is 0 or negative, as everywhere before the first estimate, the quotient is
    clipped: a step by the sign.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean curvature, for each estimate, in [0, 1).
        eps: the least divisor, in the units of h, positive.
        gamma: :math:`\gamma`, positive: the larger it is the fewer entries are clipped; 10 to 50 percent should not be.
        clip_threshold: :math:`\rho`, positive, in units of the learning rate.

    Shapes and dtypes: any; the slots `mu` and `h` are like the parameter, in float32 or wider.

    Differs from the paper: eps is 1e-12 and :math:`b_1` 0.96 there, 1e-8 and 0.965 here as in optax. optax debiases
    :math:`\mu` and divides by the h of the last step; pytorch_optimizer has no :math:`\gamma`, which scales the rate
    and the threshold.

    References:
        Liu et al., 2023, Algorithm 3. https://arxiv.org/abs/2305.14342
    """

def scale_by_stable_adam(
    b1: Number = 0.9,
    b2: Number = 0.99,
    eps: Number = 1e-06,
    weight_decay: Number = 0.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Adam that steps less where the gradients of a leaf outgrow their running mean square.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        \hat\mu = \frac{\mu}{1 - b_1^t}, \qquad \hat\nu = \frac{\nu}{1 - b_2^t}

        \mathrm{RMS} = \sqrt{\mathrm{mean}\, \frac{g^2}{\max(\hat\nu, \epsilon^2)}}, \qquad
        u = \frac{1}{\max(1, \mathrm{RMS})} \left(\frac{\hat\mu}{\sqrt{\hat\nu} + \epsilon} + \lambda p\right)

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, and the least divisor within RMS, in the units of g, positive.
        weight_decay: :math:`\lambda`, per unit of the learning rate, at least 0; the clipping scales it too.

    Shapes and dtypes: any; RMS is one number for the leaf. The slots `mu` and `nu` are like the parameter, in float32
    or wider, and those of `scale_by_adam`. It reads the parameters: `update` without them is an error. The link keeps
    the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each.

    Differs from the paper: nothing; it stores the debiased means, here they are debiased when read.

    References:
        Wortsman et al., 2023, Algorithm 2. https://arxiv.org/abs/2304.13013
    """

def scale_by_stddev(
    decay: Number = 0.9,
    eps: Number = 1e-08,
    initial_scale: Number = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Divides the update by its running standard deviation.

    .. math::
        \mu \leftarrow b \mu + (1 - b) g, \qquad \nu \leftarrow b \nu + (1 - b) g^2, \qquad
        u = \frac{g}{\sqrt{\nu - \mu^2 + \epsilon}} \quad\text{or}\quad \frac{g}{\sqrt{\nu - \mu^2} + \epsilon}

    Fields:
        decay: b, in [0, 1).
        eps: at least 0; in the units of g**2 inside the root, of g outside.
        initial_scale: :math:`\nu` before the first update, in the units of g**2, at least 0.
        eps_in_sqrt: add eps inside the root, or to the root.
        bias_correction: divide both means by :math:`1 - b^t`.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. Where rounding makes
    the variance negative it counts as 0. The link keeps the weight that the mean of decay `decay` has seen,
    :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers.

    Differs from the paper: the momentum of its equation 40 is a link of its own (`trace`); eps is 1e-4 there.

    References:
        Graves, 2013, equations 38 to 40. https://arxiv.org/abs/1308.0850
    """

def reduce_variance(gamma: Number = 0.025, b1: Number = 0.95, *, mask: Mask | None = None) -> Transform:
    r"""Adds to the gradient a multiple of how it changed since the last step, so that its running mean lags less.

    .. math::
        u = g + \gamma \frac{b_1}{1 - b_1} (g - g_{last})

    Followed by `clip_by_leaf_norm(1.0)` and moments with the same b1 it is MARS; the preset `mars` takes those of Adam.

    Fields:
        gamma: :math:`\gamma`, strength of the correction, at least 0; with 1 it is that of STORM.
        b1: decay of the running mean that follows, in [0, 1).

    Shapes and dtypes: any; the slot `last` is like the parameter, in float32 or wider.

    Differs from the paper: nothing, in its practical form MARS-approx, where the last gradient is that of the last
    batch. The first difference is 0, as the paper's :math:`x_1 = x_0` has it; the authors' program begins with a
    last gradient of 0 instead, and corrects matrices alone: what has not two axes it steps by AdamW, see `oc.mars`.

    References:
        Yuan et al., 2024, Algorithm 1 and its approximation. https://arxiv.org/abs/2411.10438
    """

def scale_by_yogi(
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 0.001,
    eps_root: Number = 0.0,
    initial_accumulator_value: Number = 1e-06,
    *,
    bias_correction: bool = True,
    mask: Mask | None = None,
) -> Transform:
    r"""Adam whose mean square moves towards the square of the gradient by steps that do not depend on how far it is.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad
        \nu \leftarrow \nu - (1 - b_2) \operatorname{sign}(\nu - g^2) g^2, \qquad
        u = \frac{\mu / (1 - b_1^t)}{\sqrt{\nu / (1 - b_2^t) + \epsilon_{root}} + \epsilon}

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        initial_accumulator_value: :math:`\nu` before the first update, in the units of g**2, at least 0.
        bias_correction: divide :math:`\mu` by :math:`1 - b_1^t` and :math:`\nu` by :math:`1 - b_2^t`.

    Shapes and dtypes: any; the slots `mu` and `nu` are like the parameter, in float32 or wider. The link keeps the
    weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each.
    :math:`\nu` is not a mean, so that a change of :math:`b_2` changes the quotient of a constant gradient too.

    Differs from the paper: debiased by default; Algorithm 2 is `bias_correction=False`. optax begins `mu` too at
    `initial_accumulator_value`, and so moves entries that never had a gradient; here it begins at 0.

    References:
        Zaheer et al., 2018, Algorithm 2. Adaptive Methods for Nonconvex Optimization, NeurIPS 31
    """

def cagrad(
    c: Number = 0.5,
    exchanges: int = 50,
    *,
    tasks: int | tuple[str, ...] | None = None,
    mask: Mask | None = None,
) -> Transform:
    r"""Takes the direction near the mean gradient of several tasks that lowers the loss falling slowest the most.

    .. math::
        u = g_0 + \frac{c \lVert g_0 \rVert}{\lVert g_w \rVert} g_w, \qquad
        g_0 = \frac{1}{K} \sum_{k=1}^{K} g_k, \quad g_w = \sum_{k=1}^{K} w_k g_k, \quad
        w = \arg\min_{w \ge 0,\, \sum_k w_k = 1} g_w \cdot g_0 + c \lVert g_0 \rVert \lVert g_w \rVert

    This u is the one that makes :math:`\min_k g_k \cdot u` largest within the distance :math:`c \lVert g_0 \rVert` of
    the mean. Norms and products are over all leaves together. It is the first link of a chain; the gradients have a
    leading axis for the tasks in every leaf, as those of `jax.jacrev(losses)`, where `losses` gives K numbers.

    Fields:
        c: how far from the mean, in units of its norm, at least 0: 0 is the mean; below 1 it converges to a minimum of
            the mean loss, from 1 on to any Pareto stationary point.
        exchanges: how often weight is moved from one task to another to find w, at least 1; for two tasks one is exact,
            for K of them some multiples of K are.
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are
            then an error, and each task has a metric. None for any number.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task, where `tasks` says them.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Gradients in the shapes of the parameters are those
    of one task, which are multiplied by 1 + c. It reads the parameters' shapes: `update` without them is an error. No
    slots. Leaves outside of the mask are summed, and are no part of the norms: a mask of the shared parameters weighs
    these alone. Where :math:`g_w` is 0 the update is the mean. A NaN or infinity of any task spoils the whole update.

    Raises:
        ValueError: fewer than one exchange, `tasks` that is no number of at least 1 and no names, and while tracing,
            gradients of another number of tasks, or of different numbers in the leaves.

    Differs from the paper: nothing; its authors' code divides the update by 1 + c or 1 + c^2, which here is a matter of
    the learning rate.

    References:
        Liu et al., 2021, Algorithm 1. https://arxiv.org/abs/2110.14048

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.cagrad(0.4), adam=oc.adam(1e-3))
    """

def dynamic_task_weights(
    tasks: int | tuple[str, ...] | None,
    every: int,
    temperature: Number = 2.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Adds the gradients of several tasks with larger weights for those whose losses fall slower (DWA).

    .. math::
        u = \sum_{k=1}^{K} \lambda_k g_k, \qquad
        \lambda_k = K \frac{e^{r_k / T}}{\sum_j e^{r_j / T}}, \qquad
        r_k = \frac{\bar L_k^{(n-1)}}{\bar L_k^{(n-2)}}

    where :math:`\bar L_k^{(n)}` is the mean loss over the n-th period of some updates, such as an epoch. The ratios are
    1 until two periods are whole. `update` and `oc.apply` take the extra argument `losses`, K numbers; a step with None
    is no part of any period, and to give nothing is an error. It is the first link of a chain; the gradients have a
    leading axis for the tasks in every leaf, as those of `jax.jacrev(losses)`, where `losses` gives K numbers.

    Fields:
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are an
            error.
        every: updates in a period, at least 1; the paper's is an epoch.
        temperature: T, > 0: the larger, the more equal the weights.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). It reads the parameters' shapes: `update` without
    them is an error. The slots are three times K numbers and two counts. Leaves outside of the mask are summed. Losses
    that are not finite are no part of any period; a NaN or infinity in a gradient spoils the whole update.

    Raises:
        ValueError: `every` below 1, `tasks` that is no number of at least 1 and no names, and while tracing, losses or
            gradients of another number of tasks.

    Differs from the paper: nothing. Where nothing else needs a gradient of each task, weights of a sum of losses that
    the caller changes once an epoch cost one backward pass.

    References:
        Liu et al., 2019, equation 7. https://arxiv.org/abs/1803.10704

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.dynamic_task_weights(2, every=100), adam=oc.adam(1e-3))
    """

def gradnorm(
    tasks: int | tuple[str, ...] | None,
    alpha: Number = 1.5,
    weight_rate: Number = 0.025,
    shared: str | tuple[str, ...] | None = None,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Adds the gradients of several tasks with weights that grow for a task that trains slower than the others.

    .. math::
        u = \sum_{k=1}^{K} w_k g_k, \qquad
        w_k \leftarrow w_k - \eta\, \frac{\lVert g_k \rVert}{\bar G}
        \operatorname{sign}\left(w_k \lVert g_k \rVert - \bar G r_k^\alpha\right),
        \quad\text{scaled to } \sum_k w_k = K

    .. math::
        \bar G = \frac{1}{K} \sum_{k=1}^{K} w_k \lVert g_k \rVert, \qquad
        r_k = \frac{L_k / L_k^{(1)}}{\frac{1}{K} \sum_j L_j / L_j^{(1)}}

    where :math:`L_k^{(1)}` is the first loss. That is a step down
    :math:`\sum_k |w_k \lVert g_k \rVert - \bar G r_k^\alpha|`, with the targets held fixed. u has the weights from
    before it. `update` and `oc.apply` take the extra argument `losses`, K numbers; with None the weights stay, and to
    give nothing is an error. It is the first link of a chain; the gradients have a leading axis for the tasks in every
    leaf, as those of `jax.jacrev(losses)`, where `losses` gives K numbers.

    Fields:
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are an
            error.
        alpha: :math:`\alpha`, how strongly tasks are brought to one pace, at least 0: 0 makes all norms equal.
        weight_rate: :math:`\eta`, the largest change of a weight at an update, about, at least 0.
        shared: patterns on paths, of the leaves that norms are taken of; the paper's are the last layer that all tasks
            share. All leaves if left out.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over the shared leaves;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). It reads the parameters' shapes: `update` without
    them is an error. The slots are K weights and K first losses. Leaves outside of the mask are summed. A loss or a
    norm that is not finite leaves the weights as they are; a NaN or infinity in a gradient spoils the whole update.

    Raises:
        ValueError: `tasks` that is no number of at least 1 and no names, and while tracing, losses or gradients of
            another number of tasks, or `shared` that matches no leaf.

    Differs from the paper: the weights follow by gradient descent in units of the mean norm, where the authors take
    Adam, and never fall below 0. Losses are meant to be at least 0.

    References:
        Chen et al., 2018, equations 1 and 2 and Algorithm 1. https://arxiv.org/abs/1711.02257

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.gradnorm(("depth", "normals"), shared="trunk/*"), adam=oc.adam(1e-3))
    """

def mgda(
    normalize: str = "none",
    exchanges: int = 50,
    *,
    tasks: int | tuple[str, ...] | None = None,
    mask: Mask | None = None,
) -> Transform:
    r"""Takes the shortest of all weighted means of the gradients of several tasks, along which no loss rises.

    .. math::
        u = \sum_{k=1}^{K} \alpha_k g_k, \qquad
        \alpha = \arg\min_{\alpha \ge 0,\, \sum_k \alpha_k = 1} \Bigl\lVert \sum_{k=1}^{K} \alpha_k g_k \Bigr\rVert^2

    The norm is over all leaves together. The inner product of u with each gradient is at least its own square, so that
    a small step along it lowers every loss; where there is no such direction, at a Pareto stationary point, u is 0. It
    is the first link of a chain; the gradients have a leading axis for the tasks in every leaf, as those of
    `jax.jacrev(losses)`, where `losses` gives K numbers.

    Fields:
        normalize: "none", or "norm": the weights are those of gradients of norm 1, divided by the norms, and scaled so
            that they sum to 1. Without it the task of the smallest gradient has the largest weight.
        exchanges: how often weight is moved from one task to another to find the least norm, at least 1; for two tasks
            one is exact, for K of them some multiples of K are.
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are
            then an error, and each task has a metric. None for any number.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task, where `tasks` says them.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Gradients in the shapes of the parameters are those
    of one task, which pass. It reads the parameters' shapes: `update` without them is an error. No slots. Leaves
    outside of the mask are summed, and are no part of the norm: a mask of the shared parameters weighs these alone. A
    NaN or infinity of any task spoils the whole update.

    Raises:
        ValueError: another `normalize`, fewer than one exchange, `tasks` that is no number of at least 1 and no names,
            and while tracing, gradients of another number of tasks, or of different numbers in the leaves.

    Differs from the paper: Frank and Wolfe's algorithm, which moves weight to one task from all others in proportion
    and converges slowly, is replaced by exchanges between two tasks; both end at the same point. The upper bound by
    gradients of a shared representation (MGDA-UB) is the caller's choice of gradients.

    References:
        Sener and Koltun, 2018, equation 3 and Algorithm 2. https://arxiv.org/abs/1810.04650

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.mgda(), lr=oc.scale_by_learning_rate(0.1))
    """

def nash_mtl(
    ridge: float = 0.001,
    iterations: int = 25,
    *,
    tasks: int | tuple[str, ...] | None = None,
    mask: Mask | None = None,
) -> Transform:
    r"""Adds the gradients of several tasks with the weights of a Nash bargain, indifferent to the scale of any loss.

    .. math::
        u = \sum_{k=1}^{K} \alpha_k g_k, \qquad G \alpha = 1 / \alpha, \quad \alpha > 0, \qquad
        G_{ij} = g_i \cdot g_j

    This u makes :math:`\sum_k \log(g_k \cdot u)` largest among the directions of its length. Products are over all
    leaves together. A loss that is multiplied by a number leaves u as it is. Its norm is :math:`\sqrt K` wherever it
    is computed: learning rates have to fall, or an adaptive method has to follow. It is the first link of a chain; the
    gradients have a leading axis for the tasks in every leaf, as those of `jax.jacrev(losses)`, where `losses` gives K
    numbers.

    Fields:
        ridge: what is added to each :math:`G_{kk}`, in units of itself, at least 0: it bounds the weights of gradients
            that point against each other, of which no direction serves both.
        iterations: steps of Newton's method, at least 1.
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are
            then an error, and each task has a metric. None for any number.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task, where `tasks` says them.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Gradients in the shapes of the parameters are those
    of one task, which are divided by their norm. It reads the parameters' shapes: `update` without them is an error. No
    slots. Leaves outside of the mask are summed, and are no part of the products: a mask of the shared parameters
    weighs these alone. A gradient of zeros has the weight 0. A NaN or infinity of any task spoils the whole update.

    Raises:
        ValueError: a `ridge` below 0, fewer than one iteration, `tasks` that is no number of at least 1 and no names,
            and while tracing, gradients of another number of tasks, or of different numbers in the leaves.

    Differs from the paper: the solution is that of a convex problem, the least of :math:`\alpha^\top G \alpha / 2 -
    \sum_k \log \alpha_k`, which damped Newton steps find; the paper approximates it by a sequence of others. It is
    found at every update, where the paper's faster variants keep the weights for several. `ridge` is new.

    References:
        Navon et al., 2022, Claim 3.1 and Algorithm 1. https://arxiv.org/abs/2202.01017

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.nash_mtl(), adam=oc.adam(1e-3))
    """

def pcgrad(
    seed: int | jax.Array = 0,
    *,
    tasks: int | tuple[str, ...] | None = None,
    mask: Mask | None = None,
) -> Transform:
    r"""Adds the gradients of several tasks, after each was projected onto the normal planes of those it conflicts with.

    .. math::
        g_i' \leftarrow g_i' - \frac{g_i' \cdot g_j}{\lVert g_j \rVert^2} g_j
        \quad\text{where } g_i' \cdot g_j < 0, \text{ for each } j \ne i \text{ in random order}, \qquad
        u = \sum_{i=1}^{K} g_i'

    It begins with :math:`g_i' = g_i`; products and norms are over all leaves together. The projected gradients are
    combinations of the given ones, so that the K x K products of these are all that is computed of them, besides one
    weighted sum. It is the first link of a chain; the gradients have a leading axis for the tasks in every leaf, as
    those of `jax.jacrev(losses)`, where `losses` gives K numbers.

    Fields:
        seed: of the random orders, a whole number or a key of `jax.random`, which may be traced: each member of a
            vmapped ensemble draws its own from its own seed. They are a function of the seed and this link's count.
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are
            then an error, and each task has a metric. None for any number.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task, where `tasks` says them.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Gradients in the shapes of the parameters are those
    of one task, which pass. It reads the parameters' shapes: `update` without them is an error. No slots. Leaves
    outside of the mask are summed, and are no part of the products: a mask of the shared parameters projects these
    alone. A NaN or infinity of any task spoils the whole update.

    Raises:
        ValueError: `tasks` that is no number of at least 1 and no names, and while tracing, gradients of another number
            of tasks, or of different numbers in the leaves.

    Differs from the paper: nothing.

    References:
        Yu et al., 2020, Algorithm 1. https://arxiv.org/abs/2001.06782

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.pcgrad(), adam=oc.adam(1e-3))
    """

def random_task_weights(
    seed: int | jax.Array = 0,
    *,
    tasks: int | tuple[str, ...] | None = None,
    mask: Mask | None = None,
) -> Transform:
    r"""Averages the gradients of several tasks with weights that are drawn again for each update.

    .. math::
        u = \sum_{k=1}^{K} \lambda_k g_k, \qquad
        \lambda = \operatorname{softmax}(z), \quad z_k \sim \mathcal N(0, 1)

    On average it is the mean of the gradients. It is the first link of a chain; the gradients have a leading axis for
    the tasks in every leaf, as those of `jax.jacrev(losses)`, where `losses` gives K numbers.

    Fields:
        seed: of the weights, a whole number or a key of `jax.random`, which may be traced: each member of a vmapped
            ensemble draws its own from its own seed. They are a function of the seed and this link's count.
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are
            then an error, and each task has a metric. None for any number.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task, where `tasks` says them.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Gradients in the shapes of the parameters are those
    of one task, which pass. It reads the parameters' shapes: `update` without them is an error. No slots. Leaves
    outside of the mask are summed.

    Raises:
        ValueError: `tasks` that is no number of at least 1 and no names, and while tracing, gradients of another number
            of tasks, or of different numbers in the leaves.

    Differs from the paper: nothing; of its distributions it is the normal one.

    References:
        Lin et al., 2022, "Reasonable Effectiveness of Random Weighting", Algorithm 1. https://arxiv.org/abs/2111.10603

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.random_task_weights(), adam=oc.adam(1e-3))
    """

def sum_tasks(
    average: bool = False,
    *,
    tasks: int | tuple[str, ...] | None = None,
    mask: Mask | None = None,
) -> Transform:
    r"""Adds the gradients of several tasks, or averages them: the plain way, with which others are compared.

    .. math::
        u = \sum_{k=1}^{K} g_k \quad\text{or}\quad u = \frac{1}{K} \sum_{k=1}^{K} g_k

    It is the first link of a chain; the gradients have a leading axis for the tasks in every leaf, as those of
    `jax.jacrev(losses)`, where `losses` gives K numbers. The sum is the gradient of the sum of the losses, for which
    one backward pass suffices: this link is for what else is measured of the single gradients.

    Fields:
        average: divide by the number of tasks.
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are
            then an error, and each task has a metric. None for any number.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task, where `tasks` says them.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Gradients in the shapes of the parameters are those
    of one task. It reads the parameters' shapes: `update` without them is an error. No slots.

    Raises:
        ValueError: `tasks` that is no number of at least 1 and no names, and while tracing, gradients of another number
            of tasks, or of different numbers in the leaves.

    Differs from the paper: nothing.

    References:
        Kurin et al., 2022, "In Defense of the Unitary Scalarization for Deep Multi-Task Learning".
        https://arxiv.org/abs/2201.04122

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.sum_tasks(tasks=("depth", "normals")), adam=oc.adam(1e-3))
    """

def uncertainty_weights(
    tasks: int | tuple[str, ...] | None,
    weight_rate: Number = 0.01,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Adds the gradients of several tasks, each divided by the variance that is learned for its loss.

    .. math::
        u = \sum_{k=1}^{K} e^{-s_k} g_k, \qquad
        s_k \leftarrow s_k - \eta \left(\tfrac12 - e^{-s_k} L_k\right), \qquad s_k = \log \sigma_k^2

    Both are steps down :math:`\sum_k e^{-s_k} L_k + s_k / 2`. At its minimum a task has the weight
    :math:`1 / (2 L_k)`. u has the weights from before it. `update` and `oc.apply` take the extra argument `losses`, K
    numbers; with None the weights stay, and to give nothing is an error. It is the first link of a chain; the gradients
    have a leading axis for the tasks in every leaf, as those of `jax.jacrev(losses)`, where `losses` gives K numbers.

    Fields:
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are an
            error.
        weight_rate: :math:`\eta`, the learning rate of the logarithms, at least 0.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). It reads the parameters' shapes: `update` without
    them is an error. The slots are K logarithms. Leaves outside of the mask are summed. A loss that is not finite
    leaves its weight as it is; a NaN or infinity in a gradient spoils the whole update.

    Raises:
        ValueError: `tasks` that is no number of at least 1 and no names, and while tracing, losses or gradients of
            another number of tasks.

    Differs from the paper: the logarithms follow by gradient descent with a rate of their own, where the paper's are
    parameters of the model. One form serves all losses: of a squared error take half of it as the loss. Where nothing
    else needs a gradient of each task, the same sum written as one loss costs one backward pass.

    References:
        Kendall et al., 2018, equations 7 and 10. https://arxiv.org/abs/1705.07115

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.uncertainty_weights(("depth", "normals")), adam=oc.adam(1e-3))
    """

def packed(tx: optax.GradientTransformation, axis: str | None = None) -> Transform:
    """Steps parameters of equal treatment together: a thousand small leaves are a few large arrays.

    A step of many small leaves is slow to compile and to run, because each leaf brings some arrays and some kernels of
    its own. Within `packed` leaves lie in buffers: side by side in a flat array where everything in `tx` is elementwise
    for them, stacked with others of their shape where something looks at rows, matrices or whole leaves (a stack is
    stepped as `over_layers` steps layers) or `precision` keeps slots in few bits (each leaf has the blocks and random
    bits that it has alone). Leaves that masks, groups, layers or matrix views treat differently lie apart; one that is
    called by its name, or whose short rows a stack would merge in blocks, lies alone. The updates are those of `tx`.

    It pays fully where the parameters are packed too: `pack` makes them so, the model is called with `unpack(params)`,
    gradients come packed by themselves, and nothing is taken apart but for the model. With a plain tree only the slots
    are packed, and each step copies gradients and parameters into buffers and back.

    Args:
        tx: a technique, or chains and groups of techniques. Wrappers stand outside: `guard(packed(tx))`; so do
            techniques that look at each leaf by itself.
        axis: a mesh axis along which the parameters are copies of one another: flat buffers are padded and split over
            it, slots (ZeRO-1) and packed parameters (ZeRO-3) too; none without a mesh, or in a `shard_map` over it.
            Slots in few bits are refused.

    Shapes and dtypes: as for `tx`; its slots are tables of buffers, or packed as the parameters are. Names of numbers,
    masks and metrics are as without `packed`. Checkpoints keep `unpack(params)` and `state_by_parameters(tx, state,
    params)`, whose `"inner"` goes on without `packed` as well; `state_by_owners` packs it again.

    Raises:
        ValueError: what cannot be packed, by name; at `update` a state of other buffers.

    References:
        Rajbhandari et al., 2020, section 5.1 (partitioning of flat buffers). https://arxiv.org/abs/1910.02054

    >>> import jax
    >>> import optchain as oc
    >>> tx = oc.packed(oc.adamw(1e-3))
    >>> params = oc.pack(tx, {"kernel": jax.numpy.ones((2, 3)), "bias": jax.numpy.zeros(3)})
    >>> loss = lambda params: (oc.unpack(params)["kernel"] ** 2).sum()
    >>> params, state = oc.apply(tx, jax.grad(loss)(params), tx.init(params), params)
    """

def mup(
    tx: optax.GradientTransformation,
    base: Any,
    *,
    kind: str | None = None,
    query: str | Sequence[str] | None = None,
    branch: str | Sequence[str] | None = None,
    blocks: str | Sequence[str] | None = None,
    alpha: float | None = None,
    scale_eps: bool = True,
) -> Transform:
    r"""Scales rates, decays and eps leaf by leaf, so that the best ones of a narrow model are those of a wide one.

    With :math:`m_{in}` and :math:`m_{out}` the fan-in and the fan-out of a leaf over those in the base model, whose
    numbers are those of `tx`:

    =========  ========================  ====================  ========================  ==============================
    leaf       grows in                  :math:`\eta` (Adam)   :math:`\eta` (SGD)        initial RMS (`oc.mup_init`)
    =========  ========================  ====================  ========================  ==============================
    input      fan-out                   1                     :math:`m_{out}`           that of the base model
    vector     its length                1                     :math:`m_{out}`           that of the base model
    hidden     both                      :math:`1 / m_{in}`    :math:`m_{out} / m_{in}`  :math:`m_{in}^{-1/2}` of that
    output     fan-in                    :math:`1 / m_{in}`    :math:`1 / m_{in}`        :math:`m_{in}^{-1}` of that
    fixed      nothing                   1                     1                         that of the base model
    =========  ========================  ====================  ========================  ==============================

    This is Table 3 of the paper, the form without multipliers in the model; its other forms (Tables 8 and 9) train the
    same functions. Which axes grow is found by comparing shapes. The last axis of a kernel counts as its outputs, all
    others as inputs; biases and scales are vectors, known by their names (see `oc.is_kernel`), regardless of their
    axes; kernels of attention with an axis for heads are known by `query`, `key`, `value` and `out`; others with three
    axes or more by `oc.as_matrices(oc.mup(...), views)`.

    The column is found leaf by leaf from the techniques of `tx`: "adam" where one of them divides each entry by its own
    size (Adam, RMSProp, Lion, ...), "sgd" where none does. :math:`\eta \lambda` stays as it is, and so decay is
    multiplied by what the rate is divided by. What is added to gradients (`eps`) follows their size,
    :math:`1 / m_{out}`. Techniques with rates of another kind (Muon, LAMB, Prodigy) or thresholds in the units of
    gradients (`clip_by_global_norm`) are refused, and stand outside, `oc.chain(oc.clip_by_global_norm(1.0),
    oc.mup(tx, base))`, if their numbers are to be the same at every width.

    The model's own business: logits of attention divided by the size of a head, not by its root, which `query` does
    instead; and, where one array is embedding and readout, a multiplier :math:`1 / m_{in}` of the logits, for an array
    has one rate. Depth is scaled where `alpha` is given, for residual branches that the model multiplies by
    :math:`L^{-\alpha}`, or whose last leaves carry that (`branch`): rates of all leaves of the blocks are multiplied by
    :math:`m_L^{\alpha - 1}` (Adam) or :math:`m_L^{2 \alpha - 1}` (SGD). Layers are the axes that
    `oc.over_layers(oc.mup(...), layers)` declares, or `blocks`.

    Args:
        tx: techniques and chains of them, with their learning rate. Wrappers stand outside: `guard(mup(tx, base))`.
        base: the parameters of the base model or their shapes (`jax.eval_shape`), as a tree with the same names; or a
            table from paths, or patterns on them, to lists of sizes, and `"same"` for leaves that do not grow.
        kind: "adam" or "sgd" for all leaves, regardless of what `tx` consists of; then all numbers called
            `learning_rate` and `weight_decay` are scaled, and `eps` where its units are known.
        query: patterns on the kernels and biases that make queries, for a model that divides logits by the root of the
            size d of a head: these leaves carry the rest of the division by d. Their last axis is d, or all heads side
            by side if their number stays the same.
        branch: patterns on the last leaves of residual branches, which carry :math:`m_L^{-\alpha}`; None where the
            model multiplies its branches itself.
        blocks: patterns on the key of a block that is repeated, such as `"layer_*"`; the base model may have fewer.
        alpha: in [0.5, 1]: 0.5 for depth-muP, 1 for CompleteP; None where the depth is that of the base model.
        scale_eps: False leaves `eps` as it is.

    Shapes and dtypes: any; the state is that of `tx`.

    Differs from the paper: where fan-in and fan-out of a hidden leaf grow unequally, SGD's rate follows their ratio, as
    in the authors' package; `eps` is scaled, as in 2407.05872. Accumulators that begin above 0 (Adagrad, Yogi) do not
    follow the size of gradients. For depth both papers have blocks of one layer or of transformers before which the
    stream is normalized; other models are not covered by them.

    Raises:
        ValueError: a technique without a known rule or without a learning rate, an argument of another form; at `init`
            and `update`, a leaf that the base model lacks or that has another number of axes there, axes that grow and
            shrink in one leaf, axes of which it is not known whether they are inputs, more layers without `alpha`.

    References:
        Yang et al., 2022, Table 3, Appendix D.1. https://arxiv.org/abs/2203.03466
        Everett et al., 2024 (eps). https://arxiv.org/abs/2407.05872
        Yang et al., 2023 (depth, alpha = 0.5). https://arxiv.org/abs/2310.02244
        Dey et al., 2025 (depth, alpha = 1). https://arxiv.org/abs/2505.01618

    >>> import jax
    >>> import optchain as oc
    >>> params = {"in": {"kernel": jax.numpy.ones((8, 64))}, "out": {"kernel": jax.numpy.ones((64, 2))}}
    >>> tx = oc.mup(oc.adamw(1e-2), base={"in/kernel": [8, 16], "out/kernel": [16, 2]})
    >>> print(oc.mup_table(tx, params))
    path        shape    base     leaf    column  learning rate  initial RMS
    ------------------------------------------------------------------------
    in/kernel   (8, 64)  (8, 16)  input   adam    1              1
    out/kernel  (64, 2)  (16, 2)  output  adam    0.25           0.25
    """

def muon_clip(
    learning_rate: Number,
    kernels: Mapping[str, int],
    tau: Number = 100.0,
    rotary: Mapping[str, int] | None = None,
    beta: Number = 0.95,
    weight_decay: Number = 0.0,
    adam_learning_rate: Number | None = None,
    adamw: Mask | None = None,
) -> Transform:
    r"""MuonClip: the links of `muon`, with the scale of Adam's updates and without the look-ahead, and `clip_qk`.

    Kernels of queries and keys that are not matrices need a view: `as_matrices(oc.muon_clip(...), views)`.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        kernels: a table from patterns on paths to the axis that counts heads, such as `{"*/query/kernel": -2,
            "*/key/kernel": -2}` for kernels (inputs, heads, size); likewise biases.
        tau: :math:`\tau`, the largest logit that is let be, positive; a number or a schedule.
        rotary: a table of the same kind for those that are scaled by :math:`\gamma_h` itself, for the other side is
            shared by all heads and stays: the rotary queries of latent attention.
        beta: :math:`b`, decay of the mean, in [0, 1).
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        adam_learning_rate: the learning rate of all other parameters, which Adam steps; None takes `learning_rate`.
        adamw: the matrices that are not hidden: patterns on paths, a predicate of (path, leaf), a tree of bools, or
            a function that makes it; () for none of them. None chooses embeddings and heads by their names, as
            `is_hidden` says, and is an error where no other kernel is left; so is a pattern that matches no
            parameter.

    References:
        Kimi Team, 2025, Algorithm 1. https://arxiv.org/abs/2507.20534

    >>> import optchain as oc
    >>> tx = oc.muon_clip(0.02, {"*/query/kernel": -2, "*/key/kernel": -2}, weight_decay=0.1)
    """

def adagrad(learning_rate: Number, initial_accumulator_value: Number = 0.1, eps: Number = 1e-07) -> Transform:
    """Adagrad: `scale_by_rss`, `scale_by_learning_rate`.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        initial_accumulator_value: the sum of squares before the first update, in the units of g**2, at least 0.
        eps: added inside the root of the sum of squares, in the units of g**2, at least 0.

    >>> import optchain as oc
    >>> tx = oc.adagrad(0.1)
    """

def adam(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    *,
    nesterov: bool = False,
) -> Transform:
    """The optimizer adam: `scale_by_adam` or, with Nesterov momentum, `scale_by_nadam`; `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_adam`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0; positive to differentiate through the
            update.
        nesterov: let the mean look ahead by one step, as `nadam` does.

    >>> import optchain as oc
    >>> tx = oc.adam(0.01)
    """

def adamw(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    *,
    weight_decay: Number = 0.0001,
    mask: Mask | None = None,
    nesterov: bool = False,
) -> Transform:
    """The optimizer adamw: the moments of `adam`, `add_decayed_weights`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_adam`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0; positive to differentiate through the
            update.
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.
        nesterov: let the mean look ahead by one step, as `nadam` does.

    >>> import optchain as oc
    >>> tx = oc.adamw(0.01, weight_decay=0.1, mask=oc.is_kernel)
    """

def lion(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.99,
    *,
    mode: str = "hard",
    smooth_beta: float = 1.0,
    weight_decay: Number = 0.001,
    mask: Mask | None = None,
) -> Transform:
    r"""The optimizer lion: `scale_by_lion`, `add_decayed_weights`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_lion`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: weight of the momentum in the step, in [0, 1).
        b2: decay of the momentum, in [0, 1).
        mode: what the update is of the interpolated momentum c: `"hard"`, its sign; `"smooth"`, :math:`\tanh(\beta
            c)`; `"refined"`, c itself between -1 and 1 and its sign beyond.
        smooth_beta: :math:`\beta`, > 0, in the units of 1 / g; of the mode `"smooth"` alone.
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.lion(0.01)
    """

def momentum(learning_rate: Number, decay: Number = 0.9) -> Transform:
    """Heavy-ball momentum: `trace`, `scale_by_learning_rate`.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        decay: :math:`b`, in [0, 1). The sum is not normalized: a constant g grows by :math:`1 / (1 - b)`.

    >>> import optchain as oc
    >>> tx = oc.momentum(0.1)
    """

def nesterov(learning_rate: Number, decay: Number = 0.9) -> Transform:
    """Nesterov momentum: `trace`, `scale_by_learning_rate`.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        decay: :math:`b`, in [0, 1). The sum is not normalized: a constant g grows by :math:`1 / (1 - b)`.

    >>> import optchain as oc
    >>> tx = oc.nesterov(0.1)
    """

def rmsprop(
    learning_rate: Number,
    decay: Number = 0.9,
    eps: Number = 1e-08,
    initial_scale: Number = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Number | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> Transform:
    """RMSProp: `scale_by_rms` or, centered, `scale_by_stddev`; `trace` on request; `scale_by_learning_rate`.

    The rate comes last, as in PyTorch; optax multiplies by it before the momentum: they differ where it is scheduled.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        decay: of the running mean of the squares, in [0, 1).
        eps: at least 0; in the units of g**2 inside the root, of g outside.
        initial_scale: the mean of the squares before the first update, in the units of g**2, at least 0.
        eps_in_sqrt: add eps inside the root, or to the root.
        centered: divide by the standard deviation instead of the root of the mean square.
        momentum: the decay of the sum of the updates so far that takes their place, in [0, 1); None is without
            momentum.
        nesterov: whether that sum looks ahead by one step.
        bias_correction: divide the mean, and with `centered` both means, by the weight that they have seen.

    >>> import optchain as oc
    >>> tx = oc.rmsprop(1e-3, momentum=0.9, centered=True)
    """

def sgd(learning_rate: Number, momentum: Number | None = None, nesterov: bool = False) -> Transform:
    """Stochastic gradient descent, with momentum on request: `trace`, `scale_by_learning_rate`.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        momentum: the decay of the sum of the updates so far that takes their place, in [0, 1); None is without
            momentum.
        nesterov: whether that sum looks ahead by one step.

    >>> import optchain as oc
    >>> tx = oc.sgd(0.1, momentum=0.9)
    """

def adamh(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    adam_learning_rate: Number | None = None,
    adam: Mask | None = None,
) -> Transform:
    """Adam on the sphere: `scale_by_adam`, `scale_by_trust_ratio`, the rate, `keep_params_norm`; else Adam.

    Hidden kernels, all but those that the mask `adam` chooses (left out, those whose path holds "embed" or "head"),
    keep the norm that they began with, of which the learning rate is the part that a step moves. All other parameters
    take steps of Adam with `adam_learning_rate`; left out, it is `learning_rate`.

    Args:
        learning_rate: for hidden kernels the length of the step over that of the kernel, usually positive.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        adam_learning_rate: the learning rate of all other parameters, which Adam steps; None takes `learning_rate`.
        adam: the matrices that are not hidden: patterns on paths, a predicate of (path, leaf), a tree of bools, or
            a function that makes it; () for none of them. None chooses embeddings and heads by their names, as
            `is_hidden` says, and is an error where no other kernel is left; so is a pattern that matches no
            parameter.

    References:
        Wen et al., 2026. https://arxiv.org/abs/2606.16899

    >>> import optchain as oc
    >>> tx = oc.adamh(0.01, adam_learning_rate=1e-3, adam=("*/embedding", "head/*"))
    """

def fromage(learning_rate: Number, min_norm: Number = 0.0) -> Transform:
    """Fromage: `fromage_step`, whose update is the whole step.

    Args:
        learning_rate: the length of the step over that of the parameter, at least 0; 0.01 in the paper.
        min_norm: the least that either norm counts for, at least 0.

    >>> import optchain as oc
    >>> tx = oc.fromage(0.01)
    """

def lamb(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-06,
    eps_root: Number = 0.0,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """LAMB: `scale_by_adam`, `add_decayed_weights`, `scale_by_trust_ratio`, `scale_by_learning_rate`.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0; positive to differentiate through the
            update.
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    References:
        You et al., 2019, Algorithm 2. https://arxiv.org/abs/1904.00962

    >>> import optchain as oc
    >>> tx = oc.lamb(1e-3, weight_decay=0.01, mask=oc.is_kernel)
    """

def lars(
    learning_rate: Number,
    weight_decay: Number = 0.0,
    *,
    trust_coefficient: Number = 0.001,
    eps: Number = 0.0,
    momentum: Number = 0.9,
    nesterov: bool = False,
    mask: Mask | None = None,
) -> Transform:
    """LARS: `scale_by_lars` on the leaves of the mask, `scale_by_learning_rate`, and then, as in the paper, `trace`.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        weight_decay: the multiple of the parameter that is added to the gradient of the leaves of the mask, at
            least 0.
        trust_coefficient: the length of the step over that of the parameter before the learning rate, at least 0.
        eps: added to the norms, at least 0.
        momentum: the decay of the sum of the steps, in [0, 1).
        nesterov: whether that sum looks ahead by one step.
        mask: the parameters with a rate of their own and weight decay: patterns on paths, a predicate of (path,
            leaf), a tree of bools, or a function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.lars(1.0, weight_decay=1e-4, mask=oc.is_kernel)
    """

def lbfgs(
    learning_rate: Number | None = None,
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: optax.GradientTransformation | None = ...,
) -> Transform:
    """L-BFGS with a line search: `optax.scale_by_lbfgs`, the learning rate, `optax.scale_by_zoom_linesearch`.

    It is for losses that are the same function at every step, such as that of all the data. `update` and `oc.apply`
    take the loss at the parameters as `value`, and as `value_fn` the function from any parameters to it, which gets
    them in float32 or wider; without a search neither is needed. What enters the chain is its gradient, or else that
    is given as `grad`.

    Args:
        learning_rate: the first step that is tried along the direction, > 0, or without a search the step; None
            takes 1.
        memory_size: how many of the last steps the estimate of the inverse Hessian is made of, at least 1.
        scale_init_precond: begin that estimate with the curvature along the last step instead of 1.
        linesearch: a line search of optax, or None for none; left out, `optax.scale_by_zoom_linesearch` of at most
            20 evaluations of the loss for one step, which tries the whole step first.

    References:
        Liu and Nocedal, 1989, Algorithm 2.1. doi:10.1007/BF01589116

    >>> import jax
    >>> import optchain as oc
    >>> tx, p = oc.lbfgs(), jax.numpy.array([3.0, -4.0])
    >>> loss, state = lambda p: jax.numpy.sum(p**2), tx.init(p)
    >>> for _ in range(2):
    ...     value, grads = jax.value_and_grad(loss)(p)
    ...     p, state = oc.apply(tx, grads, state, p, value=value, value_fn=loss)
    >>> bool(loss(p) < 1e-6)
    True
    """

def dion(
    learning_rate: Number,
    rank: int = 64,
    b: Number = 0.95,
    scale: str = "spectral",
    seed: int | jax.Array = 0,
    *,
    weight_decay: Number = 0.0,
    adam_learning_rate: Number | None = None,
    adam_b1: Number = 0.9,
    adam_b2: Number = 0.999,
    adam_eps: Number = 1e-08,
    adam_eps_root: Number = 0.0,
    adamw: Mask | None = None,
) -> Transform:
    """The optimizer dion: `scale_by_dion` for hidden matrices, AdamW for all else.

    The formula stands in the documentation of `scale_by_dion`, with the letters that are used below.

    Hidden are all kernels but those that the mask `adamw` chooses, and all parameters decay.
    `print(oc.routing(tx, params))` shows which links step which parameter.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        rank: columns of both factors, at least 1; at most the smaller side of the matrix is used.
        b: how much of the part that was stepped along stays in the momentum, in [0, 1).
        scale: the factor :math:`s`: `"spectral"`, `"width"`, `"rms"` or `"none"`, see
            `optchain.matrices.shape_scale`.
        seed: of the normal numbers that :math:`V` begins with, a whole number or a key of `jax.random`, which may
            be traced.
        weight_decay: for all parameters, the multiple of the parameter that is added to the update, at least 0; the
            learning rate multiplies it too (decoupled decay).
        adam_learning_rate: the learning rate of all other parameters, which Adam steps; None takes `learning_rate`.
        adam_b1: Adam's b1: decay of the mean, in [0, 1).
        adam_b2: Adam's b2: decay of the mean square, in [0, 1).
        adam_eps: Adam's eps: added to the root, in the units of g, at least 0.
        adam_eps_root: Adam's eps_root: added inside the root, in the units of g**2, at least 0; positive to
            differentiate through the update.
        adamw: the matrices that are not hidden: patterns on paths, a predicate of (path, leaf), a tree of bools, or
            a function that makes it; () for none of them. None chooses embeddings and heads by their names, as
            `is_hidden` says, and is an error where no other kernel is left; so is a pattern that matches no
            parameter.

    >>> import optchain as oc
    >>> tx = oc.dion(0.01, adam_learning_rate=1e-3, adamw=("*/embedding", "head/*"))
    """

def kl_soap(
    learning_rate: Number,
    b1: Number = 0.95,
    b2: Number = 0.95,
    eps: Number = 1e-08,
    every: int = 10,
    initial_value: Number = 0.1,
    floor: Number = 1e-06,
    max_dim: int = 10000,
    *,
    weight_decay: Number = 0.0,
    adam_learning_rate: Number | None = None,
    adam_b1: Number = 0.9,
    adam_b2: Number = 0.999,
    adam_eps: Number = 1e-08,
    adam_eps_root: Number = 0.0,
    adamw: Mask | None = None,
) -> Transform:
    """The optimizer kl_soap: `scale_by_kl_soap` for hidden matrices, AdamW for all else.

    The formula stands in the documentation of `scale_by_kl_soap`, with the letters that are used below.

    Hidden are all kernels but those that the mask `adamw` chooses, and all parameters decay.
    `print(oc.routing(tx, params))` shows which links step which parameter.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square and of the factors, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        every: steps between two changes of the bases, at least 1.
        initial_value: of the eigenvalues, in the units of g, positive.
        floor: the least eigenvalue that is divided by, as a part of the largest, at least 0.
        max_dim: sides longer than this keep the standard basis, in which their factor is diagonal: they have its
            eigenvalues, and nothing square.
        weight_decay: for all parameters, the multiple of the parameter that is added to the update, at least 0; the
            learning rate multiplies it too (decoupled decay).
        adam_learning_rate: the learning rate of all other parameters, which Adam steps; None takes `learning_rate`.
        adam_b1: Adam's b1: decay of the mean, in [0, 1).
        adam_b2: Adam's b2: decay of the mean square, in [0, 1).
        adam_eps: Adam's eps: added to the root, in the units of g, at least 0.
        adam_eps_root: Adam's eps_root: added inside the root, in the units of g**2, at least 0; positive to
            differentiate through the update.
        adamw: the matrices that are not hidden: patterns on paths, a predicate of (path, leaf), a tree of bools, or
            a function that makes it; () for none of them. None chooses embeddings and heads by their names, as
            `is_hidden` says, and is an error where no other kernel is left; so is a pattern that matches no
            parameter.

    >>> import optchain as oc
    >>> tx = oc.kl_soap(0.01, adam_learning_rate=1e-3, adamw=("*/embedding", "head/*"))
    """

def kron(
    learning_rate: Number,
    b1: Number = 0.9,
    precond_lr: Number = 0.1,
    every: int = 1,
    seed: int | jax.Array = 0,
    max_dim: int = 10000,
    *,
    weight_decay: Number = 0.0,
    adam_learning_rate: Number | None = None,
    adam_b1: Number = 0.9,
    adam_b2: Number = 0.999,
    adam_eps: Number = 1e-08,
    adam_eps_root: Number = 0.0,
    adamw: Mask | None = None,
) -> Transform:
    r"""The optimizer kron: `scale_by_kron` for hidden matrices, AdamW for all else.

    The formula stands in the documentation of `scale_by_kron`, with the letters that are used below.

    Hidden are all kernels but those that the mask `adamw` chooses, and all parameters decay.
    `print(oc.routing(tx, params))` shows which links step which parameter.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        precond_lr: :math:`\eta`, the step of the factors, positive, at most 1 in practice.
        every: the factors are fitted at the first step and then every so many steps, at least 1.
        seed: of the normal numbers :math:`v`, which are the same for all parameters of one shape: a whole number or
            a key of `jax.random`, which may be traced.
        max_dim: the factors of sides longer than this are diagonal, with the diagonal of the law above.
        weight_decay: for all parameters, the multiple of the parameter that is added to the update, at least 0; the
            learning rate multiplies it too (decoupled decay).
        adam_learning_rate: the learning rate of all other parameters, which Adam steps; None takes `learning_rate`.
        adam_b1: Adam's b1: decay of the mean, in [0, 1).
        adam_b2: Adam's b2: decay of the mean square, in [0, 1).
        adam_eps: Adam's eps: added to the root, in the units of g, at least 0.
        adam_eps_root: Adam's eps_root: added inside the root, in the units of g**2, at least 0; positive to
            differentiate through the update.
        adamw: the matrices that are not hidden: patterns on paths, a predicate of (path, leaf), a tree of bools, or
            a function that makes it; () for none of them. None chooses embeddings and heads by their names, as
            `is_hidden` says, and is an error where no other kernel is left; so is a pattern that matches no
            parameter.

    >>> import optchain as oc
    >>> tx = oc.kron(0.01, adam_learning_rate=1e-3, adamw=("*/embedding", "head/*"))
    """

def muon(
    learning_rate: Number,
    ns_coeffs: str | tuple[float, float, float] | tuple[tuple[float, float, float], ...] = (3.4445, -4.775, 2.0315),
    ns_steps: int = 5,
    beta: Number = 0.95,
    eps: Number = 1e-08,
    weight_decay: Number = 0.0,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: str = "frobenius",
    scale: str = "width",
    adam_learning_rate: Number | None = None,
    adam_b1: Number = 0.9,
    adam_b2: Number = 0.95,
    adam_eps: Number = 1e-08,
    adam_eps_root: Number = 0.0,
    adamw: Mask | None = None,
) -> Transform:
    r"""The optimizer muon: `scale_by_muon` for hidden matrices, AdamW for all else.

    The formula stands in the documentation of `scale_by_muon`, with the letters that are used below.

    Hidden are all kernels but those that the mask `adamw` chooses, and all parameters decay.
    `print(oc.routing(tx, params))` shows which links step which parameter.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        ns_coeffs: the coefficients (a, b, c) of the polynomial of Newton-Schulz: those of every step, by default
            those of Jordan et al., or three for each step; or `"polar_express"`, others in each step, which
            converge to :math:`U V^T`.
        ns_steps: how many polynomials, at least 1.
        beta: :math:`b`, decay of the mean, in [0, 1).
        eps: added to the norm that the mean is divided by, in the units of g, at least 0.
        weight_decay: for all parameters, the multiple of the parameter that is added to the update, at least 0; the
            learning rate multiplies it too (decoupled decay).
        nesterov: look ahead by one step.
        adaptive: multiply the update by its inner product with :math:`\hat\mu`, which is the nuclear norm of that:
            the steepest step instead of one whose length does not depend on the gradients.
        preconditioning: what the mean is divided by before the first polynomial, which needs singular values of at
            most 1 and makes the largest of them 1: `"frobenius"`, the norm; nearer to 1 come `"schatten"`, the root
            of the norm of the matrix of inner products, and `"aol"`, a number for each row or column of the shorter
            side; `"spectral"`, the largest singular value itself, by a decomposition.
        scale: the factor :math:`s`: `"none"`, `"width"`, `"spectral"` or `"rms"`, see
            `optchain.matrices.shape_scale`.
        adam_learning_rate: the learning rate of all other parameters, which Adam steps; None takes 0.015 times
            `learning_rate`, which is the authors' 0.0003 beside 0.02, and all of it with `scale="rms"`, which makes
            the updates of matrices as large as Adam's.
        adam_b1: Adam's b1: decay of the mean, in [0, 1).
        adam_b2: Adam's b2: decay of the mean square, in [0, 1).
        adam_eps: Adam's eps: added to the root, in the units of g, at least 0.
        adam_eps_root: Adam's eps_root: added inside the root, in the units of g**2, at least 0; positive to
            differentiate through the update.
        adamw: the matrices that are not hidden: patterns on paths, a predicate of (path, leaf), a tree of bools, or
            a function that makes it; () for none of them. None chooses embeddings and heads by their names, as
            `is_hidden` says, and is an error where no other kernel is left; so is a pattern that matches no
            parameter.

    >>> import optchain as oc
    >>> tx = oc.muon(0.01, adam_learning_rate=1e-3, adamw=("*/embedding", "head/*"))
    """

def normuon(
    learning_rate: Number,
    b1: Number = 0.95,
    b2: Number = 0.95,
    eps: Number = 1e-08,
    ns_steps: int = 5,
    nesterov: bool = False,
    ns_coeffs: str | tuple[float, float, float] | tuple[tuple[float, float, float], ...] = (3.4445, -4.775, 2.0315),
    *,
    weight_decay: Number = 0.0,
    adam_learning_rate: Number | None = None,
    adam_b1: Number = 0.9,
    adam_b2: Number = 0.999,
    adam_eps: Number = 1e-08,
    adam_eps_root: Number = 0.0,
    adamw: Mask | None = None,
) -> Transform:
    r"""The optimizer normuon: `scale_by_normuon` for hidden matrices, AdamW for all else.

    The formula stands in the documentation of `scale_by_normuon`, with the letters that are used below.

    Hidden are all kernels but those that the mask `adamw` chooses, and all parameters decay.
    `print(oc.routing(tx, params))` shows which links step which parameter.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square of each neuron, in [0, 1).
        eps: added to the root, at least 0.
        ns_steps: how many polynomials, at least 1.
        nesterov: orthogonalize :math:`b_1 \mu + (1 - b_1) g`.
        ns_coeffs: the coefficients of the polynomials, or `"polar_express"`, see `scale_by_muon`.
        weight_decay: for all parameters, the multiple of the parameter that is added to the update, at least 0; the
            learning rate multiplies it too (decoupled decay).
        adam_learning_rate: the learning rate of all other parameters, which Adam steps; None takes `learning_rate`.
        adam_b1: Adam's b1: decay of the mean, in [0, 1).
        adam_b2: Adam's b2: decay of the mean square, in [0, 1).
        adam_eps: Adam's eps: added to the root, in the units of g, at least 0.
        adam_eps_root: Adam's eps_root: added inside the root, in the units of g**2, at least 0; positive to
            differentiate through the update.
        adamw: the matrices that are not hidden: patterns on paths, a predicate of (path, leaf), a tree of bools, or
            a function that makes it; () for none of them. None chooses embeddings and heads by their names, as
            `is_hidden` says, and is an error where no other kernel is left; so is a pattern that matches no
            parameter.

    >>> import optchain as oc
    >>> tx = oc.normuon(0.01, adam_learning_rate=1e-3, adamw=("*/embedding", "head/*"))
    """

def scion(
    learning_rate: Number,
    b: Number = 0.9,
    radius: Number = 50.0,
    sign_radius: Number = 3000.0,
    rms_radius: Number = 1.0,
    ns_steps: int = 5,
    weight_decay: Number = 1.0,
    sign: Mask | None = None,
) -> Transform:
    """The optimizer scion: `scale_by_scion` with the spectral norm for hidden matrices, sign and rms for all else.

    Hidden are all kernels but those that the mask `sign` chooses; left out, embeddings and heads by their names.
    `print(oc.routing(tx, params))` shows which links step which parameter.

    With the weight decay of 1 all parameters stay in the balls of the three radii: constrained Scion; with 0 it is
    unconstrained.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b: decay of the running mean of the gradients, in [0, 1).
        radius: the size of the update of hidden matrices in the spectral norm, positive.
        sign_radius: the size of the update of all other matrices in the largest entry, positive.
        rms_radius: the size of the update of biases, scales and other vectors in the root mean square, positive.
        ns_steps: how many polynomials of Newton-Schulz for the spectral norm, at least 1.
        weight_decay: for all parameters, the multiple of the parameter that is added to the update, at least 0; the
            learning rate multiplies it too (decoupled decay).
        sign: the matrices that are not hidden: patterns on paths, a predicate of (path, leaf), a tree of bools, or
            a function that makes it; () for none of them. None chooses embeddings and heads by their names, as
            `is_hidden` says, and is an error where no other kernel is left; so is a pattern that matches no
            parameter.

    >>> import optchain as oc
    >>> tx = oc.scion(2**-10, sign=("*/embedding", "head/*"))
    """

def shampoo(
    learning_rate: Number,
    b: Number = 1.0,
    exponent: Number = 0.25,
    eps: Number = 1e-06,
    every: int = 1,
    block_size: int = 1024,
    max_dim: int = 10000,
    *,
    weight_decay: Number = 0.0,
    adam_learning_rate: Number | None = None,
    adam_b1: Number = 0.9,
    adam_b2: Number = 0.999,
    adam_eps: Number = 1e-08,
    adam_eps_root: Number = 0.0,
    adamw: Mask | None = None,
) -> Transform:
    """The optimizer shampoo: `scale_by_shampoo` for hidden matrices, AdamW for all else.

    The formula stands in the documentation of `scale_by_shampoo`, with the letters that are used below.

    Hidden are all kernels but those that the mask `adamw` chooses, and all parameters decay.
    `print(oc.routing(tx, params))` shows which links step which parameter.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b: decay of the moments, in [0, 1]; 1 is the sum.
        exponent: :math:`e`, positive; 1/4 in the paper, 1/2 is often better.
        eps: the ridge, as a part of the largest eigenvalue, at least 0; below 1e-7 rounding errors decide.
        every: the inverse roots are computed at the first step and then every so many steps. Where gradients grow
            in a direction that the last roots have enlarged, the steps do too: graft, or compute roots often, at
            the start.
        block_size: longer sides are cut in blocks of at most this length, each with moments of its own.
        max_dim: sides longer than this are not cut and have no moments. The other side's exponent is then
            :math:`2e`, so that the update of a first gradient has the same size; without both sides g passes.
        weight_decay: for all parameters, the multiple of the parameter that is added to the update, at least 0; the
            learning rate multiplies it too (decoupled decay).
        adam_learning_rate: the learning rate of all other parameters, which Adam steps; None takes `learning_rate`.
        adam_b1: Adam's b1: decay of the mean, in [0, 1).
        adam_b2: Adam's b2: decay of the mean square, in [0, 1).
        adam_eps: Adam's eps: added to the root, in the units of g, at least 0.
        adam_eps_root: Adam's eps_root: added inside the root, in the units of g**2, at least 0; positive to
            differentiate through the update.
        adamw: the matrices that are not hidden: patterns on paths, a predicate of (path, leaf), a tree of bools, or
            a function that makes it; () for none of them. None chooses embeddings and heads by their names, as
            `is_hidden` says, and is an error where no other kernel is left; so is a pattern that matches no
            parameter.

    >>> import optchain as oc
    >>> tx = oc.shampoo(0.01, adam_learning_rate=1e-3, adamw=("*/embedding", "head/*"))
    """

def soap(
    learning_rate: Number,
    b1: Number = 0.95,
    b2: Number = 0.95,
    eps: Number = 1e-08,
    every: int = 10,
    max_dim: int = 10000,
    *,
    weight_decay: Number = 0.0,
    adam_learning_rate: Number | None = None,
    adam_b1: Number = 0.9,
    adam_b2: Number = 0.999,
    adam_eps: Number = 1e-08,
    adam_eps_root: Number = 0.0,
    adamw: Mask | None = None,
) -> Transform:
    """The optimizer soap: `scale_by_soap` for hidden matrices, AdamW for all else.

    The formula stands in the documentation of `scale_by_soap`, with the letters that are used below.

    Hidden are all kernels but those that the mask `adamw` chooses, and all parameters decay.
    `print(oc.routing(tx, params))` shows which links step which parameter.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square and of the preconditioners, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        every: steps between two changes of the bases, at least 1.
        max_dim: sides longer than this keep the standard basis, and have no preconditioner.
        weight_decay: for all parameters, the multiple of the parameter that is added to the update, at least 0; the
            learning rate multiplies it too (decoupled decay).
        adam_learning_rate: the learning rate of all other parameters, which Adam steps; None takes `learning_rate`.
        adam_b1: Adam's b1: decay of the mean, in [0, 1).
        adam_b2: Adam's b2: decay of the mean square, in [0, 1).
        adam_eps: Adam's eps: added to the root, in the units of g, at least 0.
        adam_eps_root: Adam's eps_root: added inside the root, in the units of g**2, at least 0; positive to
            differentiate through the update.
        adamw: the matrices that are not hidden: patterns on paths, a predicate of (path, leaf), a tree of bools, or
            a function that makes it; () for none of them. None chooses embeddings and heads by their names, as
            `is_hidden` says, and is an error where no other kernel is left; so is a pattern that matches no
            parameter.

    >>> import optchain as oc
    >>> tx = oc.soap(0.01, adam_learning_rate=1e-3, adamw=("*/embedding", "head/*"))
    """

def adafactor(
    learning_rate: Number,
    min_dim_size_to_factor: int = 128,
    decay_rate: Number = 0.8,
    *,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Number | None = 1.0,
    momentum: Number | None = None,
    weight_decay_rate: Number | None = None,
    eps: Number = 1e-30,
    factored: bool = True,
    mask: Mask | None = None,
) -> Transform:
    """Adafactor: `scale_by_factored_rms`, `clip_by_block_rms`, `scale_by_param_block_rms`, `ema`, the rate, decay.

    The paper's relative rate is the schedule `lambda step: jax.numpy.minimum(1e-2, (step + 1.0) ** -0.5)`. The rate
    comes last; optax multiplies by it before the momentum: they differ where it is scheduled.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        min_dim_size_to_factor: the least number of rows and of columns of a matrix whose mean square is kept as two
            vectors, from 1.
        decay_rate: how fast the decay of the mean square rises to 1, in [0, 1).
        multiply_by_parameter_scale: multiply the update by the root mean square of the parameter: the rate is
            relative.
        clipping_threshold: the largest root mean square of an update, which is scaled down to it, > 0; None has no
            limit.
        momentum: decay of the running mean of the updates, in [0, 1); None takes no mean.
        weight_decay_rate: the multiple of the parameter that each step takes off it, at least 0, which the learning
            rate does not multiply; None takes nothing off.
        eps: added to the squares, in the units of g**2, positive.
        factored: False keeps the mean square of all parameters in their own shape.
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.adafactor(1e-2, momentum=0.9)
    """

def adam_mini(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    block: str = "leaf",
    *,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """The optimizer adam_mini: `scale_by_adam_mini`, `add_decayed_weights`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_adam_mini`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        block: "leaf", "row" (slices of the first axis) or "column" (slices of the last axis).
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.adam_mini(0.01)
    """

def big_vision_adafactor(
    learning_rate: Number,
    min_dim_size_to_factor: int = 32,
    decay_rate: Number = 0.8,
    max_decay: Number = 0.999,
    momentum: Number = 0.9,
    eps: Number = 1e-30,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """Adafactor as for large vision transformers: `scale_by_factored_rms` with a bounded decay, `ema`, decay, the rate.

    The mean of the updates is in bfloat16 there: `oc.precision(tx, slots="bfloat16")`. See Zhai et al., 2021,
    https://arxiv.org/abs/2106.04560.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        min_dim_size_to_factor: the least number of rows and of columns of a matrix whose mean square is kept as two
            vectors, from 1.
        decay_rate: how fast the decay of the mean square rises to 1, in [0, 1).
        max_decay: the bound of the decay of the mean square, in [0, 1].
        momentum: decay of the running mean of the updates, in [0, 1).
        eps: added to the squares, in the units of g**2, positive.
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.big_vision_adafactor(1e-3, weight_decay=0.1)
    """

def came(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    b3: Number = 0.9999,
    eps: Number = 1e-30,
    eps_residual: Number = 1e-16,
    clipping_threshold: Number = 1.0,
    min_dim_size_to_factor: int = 2,
    *,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    r"""The optimizer came: `scale_by_came`, `add_decayed_weights`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_came`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        b3: decay of the mean squared deviation, in [0, 1).
        eps: :math:`\epsilon`, added to the squares, in the units of g**2, positive.
        eps_residual: :math:`\epsilon_{res}`, added to the squared deviations, which have no units, positive.
        clipping_threshold: d, bound on the root mean square of a leaf, positive.
        min_dim_size_to_factor: the least number of rows and of columns that are factored, from 1.
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.came(0.01)
    """

def novograd(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.25,
    eps: Number = 1e-06,
    eps_root: Number = 0.0,
    weight_decay: Number = 0.0,
) -> Transform:
    """NovoGrad: `scale_by_novograd`, `scale_by_learning_rate`.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the sum, in [0, 1). The sum is not normalized: a constant term grows by :math:`1 / (1 - b_1)`.
        b2: decay of the squared norm, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        weight_decay: the multiple of the parameter that is added to each term of the sum, at least 0.

    >>> import optchain as oc
    >>> tx = oc.novograd(0.01, weight_decay=1e-3)
    """

def sm3(learning_rate: Number, momentum: Number = 0.9) -> Transform:
    """SM3 with momentum: `scale_by_sm3`, `ema`, `scale_by_learning_rate`.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        momentum: decay of the running mean of the updates, in [0, 1).

    >>> import optchain as oc
    >>> tx = oc.sm3(0.1)
    """

def acprop(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-16,
    eps_root: Number = 1e-16,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """The optimizer acprop: `scale_by_acprop`, `add_decayed_weights`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_acprop`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean squared deviation, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added to the slot `nu` at each step, in the units of g**2, at least 0.
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.acprop(0.01)
    """

def adabelief(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-16,
    eps_root: Number = 1e-16,
    *,
    nesterov: bool = False,
) -> Transform:
    """The optimizer adabelief: `scale_by_belief`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_belief`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean squared deviation, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added to the slot `nu` at each step, in the units of g**2, at least 0.
        nesterov: let the mean look ahead by one step, as in `scale_by_nadam`.

    >>> import optchain as oc
    >>> tx = oc.adabelief(0.01)
    """

def adabound(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    final_ratio: Number = 100.0,
    gamma: Number = 0.001,
    bias_correction: bool = True,
    amsgrad: bool = False,
) -> Transform:
    r"""The optimizer adabound: `scale_by_adabound`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_adabound`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        final_ratio: c, the final step size of SGD divided by the learning rate, positive: 0.1 by 1e-3 in the paper.
        gamma: :math:`\gamma`, how fast the bounds close in, per step, positive.
        bias_correction: debias both means, the first within the bounds.
        amsgrad: AMSBound: divide by the largest :math:`\nu` so far.

    >>> import optchain as oc
    >>> tx = oc.adabound(0.01)
    """

def adadelta(
    learning_rate: Number,
    rho: Number = 0.9,
    eps: Number = 1e-06,
    weight_decay: Number = 0.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    """Adadelta: `add_decayed_weights` of the gradient (L2) unless 0, `scale_by_adadelta`, `scale_by_learning_rate`.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        rho: decay of both mean squares, in [0, 1).
        eps: added inside both roots, in the units of g**2 and of u**2, at least 0; with 0 nothing ever moves.
        weight_decay: the multiple of the parameter that is added to the gradient, at least 0; it enters all that
            follows (L2).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.adadelta(1.0)
    """

def adahessian(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    hessian_power: Number = 1.0,
    *,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """The optimizer adahessian: `scale_by_adahessian`, `add_decayed_weights`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_adahessian`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean squared curvature, for each estimate, in [0, 1).
        eps: added to the divisor, in the units of h, positive.
        hessian_power: k, from 0 (the gradient) to 1 (Newton's step).
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.adahessian(0.01)
    """

def adamax(learning_rate: Number, b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-08) -> Transform:
    """The optimizer adamax: `scale_by_adamax`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_adamax`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the maximum, in [0, 1).
        eps: added to the size of g, in the units of g, at least 0.

    >>> import optchain as oc
    >>> tx = oc.adamax(0.01)
    """

def adamaxw(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    weight_decay: Number = 0.0001,
    mask: Mask | None = None,
) -> Transform:
    """The optimizer adamaxw: `scale_by_adamax`, `add_decayed_weights`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_adamax`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the maximum, in [0, 1).
        eps: added to the size of g, in the units of g, at least 0.
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.adamaxw(0.01)
    """

def adan(
    learning_rate: Number,
    b1: Number = 0.98,
    b2: Number = 0.92,
    b3: Number = 0.99,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """The optimizer adan: `scale_by_adan`, `add_decayed_weights`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_adan`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean difference, and its weight in the update, in [0, 1).
        b3: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.adan(0.01)
    """

def ademamix(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    b3: Number = 0.9999,
    alpha: Number = 5.0,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    *,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    r"""The optimizer ademamix: `scale_by_ademamix`, `add_decayed_weights`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_ademamix`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the fast mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        b3: decay of the slow mean, in [0, 1).
        alpha: :math:`\alpha`, weight of the slow mean, at least 0.
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.ademamix(0.01)
    """

def adopt(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.9999,
    eps: Number = 1e-06,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
) -> Transform:
    r"""The optimizer adopt: `scale_by_adopt`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_adopt`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: the least divisor, in the units of g, positive.
        nesterov: let the mean look ahead by one step: the update is :math:`b_1 \mu` and the rest of the quotient.
        use_clipping: clip the quotient.

    >>> import optchain as oc
    >>> tx = oc.adopt(0.01)
    """

def amsgrad(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    *,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Transform:
    """The optimizer amsgrad: `scale_by_amsgrad`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_amsgrad`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        bias_correction_mu: divide the mean by :math:`1 - b_1^t`.
        bias_correction_nu: divide the mean square by :math:`1 - b_2^t` before the maximum is taken.

    >>> import optchain as oc
    >>> tx = oc.amsgrad(0.01)
    """

def laprop(learning_rate: Number, b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-15) -> Transform:
    """The optimizer laprop: `scale_by_laprop`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_laprop`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.

    >>> import optchain as oc
    >>> tx = oc.laprop(0.01)
    """

def nadam(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    *,
    warmup: Number = 0.0,
    momentum_decay: Number = 0.004,
) -> Transform:
    r"""The optimizer nadam: `scale_by_nadam`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_nadam`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, after its warm-up, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        warmup: c, the share of `b1` that is missing at first, in [0, 1]; 0 is the plain form, 0.5 the paper's
            schedule.
        momentum_decay: :math:`\psi`, how fast the missing share vanishes, per step, at least 0.

    >>> import optchain as oc
    >>> tx = oc.nadam(0.01)
    """

def nadamw(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    *,
    warmup: Number = 0.0,
    momentum_decay: Number = 0.004,
    weight_decay: Number = 0.0001,
    mask: Mask | None = None,
) -> Transform:
    r"""The optimizer nadamw: `scale_by_nadam`, `add_decayed_weights`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_nadam`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, after its warm-up, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        warmup: c, the share of `b1` that is missing at first, in [0, 1]; 0 is the plain form, 0.5 the paper's
            schedule.
        momentum_decay: :math:`\psi`, how fast the missing share vanishes, per step, at least 0.
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.nadamw(0.01)
    """

def optimistic_gradient_descent(learning_rate: Number, alpha: Number = 1.0, beta: Number = 1.0) -> Transform:
    """The optimizer optimistic_gradient_descent: `scale_by_optimistic_gradient`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_optimistic_gradient`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        alpha: weight of the gradient, at least 0.
        beta: weight of its change, at least 0. The first gradient counts as unchanged.

    >>> import optchain as oc
    >>> tx = oc.optimistic_gradient_descent(0.01)
    """

def radam(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    threshold: Number = 5.0,
    *,
    nesterov: bool = False,
) -> Transform:
    r"""The optimizer radam: `scale_by_radam`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_radam`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1); up to 0.6 the root is never sure enough.
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        threshold: :math:`\rho_{min}`, the samples that the mean square must be worth, at least 4.
        nesterov: let the mean look ahead by one step, as in `scale_by_nadam`.

    >>> import optchain as oc
    >>> tx = oc.radam(0.01)
    """

def rprop(
    learning_rate: Number,
    eta_minus: Number = 0.5,
    eta_plus: Number = 1.2,
    min_step_size: Number = 1e-06,
    max_step_size: Number = 50.0,
) -> Transform:
    """Rprop: `scale_by_rprop`, whose update is the whole step; `scale`.

    Args:
        learning_rate: each entry's first step, in the units of the parameter, positive; a schedule counts only
            there.
        eta_minus: the factor of the step of an entry where the gradient has changed its sign, in (0, 1).
        eta_plus: the factor where it has not, at least 1.
        min_step_size: the least step, in the units of the parameter, positive.
        max_step_size: the largest step, in the units of the parameter, positive.

    >>> import optchain as oc
    >>> tx = oc.rprop(1e-3)
    """

def sign_sgd(learning_rate: Number) -> Transform:
    """The optimizer sign_sgd: `scale_by_sign`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_sign`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.

    >>> import optchain as oc
    >>> tx = oc.sign_sgd(0.01)
    """

def signum(learning_rate: Number, beta: Number = 0.9) -> Transform:
    """The optimizer signum: `scale_by_signum`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_signum`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        beta: b, decay of the mean, in [0, 1).

    >>> import optchain as oc
    >>> tx = oc.signum(0.01)
    """

def simplified_ademamix(
    learning_rate: Number,
    b1: Number = 0.99,
    b2: Number = 0.95,
    alpha: Number = 0.0,
    eps: Number = 1e-08,
    eps_root: Number = 0.0,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    r"""The optimizer simplified_ademamix: `scale_by_simplified_ademamix`, `add_decayed_weights`,
    `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_simplified_ademamix`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the sum, in [0, 1). It is not normalized: a constant g grows by :math:`1 / (1 - b_1)`.
        b2: decay of the mean square, in [0, 1).
        alpha: :math:`\alpha`, weight of the last gradient, at least 0.
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.simplified_ademamix(0.01)
    """

def sophia(
    learning_rate: Number,
    b1: Number = 0.965,
    b2: Number = 0.99,
    eps: Number = 1e-08,
    weight_decay: Number = 0.0001,
    *,
    gamma: Number = 0.01,
    clip_threshold: Number = 1.0,
    mask: Mask | None = None,
) -> Transform:
    r"""The optimizer sophia: `scale_by_sophia`, `add_decayed_weights`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_sophia`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean curvature, for each estimate, in [0, 1).
        eps: the least divisor, in the units of h, positive.
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        gamma: :math:`\gamma`, positive: the larger it is the fewer entries are clipped; 10 to 50 percent should not
            be.
        clip_threshold: :math:`\rho`, positive, in units of the learning rate.
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.sophia(0.01)
    """

def stable_adamw(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.99,
    eps: Number = 1e-06,
    weight_decay: Number = 0.0,
) -> Transform:
    r"""The optimizer stable_adamw: `scale_by_stable_adam`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_stable_adam`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, and the least divisor within RMS, in the units of g, positive.
        weight_decay: :math:`\lambda`, per unit of the learning rate, at least 0; the clipping scales it too.

    >>> import optchain as oc
    >>> tx = oc.stable_adamw(0.01)
    """

def yogi(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 0.001,
    *,
    eps_root: Number = 0.0,
    initial_accumulator_value: Number = 1e-06,
    bias_correction: bool = True,
) -> Transform:
    r"""The optimizer yogi: `scale_by_yogi`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_yogi`, with the letters that are used below.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        eps_root: added inside the root, in the units of g**2, at least 0.
        initial_accumulator_value: :math:`\nu` before the first update, in the units of g**2, at least 0.
        bias_correction: divide :math:`\mu` by :math:`1 - b_1^t` and :math:`\nu` by :math:`1 - b_2^t`.

    >>> import optchain as oc
    >>> tx = oc.yogi(0.01)
    """

def dpsgd(
    learning_rate: Number,
    l2_norm_clip: Number,
    noise_multiplier: Number,
    seed: int | jax.Array,
    momentum: Number | None = None,
    nesterov: bool = False,
    *,
    every: Number = 1,
    batch_size: float | None = None,
) -> Transform:
    """DP-SGD: `differentially_private_aggregate` of the gradients of single examples, and the links of `sgd`.

    With `every` above 1 these links stand in `differentially_private_accumulate`. The numbers have the same names.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        l2_norm_clip: the bound on the norm of one example's gradient, > 0.
        noise_multiplier: the standard deviation of the noise over that bound, at least 0; with the part of the data
            in a batch and the number of steps it gives the privacy, see `oc.privacy_spent`.
        seed: of the noise, a whole number or a key. What is to be private needs one that nobody can guess.
        momentum: the decay of the sum of the updates so far that takes their place, in [0, 1); None is without
            momentum.
        nesterov: whether that sum looks ahead by one step.
        every: micro-batches for each step, at least 1, or a schedule of the steps made; rounded to a whole number.
            Noise is added once for each step.
        batch_size: B, > 0, of all micro-batches of a step together; None is the number of examples seen. Where each
            example is drawn by itself (Poisson sampling) it must be the expected number; micro-batches may be empty
            then, and examples of gradient 0 that fill them up change nothing.

    >>> import optchain as oc
    >>> tx = oc.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=1.1, seed=7)
    """

def cocob(
    learning_rate: Number = 1.0,
    alpha: Number = 100.0,
    eps: Number = 1e-08,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """The optimizer cocob: `add_decayed_weights` (L2), a factor of the gradient, `scale_by_cocob`.

    Args:
        learning_rate: a factor of the gradient, usually 1.
        alpha: how careful the first step is, > 0: it is 1 / alpha, in the units of the parameter.
        eps: the least bound of the gradient, in its units, at least 0.
        weight_decay: the multiple of the parameter that is added to the gradient, at least 0; it enters all that
            follows (L2).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.cocob()
    """

def dadapt_adamw(
    learning_rate: Number = 1.0,
    *,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    estim_lr0: Number = 1e-06,
    weight_decay: Number = 0.0,
    bias_correction: bool = False,
) -> Transform:
    r"""The optimizer dadapt_adamw: `scale_by_dadapt_adam`, whose update is the whole step; `scale`.

    The formula stands in the documentation of `scale_by_dadapt_adam`, with the letters that are used below.

    Args:
        learning_rate: :math:`\eta`, a factor of the estimated rate, any finite number; leave it at 1, or give it a
            schedule that begins or peaks at 1.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: :math:`\epsilon`, added to the root, in the units of g, at least 0.
        estim_lr0: the first d, in the units of p, > 0; smaller than the distance that is looked for.
        weight_decay: :math:`\lambda`, decoupled, at least 0.
        bias_correction: multiply :math:`\eta` by Adam's corrections, :math:`\sqrt{1 - b_2^t} / (1 - b_1^t)`.

    >>> import optchain as oc
    >>> tx = oc.dadapt_adamw()
    """

def dadapt_sgd(learning_rate: Number = 1.0, momentum: Number = 0.9, estim_lr0: Number = 1e-06) -> Transform:
    r"""The optimizer dadapt_sgd: `scale_by_dadapt_sgd`, whose update is the whole step; `scale`.

    The formula stands in the documentation of `scale_by_dadapt_sgd`, with the letters that are used below.

    Args:
        learning_rate: :math:`\eta`, a factor of the estimated rate, any finite number; leave it at 1, or give it a
            schedule that begins or peaks at 1.
        momentum: b, in [0, 1).
        estim_lr0: the first d, in the units of p, > 0; smaller than the distance that is looked for.

    >>> import optchain as oc
    >>> tx = oc.dadapt_sgd()
    """

def dog(
    learning_rate: Number = 1.0,
    *,
    reps_rel: Number = 1e-06,
    eps: Number = 1e-08,
    weight_decay: Number | None = None,
    mask: Mask | None = None,
) -> Transform:
    r"""The optimizer dog: `add_decayed_weights` on request, `scale_by_dog`, whose update is the whole step; `scale`.

    The formula stands in the documentation of `scale_by_dog`, with the letters that are used below.

    Args:
        learning_rate: :math:`\eta`, a factor of the rate, any finite number; leave it at 1, or give it a schedule.
        reps_rel: :math:`\alpha`, the first step over the size of the parameters, > 0; 1e-4 with batch
            normalization.
        eps: :math:`\epsilon`, in the units of g**2, at least 0.
        weight_decay: the multiple of the parameter that is added to the gradient, at least 0; it enters all that
            follows (L2); None adds nothing.
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.dog()
    """

def dowg(
    learning_rate: Number = 1.0,
    init_estim_sq_dist: Number = 0.0001,
    eps: Number = 0.0001,
    weight_decay: Number | None = None,
    mask: Mask | None = None,
) -> Transform:
    r"""The optimizer dowg: `add_decayed_weights` on request, `scale_by_dowg`, whose update is the whole step; `scale`.

    The formula stands in the documentation of `scale_by_dowg`, with the letters that are used below.

    Args:
        learning_rate: :math:`\eta`, a factor of the rate, any finite number; leave it at 1, or give it a schedule.
        init_estim_sq_dist: the first :math:`r^2`, in the units of p**2, > 0.
        eps: :math:`\epsilon`, in the units of p times g, at least 0.
        weight_decay: the multiple of the parameter that is added to the gradient, at least 0; it enters all that
            follows (L2); None adds nothing.
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.dowg()
    """

def ldog(
    learning_rate: Number = 1.0,
    *,
    reps_rel: Number = 1e-06,
    eps: Number = 1e-08,
    weight_decay: Number | None = None,
    mask: Mask | None = None,
) -> Transform:
    r"""The optimizer ldog: `add_decayed_weights` on request, `scale_by_ldog`, whose update is the whole step; `scale`.

    The formula stands in the documentation of `scale_by_ldog`, with the letters that are used below.

    Args:
        learning_rate: :math:`\eta`, a factor of the rates, any finite number; leave it at 1, or give it a schedule.
        reps_rel: :math:`\alpha`, the first step over the size of the leaf, > 0; 1e-4 with batch normalization.
        eps: :math:`\epsilon`, in the units of g**2, at least 0.
        weight_decay: the multiple of the parameter that is added to the gradient, at least 0; it enters all that
            follows (L2); None adds nothing.
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.ldog()
    """

def momo(
    learning_rate: Number = 1.0,
    beta: Number = 0.9,
    lower_bound: Number = 0.0,
    weight_decay: Number = 0.0,
    adapt_lower_bound: bool = False,
) -> Transform:
    r"""The optimizer momo: `scale_by_momo`, whose update is the whole step; `scale`.

    The formula stands in the documentation of `scale_by_momo`, with the letters that are used below.

    Args:
        learning_rate: :math:`\eta`, the largest step, any finite number; rather too large than too small.
        beta: b, in [0, 1).
        lower_bound: :math:`f_{min}`, any finite number; 0 for most losses.
        weight_decay: :math:`\lambda`, decoupled and proximal, at least 0.
        adapt_lower_bound: estimate :math:`f_{min}` from the losses met, beginning with `lower_bound`, never below
            it: halved where the model lies below it, then :math:`\bar f - \gamma + \langle \mu, p \rangle - \tau
            \lVert \mu \rVert^2 / 2`.

    >>> import optchain as oc
    >>> tx = oc.momo()
    """

def momo_adam(
    learning_rate: Number = 0.01,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    lower_bound: Number = 0.0,
    weight_decay: Number = 0.0,
    adapt_lower_bound: bool = False,
) -> Transform:
    r"""The optimizer momo_adam: `scale_by_momo_adam`, whose update is the whole step; `scale`.

    The formula stands in the documentation of `scale_by_momo_adam`, with the letters that are used below.

    Args:
        learning_rate: :math:`\eta`, the largest step, any finite number; rather too large than too small.
        b1: decay of the means, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: :math:`\epsilon`, added to the root, in the units of g, at least 0.
        lower_bound: :math:`f_{min}`, any finite number; 0 for most losses.
        weight_decay: :math:`\lambda`, decoupled and proximal, at least 0.
        adapt_lower_bound: estimate :math:`f_{min}` from the losses met, beginning with `lower_bound`, never below
            it.

    >>> import optchain as oc
    >>> tx = oc.momo_adam()
    """

def polyak_sgd(
    max_learning_rate: Number = 1.0,
    scaling: Number = 1.0,
    f_min: Number = 0.0,
    eps: Number = 0.0,
    variant: str = "sps",
) -> Transform:
    """SGD with the Polyak step: `scale_by_polyak`, which takes the loss as `value`; `scale_by_learning_rate`.

    Args:
        max_learning_rate: the largest factor of the gradient before `scaling`, > 0.
        scaling: a factor of the whole step, usually 1, or a schedule.
        f_min: a lower bound of the loss, any finite number.
        eps: added to the squared norm of the gradient, in the units of g**2, at least 0.
        variant: "sps", or "sps+", which rests where the loss is below its bound, instead of stepping uphill.

    >>> import optchain as oc
    >>> tx = oc.polyak_sgd()
    """

def prodigy(
    learning_rate: Number = 1.0,
    *,
    b1: Number = 0.9,
    b2: Number = 0.999,
    beta3: float | None = None,
    eps: Number = 1e-08,
    estim_lr0: Number = 1e-06,
    estim_lr_coef: Number = 1.0,
    weight_decay: Number = 0.0,
    safeguard_warmup: bool = False,
    bias_correction: bool = False,
) -> Transform:
    r"""The optimizer prodigy: `scale_by_prodigy`, whose update is the whole step; `scale`.

    The formula stands in the documentation of `scale_by_prodigy`, with the letters that are used below.

    Args:
        learning_rate: :math:`\eta`, a factor of the estimated rate, any finite number; leave it at 1, or give it a
            schedule that begins or peaks at 1.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        beta3: decay of r and s, in [0, 1); None takes :math:`\sqrt{b_2}`.
        eps: :math:`\epsilon`, added to the root, in the units of g, at least 0.
        estim_lr0: the first d, in the units of p, > 0; smaller than the distance that is looked for.
        estim_lr_coef: c, a factor of the estimate, > 0.
        weight_decay: :math:`\lambda`, decoupled, at least 0.
        safeguard_warmup: leave :math:`\eta` out of s, so that d grows less while a warm-up keeps :math:`\eta`
            small.
        bias_correction: multiply :math:`\eta` by Adam's corrections, :math:`\sqrt{1 - b_2^t} / (1 - b_1^t)`.

    >>> import optchain as oc
    >>> tx = oc.prodigy()
    """

def schedule_free_adamw(
    learning_rate: Number = 0.0025,
    warmup_steps: int = 0,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    weight_decay: Number = 0.0,
    weight_lr_power: Number = 2.0,
    *,
    decay_at_z: bool = False,
    paper: bool = False,
) -> Transform:
    r"""Schedule-free AdamW: `scale_by_rms`, `add_decayed_weights`, `scale_by_learning_rate`, in `schedule_free`.

    The authors have two versions. This is the one that their package prefers (`AdamWScheduleFree`) and optax has, which
    debiases the mean square. With `paper` it is that of the paper and its experiments (`AdamWScheduleFreePaper`): the
    learning rate is :math:`\eta \sqrt{1 - b_2^t}`, which gives the first iterates less weight in the average and less
    decay, and :math:`\epsilon` is added to the root of the biased mean.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        warmup_steps: the updates n in which the learning rate rises, a whole number of at least 0; the first is
            made with the n-th part of it, as the authors' is; optax's does not move then. Not with a schedule.
        b1: the share of the average in the parameters at which gradients are taken, in (0, 1].
        b2: decay of the mean square, in [0, 1).
        eps: added to the root of the mean square, in the units of g, at least 0.
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        weight_lr_power: the power of the learning rate that weighs each step in the average, at least 0; with 0 all
            weigh the same.
        decay_at_z: let the weight decay act on the iterates that are averaged, instead of the parameters.
        paper: multiply the rate by the root of the weight that the mean square has seen, instead of debiasing it.

    References:
        Defazio et al., 2024, Algorithm 1. https://arxiv.org/abs/2405.15682

    >>> import optchain as oc
    >>> tx = oc.schedule_free_adamw(0.0025, warmup_steps=100)
    """

def schedule_free_sgd(
    learning_rate: Number = 1.0,
    warmup_steps: int = 0,
    b1: Number = 0.9,
    weight_decay: Number = 0.0,
    weight_lr_power: Number = 2.0,
    *,
    decay_at_z: bool = False,
) -> Transform:
    """Schedule-free SGD: `add_decayed_weights`, `scale_by_learning_rate`, in `schedule_free`.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        warmup_steps: the updates n in which the learning rate rises, a whole number of at least 0; the first is
            made with the n-th part of it, as the authors' is; optax's does not move then. Not with a schedule.
        b1: the share of the average in the parameters at which gradients are taken, in (0, 1].
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        weight_lr_power: the power of the learning rate that weighs each step in the average, at least 0; with 0 all
            weigh the same.
        decay_at_z: let the weight decay act on the iterates that are averaged, instead of the parameters.

    References:
        Defazio et al., 2024, equations 3 to 5. https://arxiv.org/abs/2405.15682

    >>> import optchain as oc
    >>> tx = oc.schedule_free_sgd(1.0, warmup_steps=100)
    """

def asgd(learning_rate: Number, lambd: Number = 0.0001, alpha: Number = 0.75, start: Number = 1000000.0) -> Transform:
    r"""Averaged SGD: `add_decayed_weights`, `scale_by_learning_rate`, `polyak_average` from the update `start` on.

    .. math::
        \eta_t = \frac{\eta}{(1 + \lambda \eta t)^\alpha}

    `averaged_params` reads the average. PyTorch averages from its `t0` + 2 on.

    Args:
        learning_rate: its value at the first step, a scalar; it falls by itself.
        lambd: the multiple of the parameter that is added to the gradient, at least 0; with the learning rate it
            also says how fast that falls.
        alpha: the power of the fall of the learning rate, at least 0.
        start: the updates before the average begins, at least 0.

    Raises:
        ValueError: a schedule as the learning rate, which falls by itself.

    References:
        Xu, 2011, section 5. https://arxiv.org/abs/1107.2490

    >>> import optchain as oc
    >>> tx = oc.asgd(0.1, start=1000)
    """

def madgrad(
    learning_rate: Number,
    momentum: Number = 0.9,
    weight_decay: Number = 0.0,
    eps: Number = 1e-06,
) -> Transform:
    """MADGRAD: `add_decayed_weights` of the gradient (L2), `scale_by_madgrad`, whose update is the whole step.

    Args:
        learning_rate: the factor of the gradients in their sum, at least 0, or a schedule.
        momentum: how little the parameters follow that sum in one step, in [0, 1).
        weight_decay: the multiple of the parameter that is added to the gradient, at least 0; it enters all that
            follows (L2).
        eps: added to the cube root, in the units of g, positive.

    >>> import optchain as oc
    >>> tx = oc.madgrad(0.01)
    """

def mars(
    learning_rate: Number,
    b1: Number = 0.95,
    b2: Number = 0.99,
    eps: Number = 1e-08,
    gamma: Number = 0.025,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """MARS-AdamW: `reduce_variance`, `clip_by_leaf_norm` to 1, `scale_by_adam`, `add_decayed_weights`, the rate.

    Vectors, scalars and convolutions take the same steps as matrices, as in the paper. By default the authors' program
    steps them by plain AdamW, with decays of 0.9 and 0.95, a rate of 3e-3 and a weight decay of 0.1: on recorded
    gradients of three vectors the updates differ by 32 to 43 percent of their norm on average. `groups` does that too.

    Args:
        learning_rate: the factor of the whole step, downhill: usually positive, and often a schedule.
        b1: decay of the running mean, in the correction too, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        gamma: strength of the correction by the difference from the last gradient, at least 0.
        weight_decay: the multiple of the parameter that is added to the update, at least 0; the learning rate
            multiplies it too (decoupled decay).
        mask: the parameters that decay: patterns on paths, a predicate of (path, leaf), a tree of bools, or a
            function that makes it; None stands for all.

    >>> import optchain as oc
    >>> tx = oc.mars(3e-3)
    """

def gradual(begin: int, end: int, every: int, initial: float = 0.0, power: float = 3.0) -> Gradual:
    r"""Prunes more and more: fast at first, while much is superfluous, then slower, to the final sparsity.

    .. math::
        s_t = s_f + (s_i - s_f) \left(1 - \frac{t - t_0}{t_1 - t_0}\right)^p
        \qquad t \in \{t_0, t_0 + \Delta t, t_0 + 2 \Delta t, \dots, t_1\}

    A weight that is pruned stays so. With the score `"magnitude"` this is GMP.

    Args:
        begin: :math:`t_0`, the step of the first pruning, counted from 0; before it all weights are kept.
        end: :math:`t_1`, the step of the last pruning, after `begin`.
        every: :math:`\Delta t`, the steps between two prunings, at least 1; `end` is one in any case.
        initial: :math:`s_i`, the sparsity at `begin`, in [0, 1); where a parameter is to be less sparse than that in
            the end, its own final one.
        power: p, positive; 3 in the paper.

    Differs from the paper: nothing.

    Raises:
        ValueError: a number out of its range.

    References:
        Zhu and Gupta, 2017, equation 1. https://arxiv.org/abs/1710.01878

    >>> import optchain as oc
    >>> tx = oc.sparse(oc.adamw(1e-3), 0.9, schedule=oc.gradual(begin=100, end=700, every=20))
    """

def one_shot(step: int = 0) -> OneShot:
    """Prunes once and for ever: all that is pruned goes at one step.

    Args:
        step: the step, counted from 0, before which all weights are kept. At 0 the masks are there from `init` on, but
            for a score that reads gradients: then the first step chooses them by its own (with the score `"saliency"`
            that is SNIP).

    Differs from the paper: nothing, but SNIP's gradients are those of one batch of training.

    Raises:
        ValueError: a step that is not a whole number of at least 0.

    References:
        Lee et al., 2018, Algorithm 1. https://arxiv.org/abs/1810.02340

    >>> import optchain as oc
    >>> tx = oc.sparse(oc.adamw(1e-3), 0.9, schedule=oc.one_shot(step=1000))
    """

def regrow(
    every: int,
    fraction: Number = 0.3,
    grow: str | Callable[[jax.Array, jax.Array], jax.Array] = "gradient",
    drop: str | Callable[[jax.Array, jax.Array], jax.Array] = "magnitude",
    end: int | None = None,
) -> Regrow:
    r"""Drops the least weights every few steps and grows as many others, which begin at 0.

    .. math::
        K = \operatorname{top}_{n - d}\{|p_i| : i \in M\}, \qquad M \leftarrow K \cup \operatorname{top}_d\{|g_i| : i
        \notin K\}, \qquad d = f_t n

    where n weights of a parameter are in the mask M. With the gradients g of the step, those of pruned weights too,
    this is RigL; with `grow="random"` it is SET. The first mask is made by the score of `sparse`: `"random"` in both.

    Args:
        every: the steps between two changes, at least 1.
        fraction: :math:`f_t`, the part of the kept weights that is dropped, in [0, 1], or a schedule of the step: RigL
            has `oc.cosine(0.3, steps=end)`.
        grow: the score by which weights are grown.
        drop: the score of the weights that are not dropped.
        end: the step from which on the masks stay, greater than `every`, where they first change; None for never.

    The slots of a regrown weight are fresh, but its links count the steps of all weights, so that nothing corrects the
    bias of its means: Adam's first steps of it are too large, with the usual numbers and a gradient that stays as it is
    3.2 times at the first step, 6.5 at the tenth, 5.9 at the 25th, 3.2 at the 100th. See `reset_state`.

    Differs from the paper: the step at which masks change is a step of training too. A weight that is dropped and at
    once grown again continues as it was.

    Raises:
        ValueError: a number out of its range, an unknown score.

    References:
        Evci et al., 2019, section 3. https://arxiv.org/abs/1911.11134
        Mocanu et al., 2017, Algorithm 1 (SET). https://arxiv.org/abs/1707.04780

    >>> import optchain as oc
    >>> rigl = oc.regrow(every=100, fraction=oc.cosine(0.3, steps=7500), end=7500)
    >>> tx = oc.sparse(oc.adamw(1e-3), 0.9, score="random", distribution="erk", schedule=rigl)
    """

def sparse(
    tx: optax.GradientTransformation,
    sparsity: float | jax.Array | None = None,
    mask: Mask | None = is_kernel,
    score: str | Callable[[jax.Array, jax.Array], jax.Array] = "magnitude",
    distribution: str | Mapping[str, float] = "uniform",
    schedule: MaskSchedule | None = None,
    structure: str | Sequence[int] = "unstructured",
    axis: int | None = None,
    seed: int | jax.Array = 0,
) -> Transform:
    r"""Trains some of the weights and holds the others at exactly 0, regardless of the transformation.

    .. math::
        p \leftarrow \begin{cases} p + \mathrm{tx}(m g, m p) & \text{where } m \\ 0 & \text{elsewhere} \end{cases}

    The mask m is chosen along four axes that go with one another:

    ================  ==================================================================================================
    `score`           what a weight is worth: `"magnitude"` :math:`|p|`, `"gradient"` :math:`|g|`, `"saliency"`
                      :math:`|p g|`, `"random"`, or a function of (parameter, gradient)
    `distribution`    how much of which parameter is pruned: `"uniform"`; `"erk"`, less where a layer is narrow, in
                      proportion to the sum over the product of its shape; `"global"`, the least scores of all
                      parameters together; or a table from patterns on paths to sparsities, for all others `sparsity`
    `schedule`        when: `one_shot`, `gradual`, `regrow` or `straight_through`
    `structure`       what is pruned together: `"unstructured"`, single entries; `"2:4"`, entries of which 2 are kept in
                      each 4 neighbors along an axis; `[4, 4]`, blocks of this shape on the last axes; `"channels"`, all
                      that has one index on an axis. Units are ranked by the mean score of their entries.
    ================  ==================================================================================================

    Exactly as many units are kept as the sparsity says, rounded; equal scores are told apart by their place. `tx` sees
    masked gradients and parameters, and remembers nothing of what is pruned: at the beginning of each step its slots
    like the parameter are there what its `init` makes of 0, but not its counts (see `regrow`).
    What `averaged_params` reads is masked too; an average costs least after `sparse`, in a chain around both.

    The masks are in the state from `init` on, but the parameters are the caller's: before the first step
    `masked_params(state, params)` are those that will be trained. It is the outermost wrapper or the last link of a
    chain, and stands around `precision` or within `guard` and `accumulate`. Through `update` a pruned weight gets the
    update -p, in a dtype in which `optax.apply_updates` makes it 0.

    Args:
        tx: any transformation, with its learning rate.
        sparsity: the part of the weights that is pruned in the end, in [0, 1); left out for `"2:4"`, which says it.
        mask: the parameters that have masks, as in every technique; by default kernels and embeddings.
        score: as above.
        distribution: as above.
        schedule: as above; `one_shot()` if left out.
        structure: as above.
        axis: the axis of groups, by default the last but one, which a dense layer sums over; or that of channels, by
            default the last one, its outputs. Axes that `over_layers` declares are not counted, and each layer is
            pruned as if it were alone.
        seed: of random scores, a hash of seed, step, path and element: a whole number or a key, which may be traced.

    Metrics: `sparse.sparsity`, the part of the weights that is pruned, of the parameters with masks;
    `sparse.changed`, how many the last step pruned or grew.

    Shapes and dtypes: any; the masks are bools like the parameters. Between changes they cost one byte read for each
    array that is read and masked, and no temporaries; masks that change need some 14 bytes for each weight, to sort the
    scores.

    Differs from the paper: nothing; see the schedules.

    Raises:
        ValueError: a sparsity outside [0, 1), an unknown word; at `init`, a parameter whose shape does not fit the
            structure, or a pattern that matches none.

    References:
        Evci et al., 2019, section 3 (ERK). https://arxiv.org/abs/1911.11134
        Zhou et al., 2021, section 2 (N:M). https://arxiv.org/abs/2102.04010

    >>> import optchain as oc
    >>> tx = oc.sparse(oc.adamw(1e-3), 0.9, distribution="erk", schedule=oc.gradual(begin=100, end=700, every=20))
    """

def straight_through(every: int = 1) -> StraightThrough:
    r"""Keeps the dense weights in the state and trains them all; the parameters are their masked values.

    .. math::
        w \leftarrow w + \mathrm{tx}(g(p), w), \qquad p = \begin{cases} w & \text{in the mask} \\ 0 & \text{else}
        \end{cases}

    The gradient of the sparse parameters moves all weights, as if the mask were not there, so that what was pruned may
    come back with the value that it has by then.

    Args:
        every: the steps between two choices of the masks, at least 1.

    Differs from the paper: the gradient passes to all weights, which the paper does for hard thresholds of units.

    Raises:
        ValueError: a number out of its range.

    References:
        Bengio et al., 2013, section 4. https://arxiv.org/abs/1308.3432

    >>> import optchain as oc
    >>> tx = oc.sparse(oc.adamw(1e-3), structure="2:4", schedule=oc.straight_through(every=10))
    """

def constant(value: Number) -> Schedule:
    r"""The same value at every step.

    .. math::
        \eta_t = \eta

    Args:
        value: :math:`\eta`, any finite number.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> float(oc.constant(0.5)(1000))
    0.5
    """

def cooldown(
    base: Callable[[Any], Any],
    total: Number,
    decay: Number,
    end: Number = 0.0,
    power: Number = 1.0,
) -> Schedule:
    r"""Another schedule, whose last value is brought to the end in the last steps.

    .. math::
        \eta_t = \begin{cases} f(t) & t < T - D \\ \eta_T + (f(T - D) - \eta_T) (1 - x^p) & t \ge T - D \end{cases},
        \qquad x = \min((t - T + D) / D, 1)

    With `power=0.5` this is the 1-sqrt cooldown. The schedule before does not know the end: one run can be cooled down
    at several lengths.

    Args:
        base: :math:`f`, a function of the step, ours or any other's.
        total: :math:`T`, the step at which `end` is reached, positive.
        decay: :math:`D`, the steps of the decay, positive and at most `total`.
        end: :math:`\eta_T`, the value that is held from step `total` on, any finite number.
        power: :math:`p`, positive; 1 is linear, 0.5 falls fast at first.

    Raises:
        ValueError: a constant outside its range, a decay longer than the whole, a number in the place of a schedule.

    Differs from the paper: nothing.

    References:
        Hägele et al., 2024, section 3 (1-sqrt). https://arxiv.org/abs/2405.18392

    >>> import optchain as oc
    >>> lr = oc.cooldown(oc.constant(1.0), total=10, decay=4, power=0.5)
    >>> [float(lr(step)) for step in (0, 6, 7, 10)]
    [1.0, 1.0, 0.5, 0.0]
    """

def cosine(start: Number, steps: Number, end: Number = 0.0, exponent: Number = 1.0) -> Schedule:
    r"""Half a cosine from one value to another, which is held.

    .. math::
        \eta_t = \eta_T + (\eta_0 - \eta_T) \left(\tfrac{1}{2} + \tfrac{1}{2} \cos(\pi \min(t / T, 1))\right)^p

    Args:
        start: :math:`\eta_0`, any finite number.
        steps: :math:`T`, positive.
        end: :math:`\eta_T`, any finite number.
        exponent: p, positive; above 1 the value falls earlier.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: one cycle, after which the value is held; p is 1 there.

    References:
        Loshchilov and Hutter, 2016, equation 5. https://arxiv.org/abs/1608.03983

    >>> import optchain as oc
    >>> [round(float(oc.cosine(1.0, steps=4)(step)), 4) for step in (0, 1, 2, 4, 9)]
    [1.0, 0.8536, 0.5, 0.0, 0.0]
    """

def cosine_restarts(peak: Number, period: Number, growth: Number = 1.0, end: Number = 0.0) -> Schedule:
    r"""Half a cosine from the peak to the end, again and again, in cycles that may grow longer.

    .. math::
        \eta_t = \eta_T + \tfrac{1}{2} (\eta_0 - \eta_T) \left(1 + \cos\left(\pi \frac{t - s_i}{T m^i}\right)\right),
        \qquad s_i = T \frac{m^i - 1}{m - 1} \le t < s_{i+1}

    Args:
        peak: :math:`\eta_0`, the value at the start of each cycle, any finite number.
        period: :math:`T`, the steps of the first cycle, positive.
        growth: :math:`m`, the length of each cycle over that of the one before, at least 1. The derivative with respect
            to it is 0 where it is exactly 1.
        end: :math:`\eta_T`, the value that each cycle approaches, any finite number.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: a cycle begins at the whole step nearest to :math:`s_i`, which is :math:`s_i` itself where
    period and growth are whole numbers.

    References:
        Loshchilov and Hutter, 2016, equation 5. https://arxiv.org/abs/1608.03983

    >>> import optchain as oc
    >>> [round(float(oc.cosine_restarts(1.0, period=2, growth=2)(step)), 4) for step in range(7)]
    [1.0, 0.5, 1.0, 0.8536, 0.5, 0.1464, 1.0]
    """

def warmup_cosine(
    peak: Number,
    warmup: Number,
    total: Number,
    start: Number = 0.0,
    end: Number = 0.0,
    exponent: Number = 1.0,
) -> Schedule:
    r"""Linear warm-up to the peak, then half a cosine to the end, which is held.

    .. math::
        \eta_t = \begin{cases}
        \eta_0 + (\eta - \eta_0)\, t / w & t < w \\
        \eta_T + (\eta - \eta_T) \left(\tfrac{1}{2} + \tfrac{1}{2} \cos(\pi \min((t - w) / (T - w), 1))\right)^p
        & t \ge w
        \end{cases}

    Args:
        peak: :math:`\eta`, reached at step `warmup`, any finite number.
        warmup: :math:`w`, the steps of the warm-up, at least 0 and less than `total`.
        total: :math:`T`, the step at which `end` is reached, warm-up included, positive.
        start: :math:`\eta_0`, the value at step 0 where there is a warm-up, any finite number.
        end: :math:`\eta_T`, any finite number.
        exponent: p, positive; above 1 the value falls earlier.

    Raises:
        ValueError: a constant outside its range, a warm-up that leaves no step for the fall.

    Differs from the paper: one cycle, after a warm-up; p is 1 there.

    References:
        Loshchilov and Hutter, 2016, equation 5. https://arxiv.org/abs/1608.03983

    >>> import optchain as oc
    >>> lr = oc.warmup_cosine(peak=1.0, warmup=2, total=6)
    >>> [round(float(lr(step)), 4) for step in (0, 1, 2, 4, 6, 9)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    """

def triangular(low: Number, high: Number, half_period: Number, shrink: Number = 1.0, gamma: Number = 1.0) -> Schedule:
    r"""Up and down between two values along straight lines, again and again, with an amplitude that may shrink.

    .. math::
        \eta_t = l + (h - l)\, \rho^c \gamma^t \left(1 - \left|\frac{t}{n} - 2 c - 1\right|\right), \qquad
        c = \left\lfloor \frac{t}{2 n} \right\rfloor

    The paper's policies: `triangular` is the default, `triangular2` has ``shrink=0.5``, `exp_range` has a `gamma`.

    Args:
        low: :math:`l`, the value at the start and end of each cycle, any finite number.
        high: :math:`h`, the value amid the first cycle, any finite number, above or below `low`.
        half_period: :math:`n`, the steps from low to high, positive.
        shrink: :math:`\rho`, the amplitude of each cycle over that of the one before, in (0, 1].
        gamma: :math:`\gamma`, the amplitude at each step over that at the step before, in (0, 1].

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: in its `exp_range` the text lets both bounds decay; here, as is usual in
    code, the amplitude does.

    References:
        Smith, 2015, section 3. https://arxiv.org/abs/1506.01186

    >>> import optchain as oc
    >>> [float(oc.triangular(0.0, 1.0, half_period=2, shrink=0.5)(step)) for step in range(7)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5]
    """

def exponential(start: Number, factor: Number, every: Number = 1.0, end: Number | None = None) -> Schedule:
    r"""Decay by a factor in a number of steps, smoothly.

    .. math::
        \eta_t = \max(\eta_0 \gamma^{t / n}, \eta_T)

    Args:
        start: :math:`\eta_0`, any finite number.
        factor: :math:`\gamma`, positive; above 1 the value grows.
        every: :math:`n`, the steps in which the factor is applied once, positive.
        end: :math:`\eta_T`, any finite number: the least value, or with a factor above 1 the largest; None sets no
            bound.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> round(float(oc.exponential(1.0, factor=0.5, every=10)(20)), 6)
    0.25
    """

def exponential_with_resets(
    start: Number,
    factor: Number,
    every: Number = 1.0,
    period: Number | None = None,
    resets: Sequence[Number] = (),
) -> Schedule:
    r"""Exponential decay that restarts: after each period, or at given steps.

    .. math::
        \eta_t = \eta_0 \gamma^{(t - r) / n}

    where :math:`r` is the step of the last reset.

    Args:
        start: :math:`\eta_0`, any finite number.
        factor: :math:`\gamma`, positive.
        every: :math:`n`, the steps in which the factor is applied once, positive.
        period: the steps from one reset to the next, positive; the first reset is at `period`.
        resets: the steps of the resets, at least 0, strictly rising; instead of `period`.

    Raises:
        ValueError: a constant outside its range, both or neither of `period` and `resets`, resets that do not rise.

    Differs from the paper: the restarts are those of SGDR (https://arxiv.org/abs/1608.03983), the decay is not.

    >>> import optchain as oc
    >>> [round(float(oc.exponential_with_resets(1.0, 0.5, resets=[2])(step)), 3) for step in (0, 1, 2, 3, 4)]
    [1.0, 0.5, 1.0, 0.5, 0.25]
    """

def natural_exponential(start: Number, rate: Number) -> Schedule:
    r"""Decay at a constant rate.

    .. math::
        \eta_t = \eta_0 e^{-k t}

    Args:
        start: :math:`\eta_0`, any finite number.
        rate: :math:`k`, per step, at least 0.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> round(float(oc.natural_exponential(1.0, rate=0.1)(10)), 4)
    0.3679
    """

def linear_half_life(start: Number, end: Number, steps: Number) -> Schedule:
    r"""A decay between two others whose half-life, the steps in which a sample loses half its weight, is a line.

    .. math::
        b_t = \exp\left(\frac{1}{(1 - \tau) / \ln b_0 + \tau / \ln b_T}\right), \qquad \tau = \min((t + 1) / T, 1)

    Args:
        start: :math:`b_0`, in [0, 1).
        end: :math:`b_T`, in [0, 1), held afterwards.
        steps: :math:`T`, positive.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing; the paper counts updates from 1, here steps count from 0, so that update number
    :math:`t + 1` is made with the paper's value for it, and only a schedule of one step has its end at step 0.

    References:
        Pagliardini, Ablin and Grangier, 2024, the scheduler of :math:`\beta_3`. https://arxiv.org/abs/2409.03137

    >>> import optchain as oc
    >>> [round(float(oc.linear_half_life(0.5, 0.5**0.25, steps=6)(step)), 4) for step in (0, 1, 5, 9)]
    [0.63, 0.7071, 0.8409, 0.8409]
    """

def inverse_sqrt(peak: Number, warmup: Number) -> Schedule:
    r"""Linear warm-up, then decay with the inverse root of the time.

    .. math::
        \eta_t = \eta \min\left(\frac{t}{w}, \sqrt{\frac{w}{t}}\right)

    Args:
        peak: :math:`\eta`, reached at step `warmup`, any finite number.
        warmup: :math:`w`, the steps of the warm-up, at least 1.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: equation 3, with a peak that is given instead of one that follows from the width of the
    model, and with steps from 0, where the value is 0.

    References:
        Vaswani et al., 2017, equation 3. https://arxiv.org/abs/1706.03762

    >>> import optchain as oc
    >>> [float(oc.inverse_sqrt(1.0, warmup=4)(step)) for step in (0, 2, 4, 16)]
    [0.0, 0.5, 1.0, 0.5]
    """

def inverse_time(start: Number, rate: Number, power: Number = 1.0) -> Schedule:
    r"""Decay with the inverse of the time, or a power of it.

    .. math::
        \eta_t = \frac{\eta_0}{(1 + k t)^a}

    Args:
        start: :math:`\eta_0`, any finite number.
        rate: :math:`k`, per step, at least 0.
        power: :math:`a`, at least 0.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> float(oc.inverse_time(1.0, rate=0.1)(10))
    0.5
    """

def noam(width: Number, warmup: Number, scale: Number = 1.0) -> Schedule:
    r"""The learning rate of the first Transformer: linear warm-up, then decay with the inverse root of the time.

    .. math::
        \eta_t = c\, d^{-1/2} \min\left((t + 1)^{-1/2}, (t + 1)\, w^{-3/2}\right)

    Args:
        width: :math:`d`, the features of the model, positive.
        warmup: :math:`w`, the updates of the warm-up, positive.
        scale: :math:`c`, any finite number.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing; the paper counts updates from 1, here steps count from 0, so that update number
    :math:`t + 1` is made with the paper's value for it. The factor `scale` is 1 there.

    References:
        Vaswani et al., 2017, equation 3. https://arxiv.org/abs/1706.03762

    >>> import optchain as oc
    >>> round(float(oc.noam(width=512, warmup=4000)(3999)), 8)
    0.00069877
    """

def join_schedules(schedules: Sequence[Callable[[Any], Any]], boundaries: Sequence[Number]) -> Schedule:
    r"""One schedule after the other, each from its boundary on and with steps counted from there.

    .. math::
        \eta_t = f_i(t - b_i), \qquad b_i \le t < b_{i+1}, \qquad b_0 = 0

    Args:
        schedules: functions of the step, ours or any other's, one more than there are boundaries.
        boundaries: the steps at which the second and later schedules begin, at least 0, strictly rising.

    Raises:
        ValueError: a constant outside its range, boundaries that do not rise, a wrong number of schedules, a number
            in the place of a schedule.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> lr = oc.join_schedules([oc.linear(0.0, 1.0, steps=2), oc.constant(0.5)], [2])
    >>> [float(lr(step)) for step in range(4)]
    [0.0, 0.5, 0.5, 0.5]
    """

def scale_schedule(schedule: Number, factor: Number) -> Schedule:
    r"""A schedule times a factor.

    .. math::
        \eta_t = c f(t)

    Args:
        schedule: :math:`f`, a function of the step, ours or any other's, or a finite number.
        factor: :math:`c`, any finite number, or a schedule again: the two are then multiplied.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> float(oc.scale_schedule(oc.linear(1.0, 0.0, steps=4), factor=10.0)(2))
    5.0
    """

def in_fractions(base: Callable[[Any], Any], total: Number) -> Schedule:
    r"""A schedule whose lengths are fractions of a run.

    .. math::
        \eta_t = f(t / T)

    Args:
        base: :math:`f`, a schedule for a run of length 1: `wsd(peak=1e-3, warmup=0.1, total=1.0, decay=0.2)`.
        total: :math:`T`, the steps of the run, positive.

    Raises:
        ValueError: a constant outside its range, a number in the place of a schedule.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> lr = oc.in_fractions(oc.wsd(peak=1.0, warmup=0.1, total=1.0, decay=0.2), total=1000)
    >>> [round(float(lr(step)), 4) for step in (0, 50, 100, 800, 900, 1000)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """

def in_tokens(base: Callable[[Any], Any], tokens_per_step: Number) -> Schedule:
    r"""A schedule whose lengths are in tokens, or in examples.

    .. math::
        \eta_t = f(n t)

    Args:
        base: :math:`f`, a schedule that counts tokens: `cosine(1e-3, steps=10e9)`.
        tokens_per_step: :math:`n`, those of one update, all devices and micro-batches together, positive.

    Raises:
        ValueError: a constant outside its range, a number in the place of a schedule.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> lr = oc.in_tokens(oc.linear(1.0, 0.0, steps=4e9), tokens_per_step=1e6)
    >>> [float(lr(step)) for step in (0, 1000, 4000)]
    [1.0, 0.75, 0.0]
    """

def linear(start: Number, end: Number, steps: Number) -> Schedule:
    r"""A straight line from one value to another, which is held.

    .. math::
        \eta_t = \eta_0 + (\eta_T - \eta_0) \min(t / T, 1)

    Args:
        start: :math:`\eta_0`, any finite number.
        end: :math:`\eta_T`, any finite number.
        steps: :math:`T`, positive.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> [float(oc.linear(1.0, 0.0, steps=4)(step)) for step in (0, 1, 4, 9)]
    [1.0, 0.75, 0.0, 0.0]
    """

def one_cycle(
    peak: Number,
    total: Number,
    warmup_fraction: Number = 0.3,
    div: Number = 25.0,
    final_div: Number = 10000.0,
) -> Schedule:
    r"""Up to the peak and down to almost nothing, both along half a cosine.

    .. math::
        \eta_t = \begin{cases}
        \eta + \tfrac{1}{2} (\eta / d - \eta) (1 + \cos(\pi t / w)) & t < w = f T \\
        \eta_T + \tfrac{1}{2} (\eta - \eta_T) (1 + \cos(\pi \min((t - w) / (T - w), 1))) & t \ge w
        \end{cases}, \qquad \eta_T = \frac{\eta}{d\, d_T}

    Args:
        peak: :math:`\eta`, reached at step `warmup_fraction * total`, any finite number.
        total: :math:`T`, the step at which the last value is reached, positive; the value is held from there on.
        warmup_fraction: :math:`f`, the part of `total` in which the value rises, in [0, 1).
        div: :math:`d`, the peak over the first value, positive.
        final_div: :math:`d_T`, the first value over the last, positive.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: two phases along a cosine instead of three linear ones, as is usual in practice. The peak
    may lie between two whole steps: optax takes the whole step below it; torch ends its phases one step earlier, at
    `warmup_fraction * total - 1` and `total - 1`.

    References:
        Smith and Topin, 2017. https://arxiv.org/abs/1708.07120

    >>> import optchain as oc
    >>> [round(float(oc.one_cycle(1.0, total=10)(step)), 4) for step in (0, 3, 10)]
    [0.04, 1.0, 0.0]
    """

def piecewise(values: Sequence[Number], boundaries: Sequence[Number]) -> Schedule:
    r"""One value after the other, each from its boundary on.

    .. math::
        \eta_t = v_i, \qquad b_i \le t < b_{i+1}, \qquad b_0 = 0

    Args:
        values: finite numbers, one more than there are boundaries.
        boundaries: the steps at which the second and later values begin, at least 0, strictly rising.

    Raises:
        ValueError: a constant outside its range, boundaries that do not rise, a wrong number of values.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> [float(oc.piecewise([1.0, 0.5], [10])(step)) for step in (0, 9, 10)]
    [1.0, 1.0, 0.5]
    """

def polynomial(start: Number, end: Number, power: Number, steps: Number) -> Schedule:
    r"""A power of the steps that remain, from one value to another, which is held.

    .. math::
        \eta_t = \eta_T + (\eta_0 - \eta_T) (1 - \min(t / T, 1))^p

    Args:
        start: :math:`\eta_0`, any finite number.
        end: :math:`\eta_T`, any finite number.
        power: :math:`p`, positive; 1 is linear.
        steps: :math:`T`, positive.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> float(oc.polynomial(1.0, 0.0, power=2, steps=4)(2))
    0.25
    """

def power_law(peak: Number, amplitude: Number, exponent: Number, warmup: Number = 0.0) -> Schedule:
    r"""Linear warm-up, then a falling power of the time, at most the peak, without end.

    .. math::
        \eta_t = \begin{cases} \min(\eta, a\, t^b) & t \ge w \\ \min(\eta, a\, w^b)\, t / w & t < w \end{cases}

    In the paper the time t is the number of tokens seen, as `in_tokens` has it, and a is 4.6 times the batch size in
    sequences (of 4,096 tokens there), b is -0.51: with a in proportion to the batch size the same numbers do for any.
    With t in steps of n tokens and the same b, a is :math:`n^b` times as large. `cooldown` ends it, where it is to end.

    Args:
        peak: :math:`\eta`, the upper bound, positive; 0.02 in the paper.
        amplitude: a, the value at time 1 (one step, or one token) if there were no bound, positive.
        exponent: b, at most 0.
        warmup: :math:`w`, the length of the warm-up in the units of the time, at least 0.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: a contains the batch size. Before step 1 the power is that of step 1.

    References:
        Shen et al., 2024, the Power scheduler. https://arxiv.org/abs/2408.13359

    >>> import optchain as oc
    >>> [float(oc.power_law(0.5, amplitude=2.0, exponent=-0.5, warmup=2)(step)) for step in (0, 1, 2, 16, 64)]
    [0.0, 0.25, 0.5, 0.5, 0.25]
    """

def rex(start: Number, steps: Number, end: Number = 0.0) -> Schedule:
    r"""A fall that begins slowly and ends fast, from one value to another, which is held.

    .. math::
        \eta_t = \eta_T + (\eta_0 - \eta_T) \frac{1 - x}{\tfrac{1}{2} + \tfrac{1}{2} (1 - x)}, \qquad x = \min(t / T, 1)

    Args:
        start: :math:`\eta_0`, any finite number.
        steps: :math:`T`, positive.
        end: :math:`\eta_T`, any finite number; 0 in the paper.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing; the value is sampled at every step.

    References:
        Chen, Wolfe and Kyrillidis, 2021, section 4 (REX). https://arxiv.org/abs/2107.04197

    >>> import optchain as oc
    >>> [round(float(oc.rex(1.0, steps=4)(step)), 4) for step in (0, 1, 2, 4, 9)]
    [1.0, 0.8571, 0.6667, 0.0, 0.0]
    """

def step_decay(start: Number, factor: Number, every: Number, end: Number | None = None) -> Schedule:
    r"""Decay by a factor at once, after every so many steps.

    .. math::
        \eta_t = \max(\eta_0 \gamma^{\lfloor t / n \rfloor}, \eta_T)

    Args:
        start: :math:`\eta_0`, any finite number.
        factor: :math:`\gamma`, positive.
        every: :math:`n`, the steps from one decay to the next, positive.
        end: :math:`\eta_T`, any finite number: the least value, or with a factor above 1 the largest; None sets no
            bound.

    Raises:
        ValueError: a constant outside its range.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> [round(float(oc.step_decay(1.0, factor=0.5, every=10)(step)), 6) for step in (0, 9, 10, 20)]
    [1.0, 1.0, 0.5, 0.25]
    """

def wsd(peak: Number, warmup: Number, total: Number, decay: Number, end: Number = 0.0, power: Number = 1.0) -> Schedule:
    r"""Linear warm-up to the peak, which is held until the last steps, then decay to the end.

    .. math::
        \eta_t = \begin{cases}
        \eta\, t / w & t < w \\
        \eta & w \le t < T - D \\
        \eta + (\eta_T - \eta) \min((t - T + D) / D, 1)^p & t \ge T - D
        \end{cases}

    Args:
        peak: :math:`\eta`, any finite number.
        warmup: :math:`w`, the steps of the warm-up, at least 0.
        total: :math:`T`, the step at which `end` is reached, warm-up included, positive.
        decay: :math:`D`, the steps of the decay, positive; `warmup + decay` is at most `total`.
        end: :math:`\eta_T`, the value that is held from step `total` on, any finite number.
        power: :math:`p`, positive; 1 is linear, 0.5 is the 1-sqrt cooldown.

    Raises:
        ValueError: a constant outside its range, a warm-up and a decay that together are longer than the whole.

    Differs from the paper: the decay of the first is any falling function, often exponential.

    References:
        Hu et al., 2024, section 4. https://arxiv.org/abs/2404.06395
        Hägele et al., 2024, section 3 (1-sqrt). https://arxiv.org/abs/2405.18392

    >>> import optchain as oc
    >>> lr = oc.wsd(peak=1.0, warmup=2, total=10, decay=4)
    >>> [float(lr(step)) for step in (0, 1, 2, 6, 8, 10, 11)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0]
    """

def distributed(tx: optax.GradientTransformation, axis: str | Sequence[str]) -> Transform:
    r"""Steps each matrix as a whole on one device along a mesh axis, its owner, instead of on all of them.

    What looks across a matrix (`scale_by_muon`, `scale_by_soap`, ...) multiplies it over and over. On a mesh each
    device does all of that, or sends parts of it in every product. Here the matrices of one shape, after layers and
    views, are a stack of L that is dealt out to the N devices along `axis`: gradients go to the owners, each steps its
    own :math:`\lceil L / N \rceil` matrices, and the updates go back to the layout of the parameters. Nothing is sent
    within a step of the technique, and slots stay with their owners.

    Where the matrices are split over one mesh axis, that is one all-to-all for a stack in each direction, and one more
    pair for each further axis; where each device has them all, one gather on the way back. Shapes that occur less than
    N times are spread over the owners, and skipped by the others.

    Stacks have room for a multiple of N matrices. Where that wastes (12 shapes that occur once, or 24 layers on 64
    devices), what remains of each stack beyond a multiple of N is dealt out together: the largest matrix first, each to
    the owner that is least full. Those of one owner lie one after another in its row of a flat buffer, in which slots
    stay and updates travel: two all-to-alls for all shapes together. That is so if the fullest owner would hold, or do,
    more than 1.2 times as much without it, and neither gets worse. The work of an :math:`m \times n` matrix is counted
    as :math:`m n \min(m, n)`, for all techniques. A matrix that is larger than an even part still fills its owner, and
    all others have as much room as it. On a mesh with automatic axes nothing says how matrices are laid out: they are
    taken to be split by rows, and XLA sends two more messages for each that is not.

    Everything else in `tx` is as before, and the updates are. The result is `tx` with the declaration in each link:
    nothing is wrapped. `guard`, `accumulate`, `precision`, `groups` may stand within or around.

    Args:
        tx: a transformation with links that look across matrices.
        axis: the name of a mesh axis, or several, whose devices together are the owners. Parameters bring their mesh;
            without one, all matrices have one owner.

    Shapes and dtypes: as for `tx`. A slot is not a tree like the parameters, but a table of stacks by the shape of the
    matrices and the number of owners, `{"64x128@8": f32[8,64,128]}`, split over the owners and padded to a multiple of
    them: a stack of 3 holds room for 8 on 8 devices. What is dealt out together is in the same table, with a row for
    each owner, as wide as the fullest needs it: `{"rest@8": f32[8,5120]}`. In codes (`precision`, around this or
    within it) a slot is two such tables, `{"codes": ..., "scales": ...}`: each owner decodes, steps and encodes its
    matrices a few at a time, and what the mask of `precision` or its `min_size` leaves in float32 is dealt out apart.
    Layouts are those of `oc.shardings`, which does not see into transformations of optax: put these inside a chain.
    Checkpoints keep `state_by_parameters`, with which any mesh goes on.

    Raises:
        ValueError: no link looks across matrices, or one has owners already; at `init` and `update`, a mesh without
            this axis, a call inside `shard_map` over it, a state for another number of owners.

    References:
        Liu et al., 2025, section 2.3 (a distributed Muon). https://arxiv.org/abs/2502.16982

    >>> import optchain as oc
    >>> tx = oc.distributed(oc.muon(0.02), axis="fsdp")
    """

def flat(tx: optax.GradientTransformation, axis: str, min_size: int = 16384) -> Transform:
    r"""Steps parameters that no axis of a mesh divides as flat arrays, of which each device has its share.

    `shardings(tx, params, over=axis)` splits the state of what has an axis that the mesh axis divides. A vector, or a
    matrix of 1001 x 333 on 8 devices, has none that `split_over` splits: its slots are whole on each device. Within
    `flat` such a leaf is raveled, padded with zeros to a multiple of the devices along `axis`, and split over them. So
    are its slots, for good; the new parameter is gathered once a step, in its own dtype. The updates are those of `tx`.

    That is right for what is elementwise. A leaf that any link mixes (by its norm, by rows, as a matrix), draws random
    numbers for, or reads an extra argument for, stays as it is; so does one without slots, one that an axis divides,
    and one in a box of Flax that names its axes. Masks and layers are asked about the parameters in their own shapes.

    Args:
        tx: a technique, or a chain of techniques. A norm over all leaves may be among them, because zeros add nothing
            to it. `guard`, `accumulate`, `groups` and `precision` stand outside: `guard(flat(tx, axis))`.
        axis: the name of a mesh axis along which the parameters are copies of one another, usually that of the data.
            Parameters bring their mesh; without one, and inside a `shard_map` over it, nothing is flat.
        min_size: leaves with fewer entries stay as they are, because each gather costs a round of messages.

    Shapes and dtypes: as for `tx`. The slots of a flat leaf of n entries on N devices have the shape
    :math:`(N \lceil n / N \rceil,)` and the layout that `oc.shardings` says. `state_by_parameters` gives the state with
    the parameters' shapes, which checkpoints keep and one device goes on with; `state_by_owners` takes it to a mesh.

    Raises:
        ValueError: a link that is not a technique of optchain, or that depends on how many entries there are; at `init`
            and `update` a mesh without this axis.

    References:
        Rajbhandari et al., 2020, section 5.1 (the partitioning). https://arxiv.org/abs/1910.02054

    >>> import optchain as oc
    >>> tx = oc.guard(oc.flat(oc.adamw(1e-3), axis="data"))
    """

def over_axes(
    tx: optax.GradientTransformation,
    axes: str | Sequence[str],
    specs: Mapping[str, Any] | None = None,
) -> Transform:
    """Lets a transformation inside `jax.shard_map` step shards as the whole arrays would be stepped.

    Inside `shard_map` each device has a shard of a parameter. Elementwise techniques are right on shards; what a
    technique computes across entries (norms, means, the largest entry, whether all are finite) would be that of the
    shard, and is an error. Here it is computed over the named mesh axes as well, so that the step on shards is the step
    on whole arrays. A leaf that is the same on all devices is counted once.

    - Sums, norms, means, maxima, and whether all is finite: a collective of one number, or of one for each row, for
      each that the technique takes; the global norm is one `psum` of a scalar.
    - Noise, random masks: a hash of the place in the whole array.
    - Matrix techniques, those that sort (`clip_by_quantile`, `keep_top_k`), views of `as_matrices`, and rules of your
      own that do not say `on_shards`: each leaf is gathered, stepped whole by all devices, and cut again, where an axis
      is split that the technique looks across. `distributed`, outside of `shard_map`, shares that work.
    - Refused by name: pruning by `sparse`, line searches, `precision` with random rounding, slots of low precision or
      `watch`, gradients of rows, `distributed`, and rules of the whole tree that do not say `on_shards`.

    The state is that of `tx`: counts, metrics and one number for a parameter are the same on all devices, and slots are
    split as the axes of the parameter that they follow. `oc.state_specs` says how, for `in_specs` and `out_specs`.
    Outside of `shard_map` this is `tx`. Transformations of optax within `tx` may be elementwise; one that looks across
    the entries of a shard is refused.

    Args:
        tx: a transformation of optchain.
        axes: the name of a mesh axis, or several, over which leaves are split. A leaf that varies over other axes is
            still an error where a technique looks across its entries.
        specs: how leaves are split, `PartitionSpec`s by patterns on paths, of which the first that matches decides, as
            in `shard_map(in_specs=...)`. Without one, a leaf that varies over these axes is split along its first axis.

    Shapes and dtypes: any, in parts of equal size.

    Raises:
        ValueError: a name that is not that of a mesh axis, or a table that is not of specs; at `init` and `update`, a
            `shard_map` over other axes or with `check_vma=False`, a spec that does not fit its leaf, a scalar extra
            argument that differs between devices, a technique that is refused.

    >>> import jax
    >>> import optchain as oc
    >>> mesh = jax.make_mesh((8,), ("x",), (jax.sharding.AxisType.Auto,))
    >>> tx = oc.over_axes(oc.chain(oc.clip_by_global_norm(1.0), oc.sgd(1.0)), "x")
    >>> update = lambda g: tx.update(g, tx.init(g))[0]
    >>> step = jax.jit(jax.shard_map(update, mesh=mesh, in_specs=jax.P("x"), out_specs=jax.P("x")))
    >>> float(jax.numpy.linalg.norm(step(jax.numpy.ones(64))).round(4))
    1.0
    """

def asam(tx: optax.GradientTransformation, rho: Number = 0.5, eta: float = 0.01) -> Transform:
    r"""Gives a transformation the gradient at the worst parameters nearby, where near is relative to their size.

    .. math::
        \hat g = \nabla L\Bigl(p + \rho \frac{T^2 g}{\lVert T g \rVert}\Bigr), \qquad T = |p| + \eta, \qquad
        u = \mathrm{tx}(\hat g)

    The neighborhood does not change where a parameter is scaled up and the next one down, so that the model stays the
    same. Usage and extra argument `grad_fn` are those of `sam`.

    Args:
        tx: any transformation; all of it sees the second gradient.
        rho: :math:`\rho`, radius of the neighborhood, at least 0; a number or a schedule.
        eta: :math:`\eta`, added to the size of a parameter, at least 0.

    Shapes and dtypes: as `sam`.

    Differs from the paper: nothing; its code leaves biases unscaled, here all parameters are scaled in the same way.

    Raises:
        ValueError: as `sam`.

    References:
        Kwon et al., 2021, Algorithm 1. https://arxiv.org/abs/2102.11600

    >>> import optchain as oc
    >>> tx = oc.asam(oc.sgd(0.1, momentum=0.9))
    """

def gsam(tx: optax.GradientTransformation, rho: Number = 0.05, alpha: Number = 0.4) -> Transform:
    r"""Gives a transformation the gradient at the worst parameters nearby, turned to where these are hardly worse.

    .. math::
        \hat g = \nabla L\Bigl(p + \rho \frac{g}{\lVert g \rVert}\Bigr), \qquad
        g_\perp = g - \frac{\langle g, \hat g \rangle}{\lVert \hat g \rVert^2} \hat g, \qquad
        u = \mathrm{tx}(\hat g - \alpha g_\perp)

    Along :math:`-g_\perp` the loss at the parameters rises and that at the perturbed ones stays, to first order: the
    gap between them, which measures the sharpness, becomes smaller. Usage and extra argument `grad_fn` are those of
    `sam`.

    Args:
        tx: any transformation; all of it sees the combined gradient.
        rho: :math:`\rho`, radius of the neighborhood, at least 0; a number or a schedule.
        alpha: :math:`\alpha`, weight of the gap, at least 0; a number or a schedule. With 0 it is `sam`.

    Shapes and dtypes: as `sam`; norms and products are those of all leaves together.

    Differs from the paper: the radius follows the learning rate there; here it is what `rho` says.

    Raises:
        ValueError: as `sam`.

    References:
        Zhuang et al., 2022, Algorithm 1. https://arxiv.org/abs/2203.08065

    >>> import optchain as oc
    >>> tx = oc.gsam(oc.sgd(0.1, momentum=0.9), rho=oc.linear(0.05, 0.01, 10_000))
    """

def looksam(tx: optax.GradientTransformation, rho: Number = 0.05, k: int = 5, alpha: Number = 0.7) -> Transform:
    r"""Gives a transformation the gradient at the worst parameters nearby, which it computes at every k-th step only.

    .. math::
        \hat g = \nabla L\Bigl(p + \rho \frac{g}{\lVert g \rVert}\Bigr), \qquad
        v = \hat g - \frac{\langle \hat g, g \rangle}{\lVert g \rVert^2} g, \qquad u = \mathrm{tx}(\hat g)

    at the first of k steps, and at the others, where :math:`\hat g` is not computed,

    .. math::
        u = \mathrm{tx}\Bigl(g + \alpha \frac{\lVert g \rVert}{\lVert v \rVert} v\Bigr)

    with the last v, which changes slowly. Usage and extra argument `grad_fn` are those of `sam`; under `vmap` it is
    called at all steps.

    Args:
        tx: any transformation; all of it sees these gradients.
        rho: :math:`\rho`, radius of the neighborhood, at least 0; a number or a schedule.
        k: steps from one second gradient to the next, at least 1. With 1 it is `sam`.
        alpha: :math:`\alpha`, size of the reused component beside the gradient, at least 0; a number or a schedule.

    Shapes and dtypes: as `sam`; norms and products are those of all leaves together. The slot `flat`, v over its norm,
    is like the parameters, in float32 or wider.

    Differs from the paper: nothing.

    Raises:
        ValueError: as `sam`; a k that is not a whole number of at least 1.

    References:
        Liu et al., 2022, Algorithm 1. https://arxiv.org/abs/2203.02714

    >>> import optchain as oc
    >>> tx = oc.looksam(oc.sgd(0.1, momentum=0.9), rho=0.05, k=5)
    """

def sam(tx: optax.GradientTransformation, *, rho: Number = 0.05) -> Transform:
    r"""Gives a transformation the gradient at the worst parameters nearby instead of that at the parameters.

    .. math::
        \hat g = \nabla L\Bigl(p + \rho \frac{g}{\lVert g \rVert}\Bigr), \qquad u = \mathrm{tx}(\hat g)

    The second gradient comes from the extra argument `grad_fn`, a function from parameters to gradients on the same
    batch: `oc.apply(tx, grads, state, params, grad_fn=lambda p: jax.grad(loss)(p, batch))`, within the jitted step. It
    passes through chains and guards; around accumulation, `sam(accumulate(tx, 4))`, each micro-batch has its own. The
    parameters that it gets are float32 or wider.

    Args:
        tx: any transformation; all of it sees the second gradient, so that a clip before it is not one of that.
        rho: :math:`\rho`, radius of the neighborhood, at least 0; a number or a schedule.

    Shapes and dtypes: any; the norm is that of all leaves, in float32 or wider. It stands outside of masks and groups,
    for `grad_fn` takes whole parameters. A gradient of 0 perturbs nothing.

    Differs from the paper: the norm is Euclidean (p = 2).

    Raises:
        ValueError: no `grad_fn`, or one that returns other leaves than the parameters; no parameters.

    References:
        Foret et al., 2020, Algorithm 1 and equation 2. https://arxiv.org/abs/2010.01412

    >>> import optchain as oc
    >>> tx = oc.sam(oc.sgd(0.1, momentum=0.9), rho=0.05)
    """

def centralize(*, mask: Mask | None = None) -> Transform:
    r"""Subtracts from the update of each output's weights their mean.

    .. math::
        u_{ij} = g_{ij} - \frac{1}{m} \sum_{k=1}^{m} g_{kj}

    where j counts the last axis, the outputs, and i all the others. Vectors and scalars pass.

    Fields: none.

    Shapes and dtypes: any. A kernel has its outputs last, as in Flax: (h, w, i, o) is centralized over its first three
    axes. For one with several axes of outputs, such as (d, heads, features), give a view with `as_matrices`. Leave
    embeddings out with a mask: they have no outputs.

    Differs from the paper: nothing. optax and torch take the first axis for the outputs, where torch has them: in
    optax too the mean is over the outputs of each input of a Flax kernel.

    References:
        Yong et al., 2020, equation 1. https://arxiv.org/abs/2004.01461

    >>> import optchain as oc
    >>> tx = oc.chain(oc.centralize(mask="*/kernel"), oc.scale_by_adam(), oc.scale_by_learning_rate(1e-3))
    """

def scale_by_cocob(alpha: Number = 100.0, eps: Number = 1e-08, *, mask: Mask | None = None) -> Transform:
    r"""Steps downhill to the next bet on the sign of the gradient, without any rate; its update is added as it is.

    .. math::
        L \leftarrow \max(L, |g|), \qquad G \leftarrow G + |g|, \qquad R \leftarrow \max(R - g (p - p_0), 0), \qquad
        \theta \leftarrow \theta - g

        u = p_0 + \frac{\theta}{L \max(G + L, \alpha L)} (L + R) - p

    A constant factor of g changes nothing (but for `eps`).

    Fields:
        alpha: :math:`\alpha`, > 0; the first step is :math:`1 / \alpha`, in the units of p.
        eps: the first L, in the units of g, at least 0.

    Shapes and dtypes: any; all slots are like the parameter, in float32 or wider; `start` is a copy of it. It reads the
    parameters.

    Differs from the paper: L begins at `eps`, as in optax, not at 0. An entry that never had a gradient stays at
    :math:`p_0`.

    References:
        Orabona and Tommasi, 2017, Algorithm 2. https://arxiv.org/abs/1705.07795
    """

def scale_by_dadapt_adam(
    learning_rate: Number = 1.0,
    *,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    estim_lr0: Number = 1e-06,
    weight_decay: Number = 0.0,
    bias_correction: bool = False,
    mask: Mask | None = None,
) -> Transform:
    r"""Makes the whole step of Adam, with a rate that bounds the distance from the start to the solution from below.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) \eta d g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        u = \frac{\mu}{\sqrt\nu + \epsilon} + \lambda \eta d p

        r \leftarrow \sqrt{b_2} r + (1 - \sqrt{b_2}) \eta d \Big\langle g, \frac{s}{\sqrt\nu + \epsilon} \Big\rangle,
        \qquad s \leftarrow \sqrt{b_2} s + (1 - \sqrt{b_2}) \eta d g, \qquad
        d \leftarrow \max\Big(d, \frac{r}{(1 - \sqrt{b_2}) \lVert s \rVert_1}\Big)

    Norms and products are over all leaves together, and r sees the old s. Only a change of sign may follow this link.

    Fields:
        learning_rate: :math:`\eta`, a factor of the estimated rate, any finite number; leave it at 1, or give it a
            schedule that begins or peaks at 1.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: :math:`\epsilon`, added to the root, in the units of g, at least 0.
        estim_lr0: the first d, in the units of p, > 0; smaller than the distance that is looked for.
        weight_decay: :math:`\lambda`, decoupled, at least 0.
        bias_correction: multiply :math:`\eta` by Adam's corrections, :math:`\sqrt{1 - b_2^t} / (1 - b_1^t)`.

    Metrics: `d`, the estimate that the next step uses.

    Shapes and dtypes: any; the slots are in float32 or wider. It reads the parameters. The link keeps the weight that
    each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each. Both r and s have
    one weight, but :math:`1 - \sqrt{b_2}` is that of the step: a :math:`b_2` that rises raises the estimate, and d
    keeps its largest.

    Learning rates of groups may differ under the one estimate: a group of a smaller rate is one whose parameters are
    measured in other units, see `optchain.core.joint`. The authors' code takes 0, which leaves a group out, and no
    other difference.

    Differs from the paper: `weight_decay` and `bias_correction` are those of the authors' code, off by default. The
    code divides by the old root in r.

    References:
        Defazio and Mishchenko, 2023, Algorithm 5. https://arxiv.org/abs/2301.07733
    """

def scale_by_dadapt_sgd(
    learning_rate: Number = 1.0,
    momentum: Number = 0.9,
    estim_lr0: Number = 1e-06,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Makes the whole step of SGD, with a rate that bounds the distance from the start to the solution from below.

    .. math::
        \lambda = \eta d / \lVert g_1 \rVert, \qquad r \leftarrow r + \lambda \langle g, s \rangle, \qquad
        s \leftarrow s + \lambda g, \qquad d \leftarrow \max(d, 2 r / \lVert s \rVert), \qquad
        u = \mu \leftarrow b \mu + (1 - b) \lambda g

    Norms and products are over all leaves together, and :math:`\lambda` uses the old d. Only a change of sign may
    follow this link.

    Fields:
        learning_rate: :math:`\eta`, a factor of the estimated rate, any finite number; leave it at 1, or give it a
            schedule that begins or peaks at 1.
        momentum: b, in [0, 1).
        estim_lr0: the first d, in the units of p, > 0; smaller than the distance that is looked for.

    Metrics: `d`, the estimate that the next step uses.

    Shapes and dtypes: any; the slots are in float32 or wider.

    Learning rates of groups may differ under the one estimate: a group of a smaller rate is one whose parameters are
    measured in other units, see `optchain.core.joint`. The authors' code takes 0, which leaves a group out, and no
    other difference.

    Differs from the paper: there the iterates, not the steps, are averaged, :math:`p \leftarrow b p + (1 - b) z` with
    :math:`z = p_0 - s`, which makes the same steps where b is constant. The first gradient that counts in
    :math:`\lambda` is the first that is not 0.

    References:
        Defazio and Mishchenko, 2023, Algorithm 4. https://arxiv.org/abs/2301.07733
    """

def scale_by_dog(
    learning_rate: Number = 1.0,
    *,
    reps_rel: Number = 1e-06,
    eps: Number = 1e-08,
    mask: Mask | None = None,
) -> Transform:
    r"""Makes the whole step of SGD, with the distance moved so far over the root of all squared gradients as its rate.

    .. math::
        r \leftarrow \max(r, \lVert p - p_0 \rVert), \qquad G \leftarrow G + \lVert g \rVert^2, \qquad
        u = \eta \frac{r}{\sqrt{G + \epsilon}} g, \qquad r_0 = \alpha (1 + \lVert p_0 \rVert)

    Norms are over all leaves together. The distance :math:`p - p_0` is the sum of the steps made, so that it is exact
    where parameters of low precision have not moved yet: only a change of sign may follow this link. The authors
    evaluate an average of the iterates, as `average_params` after that keeps it.

    Fields:
        learning_rate: :math:`\eta`, a factor of the rate, any finite number; leave it at 1, or give it a schedule.
        reps_rel: :math:`\alpha`, the first step over the size of the parameters, > 0; 1e-4 with batch normalization.
        eps: :math:`\epsilon`, in the units of g**2, at least 0.

    Metrics: `distance`, r, and `step`, the factor of g.

    Shapes and dtypes: any; the slots are in float32 or wider. `init` reads the parameters' values.

    Learning rates of groups may differ under the one estimate: a group of a smaller rate is one whose parameters are
    measured in other units, see `optchain.core.joint`.

    Differs from the paper: `eps` is that of the authors' code.

    References:
        Ivgi, Hinder and Carmon, 2023, equation DoG. https://arxiv.org/abs/2302.12022
    """

def scale_by_dowg(
    learning_rate: Number = 1.0,
    init_estim_sq_dist: Number = 0.0001,
    eps: Number = 0.0001,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Makes the whole step of SGD, with the squared distance moved over the root of weighted squared gradients.

    .. math::
        r^2 \leftarrow \max(r^2, \lVert p - p_0 \rVert^2), \qquad v \leftarrow v + r^2 \lVert g \rVert^2, \qquad
        u = \eta \frac{r^2}{\sqrt{v} + \epsilon} g

    Norms are over all leaves together. The distance :math:`p - p_0` is the sum of the steps made, so that it is exact
    where parameters of low precision have not moved yet: only a change of sign may follow this link.

    Fields:
        learning_rate: :math:`\eta`, a factor of the rate, any finite number; leave it at 1, or give it a schedule.
        init_estim_sq_dist: the first :math:`r^2`, in the units of p**2, > 0.
        eps: :math:`\epsilon`, in the units of p times g, at least 0.

    Metrics: `distance`, r, and `step`, the factor of g.

    Shapes and dtypes: any; the slots are in float32 or wider.

    Learning rates of groups may differ under the one estimate: a group of a smaller rate is one whose parameters are
    measured in other units, see `optchain.core.joint`.

    Differs from the paper: `eps`, absent there, is that of optax.

    References:
        Khaled, Mishchenko and Jin, 2023, Algorithm 1. https://arxiv.org/abs/2305.16284
    """

def fromage_step(learning_rate: Number, min_norm: Number = 0.0, *, mask: Mask | None = None) -> Transform:
    r"""Takes a step of a fraction of the parameter's norm, and shrinks the result so that norms do not grow.

    .. math::
        u = \frac{1}{\sqrt{1 + \eta^2}} \left(p - \eta \frac{\lVert p \rVert}{\lVert g \rVert} g\right) - p

    It stands in the place of `scale_by_learning_rate`. The ratio is 1 where either norm is 0.

    Fields:
        learning_rate: :math:`\eta`, the step over the norm of the parameter, at least 0; 0.01 in the paper.
        min_norm: the least that either norm counts for, at least 0.

    Shapes and dtypes: any; the norms are summed in float64. It reads the parameters: `update` without them is an error.

    Differs from the paper: nothing; what is done where a norm is 0 is that of its authors' code. `min_norm` is
    that of optax, where it is 1e-6 by default, so that a bias that begins at 0 hardly moves.

    References:
        Bernstein et al., 2020, Algorithm 1. https://arxiv.org/abs/2002.03432

    >>> import optchain as oc
    >>> tx = oc.fromage(0.01)
    """

def hypergradient(tx: Any, learning_rate: float, hyper_learning_rate: float) -> Transform:
    r"""Multiplies the updates of any optimizer by a rate that goes downhill itself, by the gradient along the last one.

    .. math::
        v' = \mathrm{tx}(g), \qquad \eta \leftarrow \eta - \beta \langle g, v \rangle, \qquad u = \eta v'

    The rate grows as long as the gradient points where the last update v pointed, and may become negative.

    Args:
        tx: any transformation whose updates are to be added, of rate 1: `oc.sgd(1.0)` makes this SGD-HD,
            `oc.nesterov(1.0)` SGDN-HD and `oc.adam(1.0)` Adam-HD.
        learning_rate: the first :math:`\eta`, at least 0.
        hyper_learning_rate: :math:`\beta`, at least 0, in units of the rate over those of the loss; the paper takes
            about 1e-3 for SGD and 1e-7 for Adam.

    Metrics: `hypergradient.rate`, :math:`\eta`.

    Shapes and dtypes: any; the slot `last`, v, is like the parameters, in float32 or wider.

    Differs from the paper: nothing.

    Raises:
        ValueError: a number out of its range.

    References:
        Baydin et al., 2017, Algorithms 4 to 6. https://arxiv.org/abs/1703.04782

    >>> import optchain as oc
    >>> tx = oc.hypergradient(oc.adam(1.0), learning_rate=1e-3, hyper_learning_rate=1e-7)
    """

def scale_by_lars(
    weight_decay: Number = 0.0,
    trust_coefficient: Number = 0.001,
    eps: Number = 0.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Adds the weight decay to the update of each leaf and scales both to the norm of its parameter.

    .. math::
        u = c\, \frac{\lVert p \rVert}{\lVert g \rVert + \lambda \lVert p \rVert + \epsilon}\, (g + \lambda p)

    The factor is 1 where either norm is 0. The optimizer `lars` puts the learning rate and then
    the momentum after it.

    Fields:
        weight_decay: :math:`\lambda`, at least 0.
        trust_coefficient: c, the local learning rate, at least 0.
        eps: :math:`\epsilon`, added to the norms, at least 0.

    Shapes and dtypes: any; the norms are summed in float64. It reads the parameters: `update` without them is an error.
    A leaf outside the mask (biases, scales) is neither decayed nor scaled.

    Differs from the paper: :math:`\epsilon`, which is 0 there. optax scales by the norm of
    :math:`g + \lambda p` instead of the sum of the two norms: the same without decay.

    References:
        You, Gitman and Ginsburg, 2017, Algorithm 1. https://arxiv.org/abs/1708.03888

    >>> import optchain as oc
    >>> tx = oc.lars(1.0, weight_decay=1e-4, mask=oc.is_kernel)
    """

def scale_by_ldog(
    learning_rate: Number = 1.0,
    *,
    reps_rel: Number = 1e-06,
    eps: Number = 1e-08,
    mask: Mask | None = None,
) -> Transform:
    r"""Makes the whole step of SGD, with a rate for each leaf: how far it moved over the root of its squared gradients.

    .. math::
        r \leftarrow \max(r, \lVert p - p_0 \rVert), \qquad G \leftarrow G + \lVert g \rVert^2, \qquad
        u = \eta \frac{r}{\sqrt{G + \epsilon}} g, \qquad r_0 = \alpha (1 + \lVert p_0 \rVert)

    As `scale_by_dog`, but norms are over one leaf, or one declared layer.

    Fields:
        learning_rate: :math:`\eta`, a factor of the rates, any finite number; leave it at 1, or give it a schedule.
        reps_rel: :math:`\alpha`, the first step over the size of the leaf, > 0; 1e-4 with batch normalization.
        eps: :math:`\epsilon`, in the units of g**2, at least 0.

    Shapes and dtypes: any; the slots are in float32 or wider. `init` reads the parameters' values.

    Differs from the paper: `eps` is that of the authors' code.

    References:
        Ivgi, Hinder and Carmon, 2023, section on layer-wise DoG (L-DoG). https://arxiv.org/abs/2302.12022
    """

def normalize_by_leaf_norm(scale_factor: Number = 1.0, eps: Number = 1e-06, *, mask: Mask | None = None) -> Transform:
    r"""Scales the update of each leaf to a given norm.

    .. math::
        u = \frac{c\, g}{\lVert g \rVert + \epsilon}

    Fields:
        scale_factor: c, the norm of each leaf's update, any finite number.
        eps: :math:`\epsilon`, in the units of g, at least 0.

    Shapes and dtypes: any; the norm is summed in float64. An update of 0 stays 0, without `eps` too. A NaN or infinity
    spoils its whole leaf.

    Differs from the paper: :math:`\epsilon`, which is 0 there; a block is a leaf.

    References:
        Yu et al., 2017, Algorithm 1. https://arxiv.org/abs/1707.04822

    >>> import optchain as oc
    >>> tx = oc.chain(oc.trace(0.9), oc.normalize_by_leaf_norm(), oc.scale_by_learning_rate(0.1))
    """

def scale_by_learning_rate(learning_rate: Number, *, flip_sign: bool = True, mask: Mask | None = None) -> Transform:
    r"""Multiplies the update by the learning rate, downhill.

    .. math::
        u = -\eta g

    Fields:
        learning_rate: :math:`\eta`, any finite number, usually positive.
        flip_sign: False leaves the sign alone, :math:`u = \eta g`.

    Shapes and dtypes: any.

    Differs from the paper: nothing.

    References:
        Robbins and Monro, 1951, equation 6. doi:10.1214/aoms/1177729586
    """

def mechanize(
    tx: Any,
    weight_decay: float = 0.01,
    eps: float = 1e-08,
    s_init: float = 1e-06,
    num_betas: int = 6,
) -> Transform:
    r"""Scales the sum of any optimizer's updates by a factor that it learns: a learning rate is no longer needed.

    .. math::
        h = \Big\langle \Delta, g + \lambda s \frac{\lVert g \rVert}{\lVert p \rVert} p \Big\rangle, \qquad
        m_i \leftarrow \max(b_i m_i, |h|), \qquad v_i \leftarrow b_i^2 v_i + h^2, \qquad
        r_i \leftarrow \max(b_i r_i - s_i h, 0)

        s_i \leftarrow \frac{s_{init} m_i / n + r_i}{\sqrt{v_i} + \epsilon}, \qquad s = \textstyle\sum_i s_i, \qquad
        \Delta' = \Delta + \mathrm{tx}(g), \qquad u = s' \Delta' - s \Delta, \qquad b_i = 1 - 10^{-i}

    The schedule of the optimizer within keeps its shape, and peaks at 1. Products and norms are over all leaves.

    Args:
        tx: any transformation whose updates are to be added, such as `oc.adam(1.0)`.
        weight_decay: :math:`\lambda`, at least 0; it acts on the scale alone.
        eps: :math:`\epsilon`, in the units of h, at least 0; positive where gradients may be 0.
        s_init: the scale of the second step, > 0; smaller than the one that is looked for. The first step has none.
        num_betas: n, how many decays :math:`b_i`, at least 1.

    Metrics: `mechanize.scale`, s.

    Shapes and dtypes: any; the slot `moved`, :math:`\Delta`, is like the parameters, in float32 or wider.

    Differs from the paper: nothing. :math:`\Delta` is kept, where optax computes it from the parameters, which in low
    precision have not moved yet; optax also begins at the scale `s_init` and clips h. The authors' program takes 1e-8
    for `s_init` and begins :math:`m_i` at 1e-6, so that its first scale is 98 `s_init`, near the 1e-6 of the second one
    here.

    Raises:
        ValueError: a number out of its range; at trace time, no parameters.

    References:
        Cutkosky, Defazio and Mehta, 2023, Algorithm 1. https://arxiv.org/abs/2306.00144

    >>> import optchain as oc
    >>> tx = oc.mechanize(oc.adamw(oc.warmup_cosine(peak=1.0, warmup=100, total=1000)))
    """

def scale_by_momo(
    learning_rate: Number = 1.0,
    beta: Number = 0.9,
    lower_bound: Number = 0.0,
    weight_decay: Number = 0.0,
    adapt_lower_bound: bool = False,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Makes the whole step of momentum, as far as a model of the loss sees it fall to its lower bound.

    .. math::
        \mu \leftarrow b \mu + (1 - b) g, \qquad \bar f \leftarrow b \bar f + (1 - b) f, \qquad
        \gamma \leftarrow b \gamma + (1 - b) \langle g, p \rangle

        \tau = \min\left(\eta, \frac{[(1 + \eta \lambda)(\bar f - f_{min} - \gamma) + \langle \mu, p \rangle]_+}
        {\lVert \mu \rVert^2}\right), \qquad u = p - \frac{p - \tau \mu}{1 + \eta \lambda}

    Products are over all leaves together, and means begin with their first sample. `update` and `oc.apply` take the
    extra argument `value`, the loss f; with None :math:`\tau = \eta`, and to give nothing is an error. What is kept is
    the difference
    :math:`\gamma - \langle \mu, p \rangle`, from the steps made, for the two would cancel: only a change of sign may
    follow this link.

    Fields:
        learning_rate: :math:`\eta`, the largest step, any finite number; rather too large than too small.
        beta: b, in [0, 1).
        lower_bound: :math:`f_{min}`, any finite number; 0 for most losses.
        weight_decay: :math:`\lambda`, decoupled and proximal, at least 0.
        adapt_lower_bound: estimate :math:`f_{min}` from the losses met, beginning with `lower_bound`, never below it:
            halved where the model lies below it, then :math:`\bar f - \gamma + \langle \mu, p \rangle -
            \tau \lVert \mu \rVert^2 / 2`.

    Metrics: `step`, :math:`\tau`, and `bound`, :math:`f_{min}`.

    Shapes and dtypes: any; the slots are in float32 or wider. It reads the parameters.

    Differs from the paper: nothing.

    References:
        Schaipp et al., 2023, Algorithm 1; appendix for the decay and the bound. https://arxiv.org/abs/2305.07583
    """

def scale_by_momo_adam(
    learning_rate: Number = 0.01,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-08,
    lower_bound: Number = 0.0,
    weight_decay: Number = 0.0,
    adapt_lower_bound: bool = False,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Makes the whole step of Adam, as far as a model of the loss sees it fall to its lower bound.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) g^2, \qquad
        D = \sqrt{\nu / (1 - b_2^t)} + \epsilon, \qquad \rho = 1 - b_1^t

        \bar f \leftarrow b_1 \bar f + (1 - b_1) f, \qquad \gamma \leftarrow b_1 \gamma + (1 - b_1) \langle g, p \rangle

        \tau = \min\left(\frac{\eta}{\rho}, \frac{[(1 + \eta \lambda)(\bar f - \rho f_{min} - \gamma) +
        \langle \mu, p \rangle]_+}{\langle \mu, \mu / D \rangle}\right), \qquad
        u = p - \frac{p - \tau \mu / D}{1 + \eta \lambda}

    Products are over all leaves together. `update` and `oc.apply` take the extra argument `value`, the loss f; with
    None :math:`\tau = \eta / \rho`, which is Adam, and to give nothing is an error. What is kept is the difference
    :math:`\gamma - \langle \mu, p \rangle`, from the steps made, for the two would cancel: only a change of sign may
    follow this link.

    Fields:
        learning_rate: :math:`\eta`, the largest step, any finite number; rather too large than too small.
        b1: decay of the means, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: :math:`\epsilon`, added to the root, in the units of g, at least 0.
        lower_bound: :math:`f_{min}`, any finite number; 0 for most losses.
        weight_decay: :math:`\lambda`, decoupled and proximal, at least 0.
        adapt_lower_bound: estimate :math:`f_{min}` from the losses met, beginning with `lower_bound`, never below it.

    Metrics: `step`, :math:`\tau`, and `bound`, :math:`f_{min}`.

    Shapes and dtypes: any; the slots are in float32 or wider. It reads the parameters. The link keeps the weight that
    each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each.

    Differs from the paper: nothing.

    References:
        Schaipp et al., 2023, Algorithm 2 (MoMo-Adam). https://arxiv.org/abs/2305.07583
    """

def scale_by_param_block_rms(min_scale: Number = 0.001, *, mask: Mask | None = None) -> Transform:
    r"""Multiplies the update of each leaf by the root mean square of its parameters.

    .. math::
        u = g \max\left(\epsilon, \sqrt{\mathrm{mean}\, p^2}\right)

    Fields:
        min_scale: :math:`\epsilon`, the least factor, in the units of p, positive: parameters that are 0 move too.

    Shapes and dtypes: any; the mean is taken in float32 or wider. It reads the parameters: `update` without them is an
    error.

    Differs from the paper: nothing; :math:`\epsilon` is :math:`\epsilon_2` there.

    References:
        Shazeer and Stern, 2018, section 8 and Algorithm 5. https://arxiv.org/abs/1804.04235
    """

def scale_by_polyak(
    f_min: Number = 0.0,
    max_learning_rate: Number = 1.0,
    eps: Number = 0.0,
    variant: str = "sps",
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Multiplies the update by the step that would lead to the lowest loss, were the loss linear.

    .. math::
        u = \min\left(\frac{f - f_{min}}{\lVert g \rVert^2 + \epsilon}, \gamma\right) g

    The norm is over all leaves together. `update` and `oc.apply` take the extra argument `value`, the loss f at the
    parameters where g was computed; with None the factor is :math:`\gamma`, and to give nothing is an error.

    Fields:
        f_min: :math:`f_{min}`, a lower bound of the loss, any finite number.
        max_learning_rate: :math:`\gamma`, the largest factor, > 0.
        eps: :math:`\epsilon`, in the units of g**2, at least 0.
        variant: "sps", or "sps+", which rests where the loss is below its bound, instead of stepping uphill.

    Metrics: `step`, the factor.

    Shapes and dtypes: any; sums are in float32 or wider. Where the divisor is 0, so is the factor.

    Errors: a ValueError while tracing, for another variant.

    Differs from the paper: `eps`; the paper's factor 1 / c is a rate that follows.

    References:
        Loizou et al., 2020, equation 3 (SPS max). https://arxiv.org/abs/2002.10542
    """

def scale_by_prodigy(
    learning_rate: Number = 1.0,
    *,
    b1: Number = 0.9,
    b2: Number = 0.999,
    beta3: float | None = None,
    eps: Number = 1e-08,
    estim_lr0: Number = 1e-06,
    estim_lr_coef: Number = 1.0,
    weight_decay: Number = 0.0,
    safeguard_warmup: bool = False,
    bias_correction: bool = False,
    mask: Mask | None = None,
) -> Transform:
    r"""Makes the whole step of Adam, with a rate that estimates the distance from the start to the solution.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) d g, \qquad \nu \leftarrow b_2 \nu + (1 - b_2) d^2 g^2, \qquad
        u = \eta d \left( \frac{\mu}{\sqrt\nu + d \epsilon} + \lambda p \right)

        r \leftarrow \sqrt{b_2} r + (1 - \sqrt{b_2}) \eta d^2 \langle g, p_0 - p \rangle, \qquad
        s \leftarrow \sqrt{b_2} s + (1 - \sqrt{b_2}) \eta d^2 g, \qquad
        d \leftarrow \max(d, c \, r / \lVert s \rVert_1)

    Norms and products are over all leaves together. The distance :math:`p_0 - p` is the sum of the steps made, so that
    it is exact where parameters of low precision have not moved yet: only a change of sign may follow this link.

    Fields:
        learning_rate: :math:`\eta`, a factor of the estimated rate, any finite number; leave it at 1, or give it a
            schedule that begins or peaks at 1.
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        beta3: decay of r and s, in [0, 1); None takes :math:`\sqrt{b_2}`.
        eps: :math:`\epsilon`, added to the root, in the units of g, at least 0.
        estim_lr0: the first d, in the units of p, > 0; smaller than the distance that is looked for.
        estim_lr_coef: c, a factor of the estimate, > 0.
        weight_decay: :math:`\lambda`, decoupled, at least 0.
        safeguard_warmup: leave :math:`\eta` out of s, so that d grows less while a warm-up keeps :math:`\eta` small.
        bias_correction: multiply :math:`\eta` by Adam's corrections, :math:`\sqrt{1 - b_2^t} / (1 - b_1^t)`.

    Metrics: `d`, the estimate that the next step uses.

    Shapes and dtypes: any; the slots are in float32 or wider. It reads the parameters. The link keeps the weight that
    each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers each. r and s have one
    weight, which their quotient takes out, whatever :math:`b_2` has been; d never falls when it changes.

    Learning rates of groups may differ under the one estimate: a group of a smaller rate is one whose parameters are
    measured in other units, see `optchain.core.joint`. The authors' code takes 0, which leaves a group out, and no
    other difference.

    Differs from the paper: `estim_lr_coef`, `weight_decay`, `safeguard_warmup` and `bias_correction` are those of the
    authors' code, and leave the paper's law alone by default; the code adds :math:`d \epsilon` with the new d.

    References:
        Mishchenko and Defazio, 2023, Algorithm 4. https://arxiv.org/abs/2306.06101
    """

def scale(step_size: Number, *, mask: Mask | None = None) -> Transform:
    """Multiplies the update by a factor.

    .. math::
        u = c g

    Fields:
        step_size: c, any finite number; negative descends.

    Shapes and dtypes: any.

    Differs from the paper: nothing.

    References:
        Robbins and Monro, 1951, equation 6. doi:10.1214/aoms/1177729586
    """

def scale_by_staleness(*, mask: Mask | None = None) -> Transform:
    r"""Divides the update by the staleness of the gradient.

    .. math::
        u = g / \max(\tau, 1)

    The staleness :math:`\tau` is the extra argument `staleness`: how many steps were made since the parameters that
    the gradient was computed at. `delayed` gives it to the links within it; a loop with real workers gives it to the
    update. A step that has none passes `staleness=None`, and the update stays as it is.

    Fields: none.

    Shapes and dtypes: any.

    Differs from the paper: nothing.

    References:
        Zhang et al., 2015, equation 6 (staleness-aware learning rates). https://arxiv.org/abs/1511.05950

    >>> import optchain as oc
    >>> tx = oc.delayed(oc.chain(oc.scale_by_staleness(), oc.sgd(0.1)), 4)
    """

def scale_by_trust_ratio(
    min_norm: Number = 0.0,
    trust_coefficient: Number = 1.0,
    eps: Number = 0.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    r"""Scales the update of each leaf to the norm of its parameter.

    .. math::
        u = c\, \frac{\max(\lVert p \rVert, m)}{\max(\lVert g \rVert, m) + \epsilon}\, g

    The factor is 1 where either norm is 0. After the moments and the decay this makes LAMB of Adam.

    Fields:
        min_norm: m, the least that either norm counts for, at least 0.
        trust_coefficient: c, the norm of the update over that of the parameter, at least 0.
        eps: :math:`\epsilon`, added to the norm of the update, at least 0.

    Shapes and dtypes: any; the norms are summed in float64. It reads the parameters: `update` without them is an error.
    A NaN or infinity spoils its whole leaf. Layers that are stacked in one array share one ratio unless they are
    declared with `over_layers`.

    Differs from the paper: :math:`\phi` of LAMB is the identity, bounded from below by `min_norm`.

    References:
        You et al., 2019, Algorithm 2. https://arxiv.org/abs/1904.00962

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_adam(), oc.scale_by_trust_ratio(), oc.scale_by_learning_rate(1e-3))
    """

def floor_update_ratio(min_ratio: Number, *, mask: Mask | None = None) -> Transform:
    r"""Scales the update of each leaf up, where it is too small for its parameter.

    .. math::
        u = g \max\left(1, \rho\, \frac{\lVert p \rVert}{\lVert g \rVert}\right)

    After the learning rate the ratio is that of the step that is taken. An update of 0 stays 0.

    Fields:
        min_ratio: :math:`\rho`, the least norm of the update over that of the parameter, at least 0.

    Shapes and dtypes: any; the norms are summed in float64. It reads the parameters: `update` without them is an error.
    A NaN or infinity spoils its whole leaf.

    Differs from the paper: it holds the relative size at a constant; here the constant bounds it from below.

    References:
        Kosson, Messmer and Jaggi, 2023 (rotational variants of optimizers). https://arxiv.org/abs/2305.17212

    >>> import optchain as oc
    >>> tx = oc.chain(oc.adam(1e-3), oc.floor_update_ratio(1e-4, mask=oc.is_matrix))
    """

def normalize_by_update_norm(scale_factor: Number = 1.0, eps: Number = 1e-06, *, mask: Mask | None = None) -> Transform:
    r"""Scales all updates together to a given norm.

    .. math::
        n = \sqrt{\textstyle\sum_{leaves} \lVert g \rVert^2}, \qquad u = \frac{c\, g}{n + \epsilon}

    Fields:
        scale_factor: c, the norm of the updates, any finite number.
        eps: :math:`\epsilon`, in the units of g, at least 0.

    Metrics: `norm`, the norm before.

    Shapes and dtypes: any; the norm is summed in float64. Updates of 0 stay 0, without `eps` too. A NaN or infinity
    spoils all leaves.

    Differs from the paper: :math:`\epsilon`, which is 0 there.

    References:
        Hazan, Levy and Shalev-Shwartz, 2015, Algorithm 2. https://arxiv.org/abs/1507.02030

    >>> import optchain as oc
    >>> tx = oc.chain(oc.normalize_by_update_norm(), oc.scale_by_learning_rate(0.1))
    """

def precision(
    tx: optax.GradientTransformation,
    params: str = "nearest",
    slots: str | Mapping[str, str] = "float32",
    seed: int | jax.Array = 0,
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
