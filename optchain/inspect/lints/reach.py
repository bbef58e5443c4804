"""Parameters that never move, and such as move although a link has set their update to zero."""

from collections.abc import Iterator

from optchain.inspect.lints import roles
from optchain.inspect.lints.finding import Finding, shortened
from optchain.inspect.lints.links import Link
from optchain.inspect.lints.subject import Subject

MOVES = frozenset("add_noise decay_to_init keep_params_norm".split())  # what moves a parameter without an update


def never_moves(subject: Subject) -> Iterator[Finding]:
    """Parameters that nothing moves, though no group freezes them."""
    still = [
        path for path, steps in subject.small.items() if path not in subject.frozen and not any(x.top for x in steps)
    ]
    if not still or any(link.technique == "delayed" for link in subject.wrappers):
        return
    zero = [link.where for link in subject.links if any(subject.factor(link, path) == 0 for path in still)]
    if len(still) + len(subject.frozen) >= len(subject.small):
        says = "no parameter moves"
        cure = "give the learning rate a value above 0; oc.explain(...) says which link makes the update 0"
        yield Finding("never-moves", "error", tuple(zero) or tuple(still), says, cure)
        return
    # A mask on the update, or a factor of 0 in a group, is meant.
    still = [path for path in still if subject.is_open and not _is_meant(subject, path)]
    if still:
        says = "these parameters never move, while others do"
        cure = 'if that is meant, say so and save their state: oc.groups(tx, {pattern: oc.FROZEN, "*": {}})'
        yield Finding("never-moves", "warning", tuple(still), says, cure)


def moves_again(subject: Subject) -> Iterator[Finding]:
    """Updates that one link sets to zero and a later one makes anew."""
    found: dict[tuple[str, str], list[str]] = {}
    for path, line in subject.lines.items():
        for i, link in enumerate(line):
            if not _zeroes(subject, link, path):
                continue
            later = [x for x in line[i + 1 :] if _adds(subject, x, path)]
            if later:
                found.setdefault((link.where, later[0].where), []).append(path)
    for (zero, adds), paths in found.items():
        says = f"{zero} sets updates of {shortened(paths)} to zero, and {adds} moves them all the same"
        cure = f'put {zero} last, give {adds} a mask, or freeze them: oc.groups(tx, {{pattern: oc.FROZEN, "*": {{}}}})'
        yield Finding("moves-again", "error", (zero, adds), says, cure)


def _is_meant(subject: Subject, path: str) -> bool:
    """Whether a link or a wrapper on the line of a parameter is there to keep it."""
    line = subject.lines.get(path, [])
    rooms = {x.room for link in line for x in (link, *link.around)}
    return bool(rooms & {"masking", "pruning"}) or any(_zeroes(subject, link, path) for link in line)


def _zeroes(subject: Subject, link: Link, path: str) -> bool:
    """Whether a link makes the update of a parameter zero, or masks entries of it."""
    alone = subject.alone.get(link.where, {}).get(path)
    if link.technique == "mask_updates":
        return alone is not None and alone[0].uu < alone[0].gg  # some entries, at least
    is_made = link.technique in roles.MULTIPLIERS or link.technique == "set_to_zero" or link.is_opaque
    return is_made and alone is not None and not any(x.top for x in alone) and subject.factor(link, path) == 0


def _adds(subject: Subject, link: Link, path: str) -> bool:
    """Whether a link moves a parameter whose update is zero."""
    alone = subject.alone.get(link.where, {}).get(path)
    return alone is not None and alone[2].top > 0 and (roles.is_decay(link.technique) or link.technique in MOVES)
