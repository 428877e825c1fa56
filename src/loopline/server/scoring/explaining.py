"""Explanations of what was answered and logged already, in what is left of the caller's time."""

import asyncio
from time import perf_counter

from loopline.models.explanation import Explanation
from loopline.scoring.block import Predictions
from loopline.scoring.engine import Engine

LEFT_OUT = {"explanation_left_out": "deadline"}


async def explain(
    engine: Engine, predictions: Predictions, deadline: float | None
) -> tuple[list[Explanation | None], dict[str, str]]:
    """An explanation of each prediction, and what is said in the answer beside them: nothing, or, where they are not made by `deadline`
    (by `time.perf_counter`), that they were left out; then they are None.
    """
    left = None if deadline is None else deadline - perf_counter()
    if left is None or left > 0:
        try:
            return await asyncio.wait_for(asyncio.to_thread(engine.explain, predictions), left), {}
        except TimeoutError:
            pass
    return [None] * len(predictions), LEFT_OUT
