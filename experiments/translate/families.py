"""The families of optimizers that the survey compares, and those that it could not know yet."""

from collections.abc import Collection

GRADIENT, ADAPTIVE, MOMENTS, LATER = "gradient descent", "adaptive gradients", "adaptive moments", "later ones"
SURVEYED = (GRADIENT, ADAPTIVE, MOMENTS)
MEMBERS = {
    GRADIENT: ("gradient_descent", "sgd", "momentum", "nesterov"),
    ADAPTIVE: ("adagrad", "adadelta", "rmsprop"),
    MOMENTS: ("adam", "adamw", "nadam", "amsgrad"),
}


def family_of(optimizer: str) -> str:
    """The family of an optimizer by its name in a comparison; with what follows a hyphen, such as a schedule."""
    name = optimizer.split("-")[0]
    return next((family for family, members in MEMBERS.items() if name in members), LATER)


def members(family: str, optimizers: Collection[str]) -> list[str]:
    """The optimizers that belong to a family, in their order."""
    return [name for name in optimizers if family_of(name) == family]
