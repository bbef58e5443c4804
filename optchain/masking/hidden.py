"""Which matrices are hidden, as far as the names in a model tell."""

import dataclasses
import functools
import re
from typing import Any

import jax

from optchain.core.layers import Layers
from optchain.core.mask import Choice, is_kernel, select
from optchain.core.paths import names_of

EMBEDDINGS = {"embed", "embeds", "embedding", "embeddings", "embedder", "emb", "posemb", "wte", "wpe"}
HEADS = {"head", "classifier", "logits", "unembed", "unembedding", "readout"}
TOKENS = {"token", "tokens"}
OUTERMOST = {"out", "output"}
# The keys of a module of attention, or of what projects to its queries, keys and values.
ATTENTION = re.compile(r"(q|k|v|kv|qkv|query|key|value)(_proj)?|.*(attention|attn)(_?\d+)?")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def is_hidden(path: str, p: jax.Array) -> bool:
    """A predicate for masks: kernels that are, by the keys of their path, neither embeddings nor heads.

    The last three keys count, each as a whole, in upper or lower case, with or without the number that Flax appends:

    - embeddings are `embed`, `embedding`, `emb`, `wte`, `wpe` and keys that begin or end with one of these words, such
      as `pos_emb`, `tok_embedding`, `embed_tokens` and `PatchEmbed_0`, and keys that end with `token`;
    - heads are `head`, `classifier`, `logits`, `unembed`, `readout` and keys that end with one of these words, such as
      `lm_head` and `LMHead_0`, and the outermost key if it is `out` or `output` and holds the leaf;
    - within attention (a key that ends with `attention` or `attn`, or is `query`, `key`, `value`, `qkv` or the like)
      only the keys that follow count: `MultiHeadDotProductAttention_0/query/kernel` and `.../out/kernel` are hidden;
    - all other kernels are hidden: `router/kernel` and `gate/kernel` of experts, `Dense_0/kernel` and `Dense_9/kernel`
      of a model whose layers have no names, the first and the last too. `print(oc.routing(tx, params))` shows them.

    What `is_kernel` leaves out (biases, scales, `A_log`) is not hidden.

    Args:
        path: of the leaf, its keys joined by slashes.
        p: the leaf.
    """
    return is_kernel(path, p) and not is_outer(path)


@functools.lru_cache(maxsize=4096)
def is_outer(path: str) -> bool:
    """Whether the keys of a path say that it is of an embedding or of a head."""
    keys = [key for i, key in enumerate(path.split("/")) if i or key != "params"]
    if keys[0].lower() in OUTERMOST and len(keys) <= 2:
        return True
    within = max((i for i, key in enumerate(keys) if ATTENTION.fullmatch(key.lower())), default=-1)
    # What lies deeper in a module called "embedder" or "head" are its own hidden layers.
    return any(map(_is_outer, keys[max(within + 1, len(keys) - 3) :]))


def _is_outer(key: str) -> bool:
    """Whether one key is that of an embedding or of a head."""
    words = [word.lower() for word in WORD.findall(key)]
    if not words:
        return False
    is_head = words[-1] in HEADS and words[-2:] != ["multi", "head"]
    return bool(EMBEDDINGS & {words[0], words[-1]}) or words[-1] in TOKENS or is_head or words[0] == "logits"


@dataclasses.dataclass(frozen=True)
class Hidden(Choice):
    """The mask of what `is_hidden`. Where it chooses none of the kernels it is an error, and no silent Adam."""

    def __str__(self) -> str:
        return is_hidden.__name__

    def over(self, tree: Any, layers: Layers | None = None) -> list[bool]:
        paths, kernel = names_of(tree), select(is_kernel, tree, layers)
        kernels = [path for path, here in zip(paths, kernel, strict=True) if here]
        inside = [here and not is_outer(path) for path, here in zip(paths, kernel, strict=True)]
        if kernels and not any(inside):
            problem = f"by their names all kernels are embeddings or heads: {', '.join(kernels[:3])}"
            raise ValueError(f"no matrix is hidden; {problem}; name those that are not hidden, or () if all are")
        return inside

    def takes(self, path: str, leaf: Any) -> bool:
        return is_hidden(path, leaf)
