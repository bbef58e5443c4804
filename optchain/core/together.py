"""Trees in whose leaves several parameters lie together: what looks at single parameters must not take them."""

from typing import Any


class Together:
    """A base class of such trees, which are pytrees."""

    def require_taken(self, definition: Any) -> None:
        """The outermost definition may take this tree, or an error says why not."""
        raise NotImplementedError


def require_taken(definition: Any, params: Any, updates: Any) -> None:
    """Such trees are taken, and gradients are packed if the parameters are, or an error says what to do."""
    together = [isinstance(tree, Together) for tree in (params, updates)]
    if params is not None and together[0] != together[1]:
        one, other = ("parameters", "gradients") if together[0] else ("gradients", "parameters")
        cure = "take gradients of packed parameters, or oc.pack(tx, ...) both"
        raise ValueError(f"{definition.name}: the {one} are packed and the {other} are not; {cure}")
    if together[1]:
        updates.require_taken(definition)
