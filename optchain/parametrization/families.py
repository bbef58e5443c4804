"""The column of the paper's table that a technique stands in: what its update does when gradients are scaled."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from optchain.core.chain import Chain
from optchain.core.mask import select
from optchain.core.paths import nearest
from optchain.core.runner import Runner
from optchain.core.transform import definition_of, ours
from optchain.core.walk import dotted, main_numbers

ADAM, SGD = "adam", "sgd"
KINDS = (ADAM, SGD)

# Entry by entry, the update stays the same where gradients and what is added to them are multiplied by a number.
NORMALIZED = frozenset(
    f"scale_by_{name}"
    for name in (
        *("adam", "adamax", "adan", "ademamix", "adopt", "amsgrad", "belief", "laprop", "lion", "nadam", "rms", "rss"),
        *("sign", "signum", "simplified_ademamix", "stddev", "yogi"),
    )
)
LINEAR = frozenset({"trace", "ema"})  # of gradients that are multiplied by a number, the update is too
DECAYS = frozenset({"add_decayed_weights", "add_cautious_decayed_weights"})  # a multiple of the parameter is added
RATES = {"scale_by_learning_rate": "learning_rate", "scale": "step_size"}  # the number that multiplies the update
EPS = ("eps", "eps_root")


@dataclasses.dataclass(frozen=True)
class Scales:
    """What a leaf's numbers are multiplied by in one column of the table.

    Attributes:
        rate: the learning rate.
        gradient: the size of its gradient over that in the base model, which what is added to gradients follows.
    """

    rate: float
    gradient: float


Factors = dict[str, dict[str, float]]  # by the dotted name of a number, and the leaf's name


class Column:
    """Finds the column of each leaf, and the numbers of a transformation that its scales multiply.

    Args:
        tx: techniques and chains of them, or with `kind` anything that has a learning rate.
        kind: the column of all leaves; None to find it.
        scale_eps: whether what is added to gradients follows their size.

    Raises:
        ValueError: a technique that has no known rule, or no learning rate.
    """

    def __init__(self, tx: Any, kind: str | None, scale_eps: bool) -> None:
        self.kind, self.scale_eps = kind, scale_eps
        if kind is None:
            self.links = list(_links(tx))
            for prefix, link in self.links:
                _require_known(prefix, link)
        else:
            self.numbers = main_numbers(tx)
            if not _named(self.numbers, "learning_rate"):
                near = nearest("learning_rate", self.numbers)
                raise ValueError(f"mup: tx has no number learning_rate, which is what leaves have of their own; {near}")

    def kinds(self, tree: Any, paths: list[str]) -> dict[str, str]:
        """The column of each leaf."""
        if self.kind is not None:
            return dict.fromkeys(paths, self.kind)
        return {path: _kind(path, links) for path, links in self._of_leaves(tree, paths).items()}

    def factors(self, tree: Any, scales: Mapping[str, Scales]) -> Factors:
        """What multiplies which numbers, for each leaf of a tree."""
        found: Factors = {}
        for path, numbers in self._numbers(tree, list(scales)).items():
            for name, power in numbers:
                x = scales[path]
                factor = {"rate": x.rate, "decay": 1 / x.rate, "eps": x.gradient, "eps_root": x.gradient**2}[power]
                if factor != 1:
                    found.setdefault(name, {})[path] = factor
        return found

    def _numbers(self, tree: Any, paths: list[str]) -> dict[str, list[tuple[str, str]]]:
        """For each leaf the dotted names of numbers, and what each follows."""
        if self.kind is None:
            return {path: self._found(path, links) for path, links in self._of_leaves(tree, paths).items()}
        rates, decays = _named(self.numbers, "learning_rate"), _named(self.numbers, "weight_decay")
        return dict.fromkeys(paths, [*((name, "rate") for name in rates), *((name, "decay") for name in decays)])

    def _found(self, path: str, links: list[tuple[str, Any]]) -> list[tuple[str, str]]:
        """What the links of one leaf have: the rate that multiplies all, the decays before it, and eps."""
        last = next(
            (i for use in RATES for i in reversed(range(len(links))) if links[i][1].name == use),
            None,
        )
        if last is None:
            cure = "end the chain with oc.scale_by_learning_rate"
            raise ValueError(f"mup: no link of tx has a learning rate for leaf {path!r}; {cure}")
        found = [(dotted(links[last][0], RATES[links[last][1].name]), "rate")]
        for i, (prefix, link) in enumerate(links):
            if link.name in DECAYS and i < last:
                found.append((dotted(prefix, "weight_decay"), "decay"))
            if link.name in NORMALIZED and self.scale_eps:
                for name in EPS:
                    if name in link.numbers:
                        found.append((dotted(prefix, name), _unit(link.rule, name)))
        return found

    def _of_leaves(self, tree: Any, paths: list[str]) -> dict[str, list[tuple[str, Any]]]:
        """For each leaf the links that apply to it, in order."""
        applies = [select(link.mask, tree, link.layers) for _, link in self.links]
        return {
            path: [link for link, inside in zip(self.links, applies, strict=True) if inside[i]]
            for i, path in enumerate(paths)
        }


def _kind(path: str, links: list[tuple[str, Any]]) -> str:
    """The column of a leaf to which these links apply."""
    normalized = [i for i, (_, link) in enumerate(links) if link.name in NORMALIZED]
    for i, (prefix, link) in enumerate(links):
        if link.name in DECAYS and normalized and i < normalized[-1]:
            after = links[normalized[-1]][1].name
            problem = f"link {prefix or link.name!r} adds decay to what {after} normalizes (L2)"
            cure = f"put it after {after}, as AdamW does, or say kind='adam' to leave it as it is"
            raise ValueError(f"mup: leaf {path!r}: {problem}, for which no rule is known; {cure}")
    return ADAM if normalized else SGD


def _links(tx: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The single techniques of chains, in order, with their dotted names."""
    link = definition_of(tx)
    if type(link) is Chain:
        for name, inner in link.links:
            yield from _links(inner, dotted(prefix, name))
        return
    if not isinstance(link, Runner):
        cure = "wrappers stand outside, oc.guard(oc.mup(tx, base)), or say kind='adam' or 'sgd' if that is what it is"
        what = f"{link.name} is a wrapper" if ours(tx) else f"{tx!r} is not a transformation of optchain"
        raise ValueError(f"mup: {f'link {prefix!r}: ' if prefix else ''}{what}, and has no known rule; {cure}")
    yield prefix, link


def _require_known(prefix: str, link: Any) -> None:
    if link.name in NORMALIZED | LINEAR | DECAYS | RATES.keys():
        return
    cure = "say kind='adam' or kind='sgd' to scale its rate as theirs, or put it outside of mup"
    raise ValueError(f"mup: no rule is known for {link.name}{f' (link {prefix!r})' if prefix else ''}; {cure}")


def _unit(rule: Any, name: str) -> str:
    """Whether a number is added to gradients or to their squares."""
    fields = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule)}
    return "eps_root" if name == "eps_root" or fields.get("eps_in_sqrt") else "eps"


def _named(names: list[str], own: str) -> list[str]:
    return [name for name in names if name.rpartition(".")[2] == own]
