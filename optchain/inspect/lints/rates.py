"""Learning rates: none, several, and steps of a wrong size."""

from collections.abc import Iterator

from optchain.inspect.lints import roles
from optchain.inspect.lints.finding import APART, Finding, shortened
from optchain.inspect.lints.links import Link
from optchain.inspect.lints.subject import Subject

LARGE = 0.5  # root mean square of a step that is the same for gradients of any size
TINY = 1e-7  # of the parameter
SMALL_FACTOR = 0.05  # a factor below which it is a learning rate, whatever it is called


def two_rates(subject: Subject) -> Iterator[Finding]:
    """Two learning rates that multiply on one parameter."""
    found: dict[tuple[str, ...], list[str]] = {}
    for path in subject.lines:
        found.setdefault(tuple(link.where for link in _rates(subject, path)), []).append(path)
    for names, paths in found.items():
        if len(names) < 2:
            continue
        links = [link for link in subject.links if link.where in names]
        product = " and ".join(f"{_peak(subject, link, paths[0]):.3g}" for link in links)
        if subject.have_masks(names):
            says = f"their masks overlap: the rates {product} multiply on {shortened(paths)}"
            yield Finding("masks-overlap", "error", names, says, APART)
        else:
            says = f"the rates {product} multiply on {shortened(paths)}"
            yield Finding("two-rates", "warning", names, says, "keep one of them; a schedule can be the rate itself")


def rate_beside_own(subject: Subject) -> Iterator[Finding]:
    """A learning rate after a technique that finds its own."""
    found: dict[tuple[str, str], float] = {}
    for path, line in subject.lines.items():
        own = [link for link in line if link.technique in roles.OWN_RATE]
        for link in _rates(subject, path) if own else []:
            if (size := _peak(subject, link, path)) <= SMALL_FACTOR and link.technique in roles.MULTIPLIERS:
                found[own[0].where, link.where] = size
    for (own, rate), size in found.items():
        says = f"{own} finds the rate by itself, and {size:g} makes every step that much shorter"
        yield Finding("two-rates", "warning", (own, rate), says, "use scale(-1.0) there, or a schedule whose peak is 1")


def no_rate(subject: Subject) -> Iterator[Finding]:
    """No learning rate at all."""
    bare = [path for path in subject.lines if not has_rate(subject, path) and path in subject.small]
    if len(bare) < len(subject.lines):
        return
    as_large = [path for path in bare if _rms(subject, path) >= LARGE and subject.is_normalized(path)]
    whole = [path for path in bare if path not in as_large and _is_whole(subject, path)]
    cure = "end the chain with scale_by_learning_rate(rate)"
    if as_large:
        last = subject.lines[as_large[0]][-1]
        none = "there is no learning rate" if subject.is_open else "there is no learning rate, or one of about 1"
        says = f"{none}: every step moves entries by about {_rms(subject, as_large[0]):.2g}"
        yield Finding("no-rate", "error", (last.where,), f"{says} ({shortened(as_large)})", cure)
    elif whole and subject.is_open:
        says = "there is no learning rate: a step is the whole gradient"
        yield Finding("no-rate", "warning", (subject.lines[whole[0]][-1].where,), f"{says} ({shortened(whole)})", cure)


def rate_out_of_reach(subject: Subject) -> Iterator[Finding]:
    """Parameters that move, but that no rate reaches, while it reaches others."""
    for names, paths in without_rate(subject).items():
        says = f"no learning rate reaches {shortened(paths)}, whose update is added as it is"
        cure = "widen the mask of the rate, or add a rate for the rest: mask=oc.Without(None, mask)"
        yield Finding("out-of-reach-of-rate", "error", names, says, cure)


def without_rate(subject: Subject) -> dict[tuple[str, ...], list[str]]:
    """The parameters that move without a rate, by the rates that others have."""
    rates = dict.fromkeys(link.where for link in subject.links for path in link.paths if subject.is_rate(link, path))
    if not rates or not subject.is_open:
        return {}
    bare = [path for path in subject.lines if not has_rate(subject, path) and _moves(subject, path)]
    return {tuple(rates): bare} if bare else {}


def has_rate(subject: Subject, path: str) -> bool:
    """Whether something on the line of a parameter says how long a step is."""
    line = subject.lines[path]
    around = {wrapper for link in line for wrapper in link.around}
    own = any(roles.finds_its_rate(link.technique) for link in (*line, *around))
    explicit = any(link.technique == "scale_by_learning_rate" for link in line)
    return own or explicit or any(subject.is_rate(link, path) for link in line)


def too_large(subject: Subject) -> Iterator[Finding]:
    """Steps that are as large as the parameters for any gradient."""
    paths = [
        path
        for path in subject.lines
        if path in subject.small
        and has_rate(subject, path)
        and subject.is_normalized(path)
        and _rms(subject, path) >= LARGE
        and max(x.share for x in subject.small[path]) > 1
        and not any(link.technique in roles.OWN_RADIUS for link in subject.lines[path])
    ]
    if paths:
        says = f"every step moves entries by about {_rms(subject, paths[0]):.2g}, for gradients of any size"
        cure = "take a smaller learning rate; 1e-3 is usual where steps are divided by their size"
        yield Finding("step-too-large", "warning", tuple(paths), says, cure)


def too_small(subject: Subject) -> Iterator[Finding]:
    """Steps that change nothing in float32."""
    paths = []
    for path, steps in subject.small.items():
        line = subject.lines.get(path, [])
        if any(roles.finds_its_rate(x.technique) for link in line for x in (link, *link.around)):
            continue  # which begins with a step that is far too small
        share = max(x.share for x in steps)
        if subject.is_normalized(path) and 0 < share < TINY and _counted(subject, path):
            paths.append(path)
    if paths:
        share = max(x.share for x in subject.small[paths[0]])
        says = f"a step is {share:.1g} of the parameter, less than the last digit of float32"
        yield Finding("step-too-small", "warning", tuple(paths), says, "take a larger learning rate")


def _counted(subject: Subject, path: str) -> bool:
    """Whether the rate of the trial is that of the run: what counts by itself may begin with a warm-up."""
    steps = subject.small[path]
    return subject.is_open or max(x.rms for x in steps) < 1.5 * min(x.rms for x in steps)


def _rates(subject: Subject, path: str) -> list[Link]:
    """The links that are the learning rate of a parameter, without factors that shape what the moments made."""
    found = []
    for link in subject.lines[path]:
        if subject.is_rate(link, path) and (link.technique in roles.MULTIPLIERS or link.is_opaque):
            size = _peak(subject, link, path)
            if size < 1 and (link.technique == "scale_by_learning_rate" or size <= SMALL_FACTOR):
                found.append(link)
    return found


def _peak(subject: Subject, link: Link, path: str) -> float:
    if link.is_opaque:
        return subject.alone[link.where][path][0].rms
    return abs(subject.factor(link, path) or 0.0)


def _rms(subject: Subject, path: str) -> float:
    return max(x.rms for x in subject.small[path])


def _is_whole(subject: Subject, path: str) -> bool:
    """Whether the first step is the gradient itself, with either sign."""
    first = next((x for x in subject.small[path] if x.top), None)
    return first is not None and first.factor is not None and abs(abs(first.factor) - 1) < 1e-4


def _moves(subject: Subject, path: str) -> bool:
    return any(x.top for x in subject.small.get(path, ()))
