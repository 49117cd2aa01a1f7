"""What a call costs, on a machine that does other things beside."""

import time


def cost(call, calls=30, blocks=10):
    """Return the time that this thread spends in one call, in the quickest of some blocks, s."""
    spent = []
    for _ in range(blocks):
        begin = time.thread_time()
        for _ in range(calls):
            call()
        spent.append((time.thread_time() - begin) / calls)
    return min(spent)
