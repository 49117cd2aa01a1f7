"""A client of the simulator node: listens to everything and answers frames."""

from carla_msgs.msg import CarlaEgoVehicleControl
from rclpy.lifecycle import TransitionCallbackReturn

from av_td3_ros.nodes.simulator_node import SimulatorNode

TICK = 50_000_000
BRIDGE = (
    'clock',
    'status',
    'world_info',
    'actor_list',
    'image',
    'camera_info',
    'odometry',
    'speedometer',
    'vehicle_status',
    'vehicle_info',
    'collision',
    'lane_invasion',
    'waypoints',
)
EVERY_FRAME = (
    'image',
    'camera_info',
    'odometry',
    'speedometer',
    'vehicle_status',
    'clock',
    'actor_list',
)


class Driver:
    """Listens to everything and answers frames."""

    def __init__(self, ros, talker, hear=(), **params):
        self.ros, self.talker = ros, talker
        self.heard = {key: talker.hear(key) for key in (*BRIDGE, *hear)}
        self.simulator = ros.make(SimulatorNode, image_width=64, image_height=48, **params)
        assert self.simulator.trigger_configure() == TransitionCallbackReturn.SUCCESS
        talker.publisher('vehicle_control_cmd')
        self.simulator.trigger_activate()
        ros.until(lambda: self.frames)

    @property
    def frames(self):
        return min(
            len(self.heard[key]) for key in EVERY_FRAME
        )  # whole ones: topics have no common order

    def command(self, wait=True, **control):
        known = self.frames
        self.talker.say('vehicle_control_cmd', CarlaEgoVehicleControl(**control))
        if wait:
            self.ros.until(lambda: self.frames > known)

    def last(self, key):
        return self.heard[key][-1]
