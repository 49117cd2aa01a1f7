"""
Intervals of confidence for what was measured in a few episodes.

Shares: E. B. Wilson, Probable inference, the law of succession, and statistical inference, J. Am.
Stat. Assoc. 22, 1927. Means and ratios: percentile bootstrap over episodes, B. Efron and R.
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13, with a fixed seed.
"""

import math
from typing import NamedTuple, Optional, Sequence

import numpy as np

# Of the normal distribution at 0.975.
Z = 1.959963984540054
DRAWS = 10_000
SEED = 0
METHOD = (
    f'95 %: shares by Wilson (1927), means and rates by percentile bootstrap over episodes, '
    f'{DRAWS} draws, seed {SEED}'
)


class Estimate(NamedTuple):
    """
    A figure and the bounds of its 95 % interval; NaN where nothing was measured.

    One episode alone has no interval: its bounds are NaN, but for those of a share.
    """

    mean: float
    low: float
    high: float


NOTHING = Estimate(math.nan, math.nan, math.nan)


def share(successes: int, count: int) -> Estimate:
    """Return a share of ``count`` cases with Wilson's interval."""
    if count < 1:
        return NOTHING
    p, z2 = successes / count, Z * Z / count
    middle = (p + z2 / 2.0) / (1.0 + z2)
    half = Z / (1.0 + z2) * math.sqrt(p * (1.0 - p) / count + z2 / (4.0 * count))
    return Estimate(p, max(middle - half, 0.0), min(middle + half, 1.0))


def mean(values: Sequence[float]) -> Estimate:
    """Return the mean of what is not NaN."""
    return ratio(values, None)


def ratio(values: Sequence[float], over: Optional[Sequence[float]]) -> Estimate:
    """
    Return the sum of some values over that of others, episode by episode, such as hits per km.

    :param values: (n,). :param over: (n,) >= 0; None for ones, which makes it the mean.
    """
    above = np.asarray(values, np.float64)
    below = np.ones_like(above) if over is None else np.asarray(over, np.float64)
    known = ~(np.isnan(above) | np.isnan(below))
    above, below = above[known], below[known]
    if not len(above) or below.sum() <= 0.0:
        return NOTHING
    estimate = float(above.sum() / below.sum())
    if len(above) == 1:
        return Estimate(estimate, math.nan, math.nan)
    drawn = np.random.default_rng(SEED).integers(0, len(above), (DRAWS, len(above)))
    totals = below[drawn].sum(axis=1)
    drawn = drawn[totals > 0.0]
    low, high = np.percentile(
        above[drawn].sum(axis=1) / below[drawn].sum(axis=1), (2.5, 97.5)
    ).tolist()
    return Estimate(estimate, low, high)
