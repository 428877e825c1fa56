"""How many faults are tried, and what is told of them: a few in `make test`; all with LOOPLINE_FAULTS=1 (`make faults`), or a share of all."""

import os

SHARE = float(os.environ.get("LOOPLINE_FAULTS", "0"))


def count(short, full):
    """So many in `make test`, so many in full."""
    return max(short, round(full * SHARE))


def points(short, stride):
    """Where a fault meets a run: in short at a few places; in full at each `stride`th until it meets nothing."""
    return range(1, 10_000, round(stride / SHARE)) if SHARE else short


def tell(fault: str, *, tried: int, survived: int, recovery: list[float] | None = None, **more: object) -> None:
    """Print faults tried and survived, and how long recovery took at most and in the middle, in seconds."""
    took = sorted(recovery or [])
    times = f", recovered in {took[len(took) // 2]:.2f} s (median), {took[-1]:.2f} s (longest)" if took else ""
    rest = "".join(f", {name.replace('_', ' ')} {value}" for name, value in more.items())
    print(f"\nfault: {fault}: {tried} tried, {survived} survived{times}{rest}", flush=True)
