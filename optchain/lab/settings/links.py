"""Tables of links, whose arguments are not checked before the links are built, and the places in them."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer

from optchain.lab.settings.places import absolute, is_place, relative


def placed(links: Any, folder: Path) -> Any:
    """Tables whose places, relative to a folder, are whole paths."""
    return with_places(links, lambda use: absolute(use, folder))


def relative_to(links: Any, folder: Path) -> Any:
    """Tables whose places, whole paths, are relative to a folder."""
    return with_places(links, lambda use: relative(use, folder))


def short(links: Any) -> Any:
    """Tables whose places have only the names of their files, to be shown."""
    return with_places(links, lambda use: use.rpartition("/")[2])


def with_places(links: Any, change: Callable[[str], str]) -> Any:
    """Tables in which every text that is a place is changed."""
    return each_value(links, lambda x: change(x) if is_place(x) else x)


def each_value(links: Any, change: Callable[[Any], Any]) -> Any:
    """Nested tables with every value in them changed."""
    if isinstance(links, dict):
        return {key: each_value(x, change) for key, x in links.items()}
    if isinstance(links, list):
        return [each_value(x, change) for x in links]
    return change(links)


# Of tables that are not checked, and may hold places: these are kept as whole paths.
PLACED = (
    AfterValidator(lambda x, info: placed(x, info.context["folder"]) if info.context else x),
    PlainSerializer(lambda x, info: relative_to(x, info.context["folder"]) if info.context else x),
)
Chain = Annotated[(dict[str, Any], *PLACED)]
