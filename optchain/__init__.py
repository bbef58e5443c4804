"""Composable, pure gradient transformations for JAX."""

from optchain.clipping.global_norm import clip_by_global_norm as clip_by_global_norm
from optchain.core.chain import chain as chain
from optchain.core.chain import metrics as metrics
from optchain.core.chain import with_metrics as with_metrics
from optchain.core.chain import without_metrics as without_metrics
from optchain.core.dense import lift as lift
from optchain.core.mask import is_matrix as is_matrix
from optchain.core.rule import rule as rule
from optchain.core.schedule import schedule as schedule
from optchain.core.transform import apply as apply
from optchain.core.transform import shardings as shardings
from optchain.decay.decoupled import add_decayed_weights as add_decayed_weights
from optchain.moments.adam import scale_by_adam as scale_by_adam
from optchain.scaling.learning_rate import scale_by_learning_rate as scale_by_learning_rate
