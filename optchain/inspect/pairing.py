"""Which link of an edited chain continues which link of the earlier one, and where the names leave that open."""

import re
from collections.abc import Iterator, Mapping

from optchain.core.paths import nearest
from optchain.inspect.entries import Entry, joined

Entries = dict[str, Entry]
Renames = Mapping[str, str | None]
WEIGHTS = {"seen", "weight", "mu_missed", "nu_missed", "log", "lost"}


def target(name: str, renames: Renames) -> str | None:
    """The new name of an entry, or None if it is to be dropped; the longest name of a chain around it decides."""
    keys = [key for key in renames if key in ("", name) or name.startswith(f"{key}.")]
    if not keys:
        return name
    key = max(keys, key=len)
    to, rest = renames[key], name[len(key) :].removeprefix(".")
    return None if to is None else joined(to, rest)


def pair(before: Entries, after: Entries, renames: Renames) -> tuple[dict[str, str], list[str]]:
    """The old name for each new name that continues something, and what is wrong with the renames."""
    pairs: dict[str, str] = {}
    problems = []
    for name in before:
        new = target(name, renames)
        if new is None or new not in after:
            continue
        if new not in pairs:
            pairs[new] = name
        elif after[new].is_link:
            problems.append(f"both {pairs[new]!r} and {name!r} would become {new!r}; drop one of them with None")
    for key, to in renames.items():
        moved = [name for name in before if key in ("", name) or name.startswith(f"{key}.")]
        if not moved:
            problems.append(f"renames: the old state has no link {key!r}; {nearest(key, before)}")
        elif to is not None and not any(target(name, renames) in after for name in moved):
            problems.append(f"renames: the new chain has no link {to!r}; {nearest(to, after)}")
    return pairs, problems


def numbered(before: Entries, after: Entries, renames: Renames) -> Iterator[str]:
    """Links named by number in a chain whose links have changed: which is which cannot be told."""
    old, new = _siblings(before), _siblings(after)
    for (parent, is_link), names in old.items():
        moved = target(parent, renames)
        there = names if moved is None else new.get((moved, is_link), set())
        if names == there:
            continue
        families = {base for siblings in (names, there) for base in siblings if f"{base}_2" in siblings}
        unsure = [joined(parent, name) for name in sorted(names) if _base(name) in families]
        if any(name not in renames for name in unsure):
            table = "{" + ", ".join(f"{name!r}: {name!r}" for name in unsure) + "}"
            yield (
                f"names by number tell nothing where the links have changed, from {', '.join(sorted(names))} to "
                f"{', '.join(sorted(there)) or 'none'}; name the links, and say which is which: renames={table}"
            )


def unclear(before: Entries, after: Entries, pairs: dict[str, str], renames: Renames) -> Iterator[str]:
    """Links that are gone beside new ones with the same slots: renamed, or really another?"""
    continued = set(pairs.values())
    for name, entry in before.items():
        if name in continued or target(name, renames) is None or _only_counts(entry):
            continue
        alike = [x for x in after if x not in pairs and _heads(after[x]) == _heads(entry)]
        if alike:
            names = " or ".join(map(repr, alike))
            choices = [*(f"renames={{{name!r}: {x!r}}}" for x in alike), f"renames={{{name!r}: None}} to drop it"]
            yield f"{name!r} is gone, and the new {names} has the same slots; say {' or '.join(choices)}"


def _siblings(entries: Entries) -> dict[tuple[str, bool], set[str]]:
    """The links of each chain, and apart from them what wrappers keep there."""
    siblings: dict[tuple[str, bool], set[str]] = {}
    for entry in entries.values():
        parts = entry.name.split(".")
        for depth, part in enumerate(parts):
            is_link = not part.endswith(")")
            siblings.setdefault((".".join(parts[:depth]), is_link), set()).add(part.strip("()"))
    return siblings


def _base(name: str) -> str:
    return re.sub(r"_\d+$", "", name)


def _heads(entry: Entry) -> set[str]:
    """The names of the slots, without the weights that means have seen, of which version 0.1 kept few."""
    return {"".join(keys[:1]) for keys in entry.slots} - WEIGHTS


def _only_counts(entry: Entry) -> bool:
    """Whether nothing has been learned here that could be lost."""
    return _heads(entry) <= {"count", "step"}
