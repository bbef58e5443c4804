"""The factor that makes the size of orthogonal updates independent of the shapes of the matrices."""

import math

from optchain.core.paths import nearest

SCALES = {
    "none": lambda rows, columns: 1.0,
    "width": lambda rows, columns: math.sqrt(max(1.0, columns / rows)),
    "spectral": lambda rows, columns: math.sqrt(columns / rows),
    "rms": lambda rows, columns: 0.2 * math.sqrt(max(rows, columns)),
}


def shape_scale(owner: str, scale: str, shape: tuple[int, ...]) -> float:
    r"""The factor of an update whose singular values are 1, for a kernel of `rows` inputs and `columns` outputs.

    ============  ==========================================  =================================================
    `"none"`      1
    `"width"`     :math:`\sqrt{\max(1, columns / rows)}`      Jordan et al., 2024
    `"spectral"`  :math:`\sqrt{columns / rows}`               outputs change equally: arXiv 2310.17813, condition 1
    `"rms"`       :math:`0.2 \sqrt{\max(rows, columns)}`      the root mean square of AdamW's: arXiv 2502.16982
    ============  ==========================================  =================================================

    Raises:
        ValueError: another name.
    """
    if scale not in SCALES:
        raise ValueError(f"{owner}: there is no scale {scale!r}; {nearest(scale, SCALES)}")
    return SCALES[scale](*shape)
