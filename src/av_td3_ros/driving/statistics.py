"""
Intervals of confidence for what was measured in a few episodes.

Shares: E. B. Wilson, Probable inference, the law of succession, and statistical inference, J. Am.
Stat. Assoc. 22, 1927. Means and ratios: percentile bootstrap over episodes, B. Efron and R.
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13, with a fixed seed. Rates of what
never happened: F. Garwood, Fiducial limits for the Poisson distribution, Biometrika 28, 1936.
"""

import math
from typing import NamedTuple, Sequence

import numpy as np

# Of the normal distribution at 0.975.
Z = 1.959963984540054
DRAWS = 10_000
SEED = 0
# Exact upper bound of a Poisson mean of which nothing was seen.
NONE_SEEN = -math.log(0.025)
METHOD = (
    f'95 %: shares by Wilson (1927), means and rates by percentile bootstrap over episodes, '
    f'{DRAWS} draws, seed {SEED}; rates of what never happened by Poisson (Garwood 1936)'
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
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    return _ratio(known, np.ones_like(known))


def rate(counts: Sequence[float], over: Sequence[float]) -> Estimate:
    """
    Return how often something happened, such as hits per km.

    :param counts: (n,) >= 0, per episode. :param over: (n,) >= 0, such as km.
    """
    above, below = np.asarray(counts, np.float64), np.asarray(over, np.float64)
    if below.sum() > 0.0 and not above.any():
        return Estimate(0.0, 0.0, NONE_SEEN / float(below.sum()))
    return _ratio(above, below)


def _ratio(above: np.ndarray, below: np.ndarray) -> Estimate:
    """Bootstrap the ratio of two sums over episodes, (n,) each."""
    if not len(above) or below.sum() <= 0.0:
        return NOTHING
    estimate = float(above.sum() / below.sum())
    if len(above) == 1:
        return Estimate(estimate, math.nan, math.nan)
    drawn = np.random.default_rng(SEED).integers(0, len(above), (DRAWS, len(above)))
    drawn = drawn[below[drawn].sum(axis=1) > 0.0]
    ratios = above[drawn].sum(axis=1) / below[drawn].sum(axis=1)
    low, high = np.percentile(ratios, (2.5, 97.5)).tolist()
    return Estimate(estimate, low, high)
