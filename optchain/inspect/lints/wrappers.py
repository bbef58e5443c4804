"""What stands outside of a wrapper that should be within it, or the other way round."""

from collections.abc import Iterator

import jax

from optchain.inspect.lints import roles
from optchain.inspect.lints.finding import Finding, shortened
from optchain.inspect.lints.links import Link, is_wrapper
from optchain.inspect.lints.measure import attempt
from optchain.inspect.lints.subject import Subject

ACCUMULATE = frozenset(("accumulate", "MultiSteps"))
GUARDS = frozenset(("guard", "apply_if_finite"))


def counts_micro_batches(subject: Subject) -> Iterator[Finding]:
    """Averages and schedules that count micro-batches."""
    scheduled = {curve.where for curve in subject.curves}
    for accumulate, outside in _outside(subject, ACCUMULATE):
        counting = [x for x in outside if x.room == "averaging" or (x.where in scheduled and not is_wrapper(x))]
        if counting:
            names = tuple(dict.fromkeys(x.where for x in counting))
            says = f"it stands outside of {accumulate.where}, and counts micro-batches instead of steps"
            yield Finding("counts-micro-batches", "warning", names, says, f"move it into {accumulate.where}")


def clips_micro_batches(subject: Subject) -> Iterator[Finding]:
    """A clip of the gradients of micro-batches."""
    for accumulate, outside in _outside(subject, ACCUMULATE):
        first = subject.links.index(_inside(subject, accumulate)[0]) if _inside(subject, accumulate) else 0
        clips = [x for x in outside if x in subject.links[:first] and roles.is_gradient_clip(x.technique)]
        if clips:
            says = f"it clips each micro-batch, not their mean, in {accumulate.where}"
            cure = "put it within, as the first link, if the norm of the whole batch is meant"
            yield Finding("clips-micro-batches", "note", tuple(x.where for x in clips), says, cure)


def guard_too_narrow(subject: Subject) -> Iterator[Finding]:
    """What keeps a state before the guard that would keep NaN out of it."""
    for guard, outside in _outside(subject, GUARDS):
        inside = _inside(subject, guard)
        first = subject.links.index(inside[0]) if inside else 0
        before = [x for x in outside if x in subject.links[:first] and _remembers(x)]
        if before:
            names = tuple(x.where for x in before)
            says = f"{guard.where} rejects what is not finite, but behind {shortened(names)}, whose state"
            cure = "put the guard around the whole chain: oc.guard(oc.chain(...))"
            yield Finding("guard-too-narrow", "warning", names, f"{says} one NaN spoils for good", cure)


def average_before_the_end(subject: Subject) -> Iterator[Finding]:
    """An average of parameters that is told of another step than the one that is taken."""
    found: dict[tuple[str, ...], list[str]] = {}
    for path, line in subject.lines.items():
        for i, link in enumerate(line):
            later = [x.where for x in line[i + 1 :] if _changes(subject, x, path)]
            if link.technique in roles.AVERAGES and later:
                found.setdefault((link.where, *later), []).append(path)
    for (average, *later), paths in found.items():
        says = (
            f"it averages the parameters plus the update that reaches it, which {shortened(later)} changes afterwards"
        )
        cure = f"make {average} the last link"
        yield Finding("average-before-the-end", "error", (average,), f"{says} ({shortened(paths)})", cure)


def average_within(subject: Subject) -> Iterator[Finding]:
    """An average of parameters within what makes another step of the one that it sees."""
    for link in subject.everything:
        changing = [x for x in link.around if x.technique in roles.CHANGES_THE_STEP]
        if link.technique in roles.AVERAGES and changing:
            outer = changing[0]
            says = f"{outer.technique} changes the step afterwards: the average is not one of the parameters of the run"
            cure = f"put it behind: oc.chain(inner=oc.{outer.technique}(...), average=oc.{link.technique}(...))"
            yield Finding("average-within", "warning", (link.where,), says, cure)


def precision_without_effect(subject: Subject) -> Iterator[Finding]:
    """A wrapper that stores parameters exactly, but within a chain, which hands its links float32 parameters."""
    for wrapper in subject.wrappers if subject.narrow else ():
        chains = [x for x in wrapper.around if "" not in x.definition.children()]
        if wrapper.technique == "precision" and wrapper.definition.params != "nearest" and chains:
            says = f"within a chain it sees float32 parameters: {wrapper.definition.params!r} has no effect"
            cure = f"put it around the whole chain: oc.precision(oc.chain(...), params={wrapper.definition.params!r})"
            yield Finding("precision-without-effect", "error", (wrapper.where,), says, cure)


def _outside(subject: Subject, names: frozenset[str]) -> Iterator[tuple[Link, list[Link]]]:
    """Each transformation of these names, and what stands neither within it nor around it."""
    for link in subject.everything:
        if link.technique in names:
            yield (
                link,
                [x for x in subject.everything if link not in x.around and x not in link.around and x is not link],
            )


def _inside(subject: Subject, wrapper: Link) -> list[Link]:
    """The links within a wrapper; one of optax, within which nothing can be seen, is a link itself."""
    return [x for x in subject.links if wrapper in x.around or x is wrapper]


def _remembers(link: Link) -> bool:
    """Whether a link keeps means of gradients."""
    if link.room not in ("moments", "matrices"):
        return False
    state = attempt(lambda: jax.eval_shape(link.tx.init, link.params))
    return any(x.ndim for x in jax.tree.leaves(state))


def _changes(subject: Subject, link: Link, path: str) -> bool:
    """Whether a link changes small updates, as far as that is known."""
    return link.where in subject.alone and link.technique not in roles.AVERAGES and subject.factor(link, path) != 1.0
