"""How long something is likely to take, by how long it took before, given how long it has taken.

Lengths are kept as logarithms, since what takes an hour varies by minutes and what takes a second
by milliseconds. Three sources are mixed, as few own lengths say little of what is rare:

1. the lengths of the same task, each spread by a kernel;
2. those of its neighbours, as multiples of their own median: a task that was never slow learns
   from others how slow things get when they are slow;
3. longer than all that was ever seen (one chance in as many as were seen, and one): the longer it
   has taken, the longer it will, without a scale (a Pareto tail).

What was shorter than what has passed already drops out of all three.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate
from statistics import NormalDist, median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

# How many lengths of its own outweigh what is known of its neighbours.
_NEIGHBOURS = 5.0
# A kernel is never narrower than this, in logarithms: the past never repeats to the percent.
_NARROWEST = 0.03
# Nor wider: waits are either none or long, and nothing between is likely.
_WIDEST = 0.25
# The tail's exponent: of all that lasts longer than t, a third lasts longer than 2 t.
_TAIL = 1.5
_NORMAL = NormalDist()


class Length(NamedTuple):
    """How long something took, and whether it failed."""

    seconds: float
    failed: bool = False


class Lengths:
    """What lengths of time are likely. ``floor_s`` is the time below which nothing matters."""

    def __init__(
        self, seen: Sequence[Length], ratios: Sequence[float] = (), floor_s: float = 1.0
    ) -> None:
        self._floor_s = floor_s
        own = [math.log(max(one.seconds, 0) + floor_s) for one in seen]
        middle = median(own) if own else 0.0
        width = _width(own)
        self._kernels = [
            (at, width, 1 / len(own), one.failed) for at, one in zip(own, seen, strict=True)
        ]
        if ratios:
            others = _width(ratios)
            weight = _NEIGHBOURS / len(own) / len(ratios)
            self._kernels += [(middle + ratio, others, weight, False) for ratio in ratios]
        most = max((at for at, *_ in self._kernels), default=0.0)
        whole = sum(weight for _, _, weight, _ in self._kernels)
        self._tail = most, whole / (len(own) + len(ratios) + 1)

    def draw(self, rng: random.Random, count: int, over_s: float = 0.0) -> list[Length]:
        """Return so many likely lengths, all above what has passed, in no order."""
        bound = math.log(max(over_s, 0) + self._floor_s)
        left = [w * _NORMAL.cdf((at - bound) / h) for at, h, w, _ in self._kernels]
        most, weight = self._tail
        left.append(weight * math.exp(-_TAIL * max(bound - most, 0)))
        upto = list(accumulate(left))
        order = list(range(count))
        rng.shuffle(order)  # one length from each part of the whole, but in no order
        found = []
        for step in order:
            which = bisect_left(upto, (step + rng.random()) / count * upto[-1])
            found.append(self._one(min(which, len(self._kernels)), bound, rng.random()))
        return found

    def _one(self, which: int, bound: float, part: float) -> Length:
        if which == len(self._kernels):
            above = max(self._tail[0], bound) - math.log(1 - part) / _TAIL
            return Length(math.exp(min(above, 25.0)) - self._floor_s)
        middle, width, _, failed = self._kernels[which]
        rest = _NORMAL.cdf((middle - bound) / width)
        rest = min(max(rest * (1 - part), 1e-12), 1 - 1e-12)
        at = max(middle - width * _NORMAL.inv_cdf(rest), bound)
        return Length(float(math.exp(at)) - self._floor_s, failed)


def _width(logs: Sequence[float]) -> float:
    """Return a kernel's width (Silverman's rule), by a spread that outliers do not widen."""
    if len(logs) < 2:
        return max(_NARROWEST, 0.2)
    ordered = sorted(logs)
    low, high = (ordered[round(q * (len(ordered) - 1))] for q in (0.25, 0.75))
    silverman = 0.9 * (high - low) / 1.349 * math.pow(len(logs), -0.2)
    return min(max(_NARROWEST, silverman), _WIDEST)
