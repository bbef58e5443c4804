"""Weight decay: in the wrong sense, too large, through the moments, on what is not a weight."""

from collections.abc import Iterator

from optchain.core.mask import is_kernel
from optchain.inspect.lints import roles
from optchain.inspect.lints.direction import climbing
from optchain.inspect.lints.finding import Finding, shortened
from optchain.inspect.lints.links import Link
from optchain.inspect.lints.subject import Subject

MUCH = 0.1  # of a weight in one step
MOST = 0.5
NOTABLE = 0.05  # a decay of which it matters what it applies to
L2_BY_PAPER = frozenset("scale_by_madgrad scale_by_cocob".split())  # whose papers add it to the gradient


def growth(subject: Subject) -> Iterator[Finding]:
    """Weights that grow by themselves."""
    turned = climbing(subject)  # another check says so
    paths = [path for path, c in _changes(subject).items() if c > 0 and path not in turned]
    if paths:
        c = _changes(subject)[paths[0]]
        says = f"without a gradient, each step adds {c:.2g} times the parameter to it, so that it grows"
        cure = "put the decay before the learning rate, which flips its sign: chain(moments, decay, rate)"
        yield Finding("growth", "error", _decays(subject, paths) or tuple(paths), f"{says} ({shortened(paths)})", cure)


def too_large(subject: Subject) -> Iterator[Finding]:
    """A decay that takes away much of a weight in every step."""
    paths = [path for path, c in _changes(subject).items() if c <= -MUCH]
    if paths:
        c = -min(_changes(subject)[path] for path in paths)
        says = f"each step takes away {c:.3g} of a weight"
        cure = "the decay is multiplied by the learning rate only where that stands after it; take a smaller one"
        severity = "error" if c >= MOST else "warning"
        where = _decays(subject, paths) or tuple(paths)
        yield Finding("decay-too-large", severity, where, f"{says} ({shortened(paths)})", cure)


def before_moments(subject: Subject) -> Iterator[Finding]:
    """A decay that goes through adaptive moments."""
    found: dict[tuple[str, str], list[str]] = {}
    for path, line in subject.lines.items():
        for i, link in enumerate(line):
            if not roles.is_decay(link.technique) or not _acts(subject, link, path):
                continue
            later = [x for x in line[i + 1 :] if subject.is_adaptive(x, path) and x.technique not in L2_BY_PAPER]
            if later:
                found.setdefault((link.where, later[0].where), []).append(path)
    for (decay, moments), paths in found.items():
        says = f"the decay of {shortened(paths)} is divided by the size of gradients in {moments} (L2, not decoupled)"
        cure = f"put {decay} after {moments} and before the learning rate, as adamw does"
        yield Finding("decay-before-moments", "warning", (decay, moments), says, cure)


def of_vectors(subject: Subject) -> Iterator[Finding]:
    """A large decay of biases and scales. A small one, such as the defaults of presets, hardly matters there."""
    by_radius = {path for link in subject.links if link.technique in roles.OWN_RADIUS for path in link.paths}
    kernels = {path for path, x in subject.shapes.items() if is_kernel(path, x)}
    for link in subject.links:
        decayed = [path for path in link.paths if abs(subject.decay(link, path)) >= NOTABLE]
        others = [path for path in decayed if path not in kernels | by_radius]
        if roles.is_decay(link.technique) and others and kernels & set(decayed):
            says = f"biases and scales decay too: {shortened(others)}"
            yield Finding("decay-of-vectors", "note", (link.where,), says, "decay kernels alone: mask=oc.is_kernel")


def _changes(subject: Subject) -> dict[str, float]:
    """What a step without gradients adds to each parameter, as a part of it, where it is that."""
    found = {path: [x.growth for x in steps if x.top] for path, steps in subject.still.items()}
    return {path: c[0] for path, c in found.items() if c and all(x is not None for x in c) and c[0] is not None}


def _decays(subject: Subject, paths: list[str]) -> tuple[str, ...]:
    """The links that add a part of one of the parameters."""
    return tuple(link.where for link in subject.links if any(subject.decay(link, path) for path in paths))


def _acts(subject: Subject, link: Link, path: str) -> bool:
    """Whether a decay is not 0, as far as that is known."""
    number = link.numbers.get("weight_decay")
    return callable(number) or number is None and bool(subject.decay(link, path)) or bool(number)
