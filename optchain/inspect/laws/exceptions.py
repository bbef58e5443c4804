"""The one table of exceptions: from which law a technique is exempt, and why. It counts for whatever contains it."""

SUMS = "adds numbers as large as the gradient, and a sum of two overflows; finite to 1e37"
GRAM = "multiplies entries of the gradient, which is finite for entries up to 1e18, as its docstring says"
MATRIX = "adds products of entries of the gradient and of orthogonal columns; finite to 1e36, as its docstring says"
FREQUENCIES = "a frequency is a sum of entries, up to 64 times as large as the largest; finite to 1e36, as it says"
LEVELS = "rounds to levels, and a small change of the gradient takes some entry to the next one"
SLOPES = "multiplies the gradients of two steps, which is finite for entries up to 1e18"


def _each(names: str, reason: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), reason)


_LARGE = _each("scale_by_kl_soap scale_by_kron scale_by_shampoo scale_by_soap", GRAM)
_LARGE |= _each("hypergradient mechanize", SLOPES)

EXCEPTIONS: dict[str, dict[str, str]] = {
    "stacked_layers": {"add_noise": "each leaf has random numbers of its own, and stacked layers are one leaf"},
    "huge_gradients": {
        "scale_by_param_block_rms": "multiplies the parameters by the size of the gradient, by 1e45 in three steps"
    },
    "one_gradient_of_1e37": _LARGE,
    "one_gradient_of_3e38": _LARGE
    | _each("scale_by_galore scale_by_apollo scale_by_dion scale_by_fira powersgd_mean", MATRIX)
    | _each("demo_mean", FREQUENCIES)
    | _each(
        "trace add_decayed_weights add_cautious_decayed_weights decay_to_init asam centralize reduce_variance", SUMS
    )
    | _each("scale_by_acprop scale_by_optimistic_gradient scale_by_param_block_rms floor_update_ratio cagrad", SUMS),
    "tiny_norms": {"scale_by_shampoo": "products of entries below 1e-19 are 0, and its update is the gradient there"},
    "derivatives": {"lbfgs": "its line search is a loop of unknown length, which has no reverse-mode derivative"}
    | _each("low_bit_mean qsgd_mean client_secure_mean", LEVELS),
    "size_of_state": {"lbfgs": "keeps `memory_size` differences of parameters and of gradients, as it says"},
    "forgotten_extra_arguments": {"guard": "checks the loss where it is given one, and asks for it with `max_value`"},
}
