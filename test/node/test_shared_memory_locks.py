"""By the locks of Fast DDS a process is known to live that /proc does not show."""

import os
import subprocess
import sys

from av_td3_ros.nodes import shared_memory

LIVES = """
import rclpy
rclpy.init()
node = rclpy.create_node('lives')
print(flush=True)
input()
"""


def test_what_a_node_made_is_locked_until_it_is_killed(ros):
    before = shared_memory.snapshot()
    child = subprocess.Popen(
        [sys.executable, '-c', LIVES],
        env={**os.environ, 'ROS_DOMAIN_ID': str(ros.context.get_domain_id())},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        child.stdout.readline()
        held = shared_memory.held(child.pid) & shared_memory.snapshot()
        mutexes = {f'sem.{name}_mutex' for name in held} & shared_memory.snapshot()
        orphans = shared_memory.orphans(before, ending=os.getpid())
        locked = {name for name in held if shared_memory._is_locked(name, set())}
        child.kill()
    assert any(shared_memory.MADE.fullmatch(name) for name in held)
    assert any('port' in name for name in held) and locked == held
    assert mutexes - before and not orphans & (held | mutexes), 'mutexes are held by nobody, ever'
    assert not any(shared_memory._is_locked(name, set()) for name in held)
    assert held <= shared_memory.remove_orphans(shared_memory.snapshot() - held)
