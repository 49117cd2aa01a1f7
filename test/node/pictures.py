"""Pictures of the simulator's messages."""

import numpy as np


def bgra(msg):
    """Return an image message of ``bgra8`` as (rows, columns, 4) uint8, without a copy."""
    assert msg.encoding == 'bgra8' and msg.step == 4 * msg.width
    return np.frombuffer(msg.data, np.uint8).reshape(msg.height, msg.width, 4)
