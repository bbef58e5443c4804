"""Inside `shard_map` a transformation sees one device's shard: what needs whole arrays there is refused, by name.

JAX says of every array over which mesh axes it varies from device to device, unless `shard_map` is called with
`check_vma=False`, or as `pmap`: there it says nothing, and nothing can be refused. An elementwise technique is right on
shards, and every technique is on arrays that are the same on all devices.
"""

from typing import Any

import jax
from jax.sharding import get_abstract_mesh

from optchain.core.paths import path_of
from optchain.core.spread import copies, spread, varying

OUTSIDE = "step outside of shard_map"


def require_whole(link: Any, updates: Any, params: Any) -> None:
    """What a definition that mixes receives is whole on every device, or an error names the leaf and the mesh axes.

    Args:
        link: the definition, one that `mixes`; it says in `within` of which leaves it needs whole arrays.
        updates: what it receives.
        params: the parameters, None where there are none.
    """
    if not get_abstract_mesh().manual_axes:
        return
    here = spread()
    named = set() if here is None else set(here.axes)
    for tree, kind, apart in ((updates, "update", link.collects), (params, "parameter", ())):
        for path, x in jax.tree.leaves_with_path(link.within(tree)):
            found = varying(x) - copies() - {*apart}
            if found & named and not link.on_shards:
                problem = f"under over_axes leaf {path_of(path)!r} is split over {sorted(map(str, found & named))}"
                raise ValueError(f"{link.name}: {problem}, and this technique has no law for shards; {OUTSIDE}")
            axes = sorted(map(str, found - named))
            if axes:
                over = f"the mesh ax{'i' if len(axes) == 1 else 'e'}s {', '.join(map(repr, axes))}"
                problem = f"inside shard_map the {kind} of leaf {path_of(path)!r} varies over {over}"
                reason = "so a device has a shard, and this technique looks across entries or draws by their place"
                cure = f"wrap it in oc.over_axes(tx, {tuple(axes) if len(axes) > 1 else axes[0]!r}), {OUTSIDE}, or"
                mean = f"average the gradients of parts of a batch first, jax.lax.pmean(grads, {tuple(axes)})"
                raise ValueError(f"{link.name}: {problem}, {reason}; {cure} {mean}")
