"""However the process of a policy that drives ends, its last word is the full brake."""

from contextlib import suppress
import ctypes
import os
import signal
import subprocess
import sys

from carla_msgs.msg import CarlaStatus
import pytest
import torch

from test_policy_node import observation, packed

from av_td3_ros.nodes import shared_memory

PATIENCE = 60.0
ERROR, OK = b'\x02', b'\x00'
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: the parent of whom has lost his own, who learns his end
NODE = ('-m', 'av_td3_ros.nodes.policy_node')
# No message is known that a callback of the policy raises at; here one does.
FAULTY = (
    '-c',
    'from av_td3_ros.nodes import policy_node\n'
    'policy_node.PolicyNode.on_status = lambda self, msg: 1 / 0\n'
    'policy_node.main()',
)
# Real time, where a brake is comfortable at first; and nothing but its end ends the drive.
PARAMS = {
    'autostart': 'true',
    'lock_step': 'false',
    'gate.observation_timeout': '10.0',
    'gate.max_age': '0.0',
    'gate.rate_factor': '0.0',
}


class Car:
    """A policy that drives, in a process of its own, whose supervisor is a shell."""

    def __init__(self, ros, talker, log, program):
        self.ros, self.talker, self.log, self.code = ros, talker, log, None
        self.commands = talker.hear('vehicle_control_cmd')
        self.health = talker.hear('diagnostics')
        arguments = [part for one in PARAMS.items() for part in ('-p', ':='.join(one))]
        domain = str(ros.context.get_domain_id())
        with log.open('w') as output:
            self.supervisor = subprocess.Popen(
                ['sh', '-c', '"$@" & echo $!; wait $!', 'sh', sys.executable, *program]
                + ['--ros-args', '-r', '__ns:=/av_td3', *arguments],
                env={**os.environ, 'ROS_DOMAIN_ID': domain, 'AV_TD3_SUPERVISED': '1'},
                stdout=subprocess.PIPE,
                stderr=output,
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # no nohup
            )
        self.pid = int(self.supervisor.stdout.readline())

    def drive(self):
        """Show it the road until it goes straight on at half of its throttle."""

        def straight_on(net):
            net.actor.layers[-1].weight.zero_()
            net.actor.layers[-1].bias.copy_(torch.tensor([0.0, 0.55]))

        def drives():
            msg = observation()
            msg.header.stamp = self.talker.node.get_clock().now().to_msg()
            self.talker.say('observation', msg)
            return self.commands and self.commands[-1].throttle == pytest.approx(0.5, abs=0.01)

        listens = self.talker.node.count_subscribers
        self.ros.until(lambda: listens('/av_td3/observation') or self.has_ended(), PATIENCE)
        self.talker.say('policy_weights', packed(change=straight_on))
        self.ros.until(drives, PATIENCE)
        return self

    def shared_memory(self):
        """Return the segments that it made."""
        held = shared_memory.held(self.pid)
        segments = filter(shared_memory.MADE.fullmatch, held)  # ports are the listeners', too
        return {name for name in segments if name + shared_memory.LOCK in held}

    def has_ended(self):
        """Learn the exit code: from the shell, or as the heir of a shell that was killed."""
        if self.code is None and self.supervisor.poll() == -signal.SIGKILL:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        elif self.code is None:
            self.code = self.supervisor.returncode
        return self.code is not None

    def last_health(self):
        """Return level and message of what it says once it is stopped."""

        def values():
            return self.health[-1].status[0].values

        self.ros.until(lambda: ('state', 'inactive') in [(v.key, v.value) for v in values()])
        status = self.health[-1].status[0]
        return status.level, status.message

    def close(self):
        if not self.has_ended():
            os.kill(self.pid, signal.SIGKILL)
            self.supervisor.wait()
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


@pytest.fixture
def start(ros, talker, tmp_path):
    cars, prctl = [], ctypes.CDLL(None).prctl
    prctl(SUBREAPER, 1, 0, 0, 0)
    try:
        yield lambda program: cars.append(Car(ros, talker, tmp_path / 'log', program)) or cars[-1]
    finally:
        for car in cars:
            car.close()
        prctl(SUBREAPER, 0, 0, 0, 0)


@pytest.mark.parametrize(
    'program, end, code, why',
    [
        (NODE, lambda car: os.kill(car.pid, signal.SIGINT), 0, ''),
        (NODE, lambda car: os.kill(car.pid, signal.SIGTERM), 0, ''),
        (NODE, lambda car: os.kill(car.pid, signal.SIGHUP), 0, ''),
        (FAULTY, lambda car: car.talker.say('status', CarlaStatus()), 1, 'ZeroDivisionError'),
        (NODE, lambda car: car.supervisor.kill(), 0, 'the supervisor is gone: ending'),
    ],
    ids=['SIGINT', 'SIGTERM', 'SIGHUP', 'a fault', 'no supervisor'],
)
def test_a_process_that_drives_ends_with_the_full_brake(ros, start, program, end, code, why):
    car = start(program).drive()
    made = car.shared_memory()
    end(car)
    ros.until(car.has_ended, PATIENCE)
    assert made and not made & shared_memory.snapshot()
    assert car.code == code and why in car.log.read_text()
    ros.until(lambda: car.commands[-1].throttle == 0.0)
    assert car.commands[-1].brake == 1.0 and car.commands[-2].throttle > 0.4
    level, message = car.last_health()
    assert (level, message) == (OK, 'inactive') if code == 0 else level == ERROR and why in message
