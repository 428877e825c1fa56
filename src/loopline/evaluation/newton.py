"""Newton's method with backtracking, for the small convex losses of calibrations."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

STEPS = 100
CONVERGED = 1e-10
ROOM = 1e-12
UNSEEN = 1e-15  # a gain that the sum of a loss cannot show


def minimum(
    start: Floats, loss: Callable[[Floats], float], derivatives: Callable[[Floats], tuple[Floats, Floats]]
) -> Floats:
    """Where the convex `loss` is least, from `start` (k,). `derivatives` gives gradient (k,) and Hessian (k, k).

    At most 100 steps, each halved until the loss does not grow; ends once no part of the gradient exceeds 1e-10, or a step
    promises less than the loss's own rounding. The same input gives the same numbers.
    """
    point, least = start, loss(start)
    for _ in range(STEPS):
        gradient, hessian = derivatives(point)
        if np.abs(gradient).max() < CONVERGED:
            break
        step = np.linalg.solve(hessian + ROOM * np.eye(len(start)), gradient)
        if gradient @ step < UNSEEN:
            break
        size, moved = 1.0, loss(point - step)
        while moved > least and size > CONVERGED:
            size /= 2
            moved = loss(point - size * step)
        if moved > least:
            break
        point, least = point - size * step, moved
    return point
