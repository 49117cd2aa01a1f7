"""
Intervals of confidence for what was measured in a few episodes.

Shares: E. B. Wilson, Probable inference, the law of succession, and statistical inference, J. Am.
Stat. Assoc. 22, 1927. Means and ratios: percentile bootstrap over episodes, B. Efron and R.
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13, with a fixed seed. Rates: no
narrower than the exact interval of a Poisson mean, F. Garwood, Fiducial limits for the Poisson
distribution, Biometrika 28, 1936.
"""

import math
from typing import NamedTuple, Sequence

import numpy as np
from scipy.special import gammaincinv

# Of the normal distribution at 0.975.
Z = 1.959963984540054
DRAWS = 10_000
SEED = 0
TAIL = 0.025
METHOD = (
    f'95 %: shares by Wilson (1927), means and rates by percentile bootstrap over episodes, '
    f'{DRAWS} draws, seed {SEED}; rates no narrower than of a Poisson mean (Garwood 1936)'
)


class Estimate(NamedTuple):
    """
    A figure and the bounds of its 95 % interval; NaN where nothing was measured.

    One episode alone has no interval: its bounds are NaN, but for those of a share or a rate.
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

    The interval is the wider one at each end of the bootstrap's, which sees that some episodes
    have many, and Poisson's: a bootstrap of one hit would know of no rate above that of three.

    :param counts: (n,) >= 0, per episode. :param over: (n,) >= 0, such as km.
    """
    above, below = np.asarray(counts, np.float64), np.asarray(over, np.float64)
    found, way = _ratio(above, below), float(below.sum())
    if way <= 0.0:
        return found
    seen = float(above.sum())
    low = float(gammaincinv(seen, TAIL)) / way if seen > 0.0 else 0.0
    high = float(gammaincinv(seen + 1.0, 1.0 - TAIL)) / way
    return Estimate(found.mean, float(np.fmin(found.low, low)), float(np.fmax(found.high, high)))


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
