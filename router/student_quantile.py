"""Student's quantile, by its expansion around the normal one (Fisher & Cornish, 1960)."""


def student_quantile(normal: float, freedom: float) -> float:
    """The quantile at `freedom` degrees of freedom, from the normal one of the same level.

    Within 1 % from three degrees on; too small below.
    """
    z, n = normal, freedom
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )
