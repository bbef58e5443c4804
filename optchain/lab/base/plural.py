"""Counts with their nouns."""


def plural(count: int, noun: str) -> str:
    """A count and its noun: `1 trial`, `2 trials`.

    Args:
        count: how many.
        noun: what one of them is called; more take an s.
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"
