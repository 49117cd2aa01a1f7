"""
A simulator that breaks its contract as told, over real topics: wrong values, types, qualities of
service, delays, ticks. Each deviation names the checks that must find it.
"""

import copy
import math

from carla_msgs.msg import CarlaActorInfo, CarlaControl, CarlaEgoVehicleControl
from pictures import bgra
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Imu
from std_msgs.msg import Float64

from av_td3_ros.bridge import convert
from av_td3_ros.bridge.topics import TOPICS, topic_qos
from av_td3_ros.bridge_check.contract import EXPERIMENTS
from av_td3_ros.nodes.simulator_node import SimulatorNode

TICK = 50_000_000
VOLATILE = QoSProfile(depth=10, durability=DurabilityPolicy.VOLATILE)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


class Deviation:
    """
    What is otherwise, and the checks that fail for it.

    :param say: by topic, a function of (simulator, message) to the messages that go out.
    :param hear: by topic, a function of (simulator, message, act) in place of acting.
    :param offer: by topic, (type, QoS) in place of the table's; None: not offered at all.
    :param also: called with the simulator once it is configured.
    """

    def __init__(self, *checks, say=None, hear=None, offer=None, also=None, **params):
        self.checks = set(checks)
        self.say, self.hear, self.offer = say or {}, hear or {}, offer or {}
        self.also, self.params = also, params


class DeviatingSimulator(SimulatorNode):
    """The embedded simulator, some messages of which go through deviations."""

    deviations = ()

    def setup(self):
        self.held, self.memory = [], {}
        super().setup()
        for deviation in self.deviations:
            if deviation.also:
                deviation.also(self)

    def publisher(self, key):
        made, says = None, []
        for deviation in self.deviations:
            if key in deviation.offer and deviation.offer[key] is None:
                return Pipe(None, [], self)
            if key in deviation.offer:
                kind, qos = deviation.offer[key]
                made = self.create_publisher(
                    kind or TOPICS[key].type, self._name(key), qos or topic_qos(key)
                )
                self._entities.append(lambda made=made: self.destroy_publisher(made))
                if kind:
                    return Pipe(None, [], self)
            if key in deviation.say:
                says.append(deviation.say[key])
        return Pipe(made or super().publisher(key), says, self)

    def subscribe_always(self, key, callback, profile=''):  # subscribe() comes through here, too
        return super().subscribe_always(key, self._through(key, callback), profile)

    def _through(self, key, callback):
        for deviation in self.deviations:
            if key in deviation.hear:
                hear, inner = deviation.hear[key], callback

                def callback(msg, hear=hear, inner=inner):
                    hear(self, msg, inner)

        return callback

    def hold(self, ticks, act):
        """Act so many ticks later."""
        self.held.append((self.frames + ticks, act))

    def _tick(self):
        due = [item for item in self.held if item[0] <= self.frames]
        self.held = [item for item in self.held if item not in due]
        for _, act in due:
            act()
        super()._tick()


class Pipe:
    """A publisher that alters what goes through it; of nothing, it swallows."""

    def __init__(self, publisher, says, node):
        self._publisher, self._says, self._node = publisher, says, node

    def publish(self, msg):
        messages = [msg]
        for say in self._says:
            messages = [out for one in messages for out in say(self._node, one)]
        for one in messages if self._publisher is not None else ():
            self._publisher.publish(one)

    def publish_now(self, msg):
        self._publisher.publish(msg)

    def get_subscription_count(self):
        return 1  # the simulator begins whether or not we can hear it


def changed(path, function):
    """Return a ``say`` that puts a function of one field, such as twist.twist.linear.x, there."""
    *parents, name = path.split('.')

    def say(node, msg):
        msg = copy.deepcopy(msg)
        place = msg
        for parent in parents:
            place = getattr(place, parent)
        setattr(place, name, function(getattr(place, name)))
        return [msg]

    return say


def every_second(node, msg):
    """Drop each second message."""
    node.memory['second'] = not node.memory.get('second', False)
    return [msg] if node.memory['second'] else []


def later(key, ticks):
    """Publish so many ticks later, unchanged."""

    def say(node, msg):
        node.hold(ticks, lambda: node._pubs[key].publish_now(msg))
        return []

    return say


def frozen(node, msg):
    """Repeat the pixels of the first picture."""
    msg.data = node.memory.setdefault('pixels', msg.data)
    return [msg]


def ids(node, msg):
    """Classes by number instead of colour."""
    msg.data = convert.to_bytes(bgra(msg) // 16)
    return [msg]


def halved(node, msg):
    """Every second pixel of every second row."""
    pixels = bgra(msg)[::2, ::2]
    return [convert.to_image(pixels, msg.encoding, msg.header)]


def halved_info(node, msg):
    return [
        convert.to_camera_info(msg.width // 2, msg.height // 2, node.config.fov_deg, msg.header)
    ]


def of_fov(degrees):
    return lambda node, msg: [convert.to_camera_info(msg.width, msg.height, degrees, msg.header)]


def twist_in_map(node, msg):
    yaw, twist = convert.from_pose_msg(msg.pose.pose).yaw, msg.twist.twist.linear
    cos, sin = math.cos(yaw), math.sin(yaw)
    twist.x, twist.y = twist.x * cos - twist.y * sin, twist.x * sin + twist.y * cos
    return [msg]


def back_once(node, msg):
    """A clock that is set back by two seconds, for one frame."""
    if node.frames % 50 == 25:
        msg = copy.deepcopy(msg)
        msg.clock = convert.from_ns(max(0, convert.to_ns(msg.clock) - 40 * TICK))
    return [msg]


def a_tick_on(node, msg):
    msg = copy.deepcopy(msg)
    msg.header.stamp = convert.from_ns(convert.to_ns(msg.header.stamp) + TICK)
    return [msg]


def mirrored_pose(node, msg, act):
    pose = convert.from_pose_msg(msg)
    act(convert.to_pose_msg(pose._replace(y=-pose.y, yaw=-pose.yaw)))


def mirrored_yaw(node, msg, act):
    pose = convert.from_pose_msg(msg)
    act(convert.to_pose_msg(pose._replace(yaw=-pose.yaw)))


def pose_y_mirrored(node, msg):
    msg.pose.pose.position.y = -msg.pose.pose.position.y
    return [msg]


def no_pause(node, msg, act):
    if msg.command == CarlaControl.PLAY:
        act(msg)


def step_twice(node, msg, act):
    act(msg)
    if msg.command == CarlaControl.STEP_ONCE:
        node._awaiting = False
        act(msg)


def tick_twice(node, msg, act):
    before = node.frames
    act(msg)
    if node.frames > before:
        node._tick()


def driven(node, msg, act):
    """Push on against the brake, but for a full one."""
    act(msg)
    if 0.4 < msg.brake < 0.95:
        node._world.set_velocity(3.0, 0.0)


def steer_turned(node, msg, act):
    msg.steer = -msg.steer
    act(msg)


def the_last_one(node, msg, act):
    """Apply the command before: what a surplus one leaves behind."""
    before = node.memory.get('command', CarlaEgoVehicleControl(brake=1.0))
    node.memory['command'] = msg
    act(before)


def second_publisher(key):
    def also(node):
        made = node.create_publisher(TOPICS[key].type, node._name(key), topic_qos(key))
        node._entities.append(lambda: node.destroy_publisher(made))

    return also


def commander(key, period=0.05):
    """Somebody who commands the vehicle, as a policy does, every so many seconds."""

    def also(node):
        made = node.create_publisher(TOPICS[key].type, node._name(key), topic_qos(key))
        timer = node.create_timer(period, lambda: made.publish(CarlaEgoVehicleControl(brake=1.0)))
        node._entities.append(lambda: node.destroy_timer(timer))
        node._entities.append(lambda: node.destroy_publisher(made))

    return also


def second_odometry(node):
    made = node.create_publisher(
        TOPICS['odometry'].type, node._name('odometry'), topic_qos('odometry')
    )
    node._entities.append(lambda: node.destroy_publisher(made))
    node.memory['odometry'] = made


def by_both(node, msg):
    node.memory['odometry'].publish(msg)
    return [msg]


def weightless_imu(node):
    made = node.create_publisher(Imu, f'/carla/{node.config.role_name}/imu', topic_qos('image'))
    node._entities.append(lambda: node.destroy_publisher(made))
    node.memory['imu'] = made


def with_imu(node, msg):
    imu = Imu(header=msg.header)
    imu.angular_velocity.z = msg.twist.twist.angular.z
    node.memory['imu'].publish(imu)
    return [msg]


def thinned(node, msg):
    msg.poses = msg.poses[::10]
    return [msg]


def turned_impulse(node, msg):
    msg.normal_impulse.y = -msg.normal_impulse.y
    return [msg]


def ignored(node, msg, act):
    pass


def twice(node, msg):
    return [msg, msg]


def never(node, msg):
    return []


def kmph(value):
    return 3.6 * value


def hero(actors):
    return [setattr(a, 'rolename', 'hero') or a for a in actors]


def with_twin(actors):
    return [*actors, CarlaActorInfo(id=actors[0].id, type='sensor.pseudo.tf', rolename='tf')]


def in_degrees(wheels):
    return [setattr(w, 'max_steer_angle', math.degrees(w.max_steer_angle)) or w for w in wheels]


D = Deviation
# Where the way off the road ends at a wall that is not along an axis of the map.
OBLIQUE = {'map': 'random_town:7', 'seed': 2}
RUNS = {
    'units and cameras': {
        'image in rgba8': D(
            'image encoding', say={'image': changed('encoding', lambda _: 'rgba8')}
        ),
        'intrinsics of 60 deg': D('focal length', say={'camera_info': of_fov(60.0)}),
        'odometry in km/h': D(
            'odometry speed', say={'odometry': changed('twist.twist.linear.x', kmph)}
        ),
        'gravity in the acceleration': D(
            'acceleration',
            say={'vehicle_status': changed('acceleration.linear.z', lambda z: z + 9.81)},
        ),
        'map not latched': D('QoS', offer={'world_info': (None, VOLATILE)}),
        'no lane invasions': D('topics', offer={'lane_invasion': None}),
        'ids for colours': D('semantic camera', say={'segmentation': ids}, segmentation=True),
        'PAUSE ignored': D('pause', hear={'world_control': no_pause}),
        'collisions ten ticks late': D(
            'collision timing', say={'collision': later('collision', 10)}
        ),
    },
    'frames and rates': {
        'camera without prefix': D(
            'camera frame', say={'image': changed('header.frame_id', lambda _: 'rgb_front')}
        ),
        'speedometer in km/h': D('speedometer', say={'speedometer': changed('data', kmph)}),
        'twist in the map': D('odometry twist frame', say={'odometry': twist_in_map}),
        'images at half the rate': D('rates', say={'image': every_second}),
        'set_transform left-handed': D(
            'set_transform position', hear={'set_transform': mirrored_pose}
        ),
        'actor list of another type': D('types', offer={'actor_list': (Float64, None)}),
        'wheels in degrees': D(
            'vehicle_info', say={'vehicle_info': changed('wheels', in_degrees)}
        ),
        'somebody else drives': D('brake', hear={'vehicle_control_cmd': driven}),
        'clock goes back': D('clock', say={'clock': back_once}),
        'override not heard': D('manual override', hear={'manual_override': ignored}),
    },
    'ticks and delays': {
        'yaw rate to the right': D(
            'yaw rate', say={'odometry': changed('twist.twist.angular.z', lambda w: -w)}
        ),
        'set_transform ten ticks late': D(
            'set_transform delay',
            hear={'set_transform': lambda node, msg, act: node.hold(10, lambda: act(msg))},
        ),
        'images stamped a tick on': D('stamps', say={'image': a_tick_on}),
        'a frozen camera': D('image content', say={'image': frozen}),
        'two ticks a command': D('one tick per command', hear={'vehicle_control_cmd': tick_twice}),
        'status in km/h': D(
            'vehicle_status speed', say={'vehicle_status': changed('velocity', kmph)}
        ),
        'STEP_ONCE steps twice': D('step once', hear={'world_control': step_twice}),
        'two publishers': D('one publisher', also=second_publisher('vehicle_status')),
        'a distorted camera': D(
            'projection', say={'camera_info': changed('d', lambda d: [0.1, 0.0, 0.0, 0.0, 0.0])}
        ),
        'lane code 11': D(
            'lane invasion event',
            say={'lane_invasion': changed('crossed_lane_markings', lambda _: [11])},
        ),
    },
    'commands': {
        'one command late': D('command lag', hear={'vehicle_control_cmd': the_last_one}),
        'heading left-handed': D('set_transform heading', hear={'set_transform': mirrored_yaw}),
        'steering taken as + left': D(
            'steering sign', 'vehicle_status control', hear={'vehicle_control_cmd': steer_turned}
        ),
        'set_target_velocity ignored': D(
            'set_target_velocity', hear={'set_target_velocity': ignored}
        ),
        'no collision event': D('collision timing', say={'collision': never}),
        'odometry in odom': D(
            'odometry frames', say={'odometry': changed('header.frame_id', lambda _: 'odom')}
        ),
        'speedometer doubled': D('rates', say={'speedometer': twice}),
        'another step': D(
            'time step', say={'status': changed('fixed_delta_seconds', lambda _: 0.1)}
        ),
        'images cut': D('image layout', say={'image': changed('data', lambda d: d[:1000])}),
        'camera_info best effort': D('QoS', offer={'camera_info': (None, BEST_EFFORT)}),
        'map without a name': D(
            'world_info', say={'world_info': changed('map_name', lambda _: '')}
        ),
    },
    'resets and events': {
        'a coarse route': D('route', say={'waypoints': thinned}),
        'impulse turned': D('collision impulse', say={'collision': turned_impulse}, **OBLIQUE),
        'lane events late': D(
            'lane invasion timing', say={'lane_invasion': later('lane_invasion', 8)}
        ),
        'images of half the size': D(
            'image size', say={'image': halved, 'camera_info': halved_info}
        ),
        'an id twice': D('actor ids', say={'actor_list': changed('actors', with_twin)}),
        'an imu without gravity': D('imu', also=weightless_imu, say={'odometry': with_imu}),
        'odometry doubled': D('rates', say={'odometry': twice}),
    },
    'somebody at the wheel': {
        'a manual commander': D(
            'no other commander', also=commander('vehicle_control_cmd_manual')
        ),
    },
    'a policy at the wheel': {
        'a second commander': D('no other commander', also=commander('vehicle_control_cmd')),
    },
    'two odometries': {
        'odometry of two': D('one publisher', also=second_odometry, say={'odometry': by_both}),
    },
    'a pose left-handed by half': {
        'y mirrored': D('throttle', say={'odometry': pose_y_mirrored}),
    },
    'not the bridge we asked for': {
        'does not wait for commands': D(
            'waits for a command', wait_for_vehicle_control_command=False
        ),
        'another vehicle': D('role name', say={'actor_list': changed('actors', hero)}),
        'asynchronous': D(
            'synchronous mode', say={'status': changed('synchronous_mode', lambda _: False)}
        ),
        'every second frame': D(
            'frame numbers', say={'status': changed('frame', lambda n: 2 * n)}
        ),
    },
}
# Their poses cannot be trusted to lead the vehicle anywhere, or it is no lock-step to command in.
SKIP = {
    'a pose left-handed by half': tuple(set(EXPERIMENTS) - {'drive'}),
    'not the bridge we asked for': EXPERIMENTS,
}
