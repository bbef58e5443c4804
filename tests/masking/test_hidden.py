"""Which matrices are hidden by the keys of their paths, in models of several libraries."""

import jax.numpy as jnp
import pytest

import optchain as oc

HIDDEN = """
MultiHeadDotProductAttention_0/query/kernel
MultiHeadDotProductAttention_0/out/kernel
params/encoder/layers_0/MultiHeadDotProductAttention_0/key/kernel
multi_head/query/kernel
Head_0/query/kernel
heads_0/value/kernel
blocks/3/attn/out/kernel
block/mlp/Dense_0/kernel
Dense_0/kernel
Dense_11/kernel
router/kernel
moe/gate/kernel
layers/0/weight
mlp/~/linear_0/w
token_mixing/Dense_0/kernel
text_embedder/layers_0/attn/query/kernel
text_embedder/layers_0/mlp/Dense_0/kernel
encoder/layer/0/output/dense/kernel
block/out/kernel
transformer/h/0/attn/c_attn/kernel
mixer/in_proj/kernel
lora_a
header/kernel
overhead/kernel
membership/kernel
"""
OTHERS = """
Embed_0/embedding
wte/embedding
transformer/wpe/embedding
pos_emb
encoder/posembed_input/pos_embedding
PatchEmbed_0/Conv_0/kernel
model/embed_tokens/embedding
tok_emb
token_embedder/embedding
shared/embedding
cls_token
attention/relative_attention_bias/embedding
lm_head/kernel
LMHead_0/kernel
head/kernel
Head_0/kernel
params/head/kernel
head/Dense_0/kernel
value_head/kernel
classifier/kernel
decoder/logits_dense/kernel
unembed/kernel
out/kernel
params/out/kernel
output/weight
"""
NO_KERNELS = """
block/bias
block/scale
attention/query/bias
mixer/A_log
mixer/dt_bias
norm/gamma
BatchNorm_0/beta
layer_scale
"""


@pytest.mark.parametrize("names, hidden, kernel", [(HIDDEN, 1, 1), (OTHERS, 0, 1), (NO_KERNELS, 0, 0)])
def test_names(names, hidden, kernel):
    for path in names.split():
        matrix, vector = jnp.ones((2, 3)), jnp.ones(3)
        assert (oc.is_hidden(path, matrix), oc.is_kernel(path, matrix)) == (hidden, kernel), path
        assert not oc.is_hidden(path, vector) and not oc.is_kernel(path, vector)


def test_the_predicate_is_a_mask():
    params = {"mlp": {"kernel": jnp.ones((2, 2))}, "head": {"kernel": jnp.ones((2, 2))}}
    tx = oc.scale(0.0, mask=oc.is_hidden)
    updates, _ = tx.update(params, tx.init(params))
    assert not updates["mlp"]["kernel"].any() and updates["head"]["kernel"].all()
