"""What is told of the frames of a measurement: their figures."""

from typing import Any, Dict, List, Sequence

import numpy as np

PERCENTILES = {'p50_ms': 50.0, 'p99_ms': 99.0, 'p99_9_ms': 99.9}


def judge(answers: Dict[int, List[float]], stamps: Sequence[int], period: float) -> Dict[str, Any]:
    """
    Return figures of frames.

    :param answers: by stamp, how long each of its commands took, s.
    :param stamps: of the frames that count, ns.
    :param period: time until the next frame, s, after which a command is missed.
    """
    first = [answers[stamp][0] for stamp in stamps if stamp in answers]
    values = np.asarray(first or [np.nan]) * 1e3
    return {
        'frames': len(stamps),
        'commanded': len(first),
        'missed': len(stamps) - int(np.sum(np.asarray(first) < period)),
        'repeated': sum(len(answers.get(stamp, ())) > 1 for stamp in stamps),
        'mean_ms': float(values.mean()),
        **{name: float(np.percentile(values, q)) for name, q in PERCENTILES.items()},
        'max_ms': float(values.max()),
    }
