"""Config dataclasses as ROS parameters: declared, checked and described from the one source."""

from typing import Any, Callable, List, Type, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from av_td3_ros.options import build, hint, limits, Option, options, to_flat

C = TypeVar('C')

# Parameters that rclpy or launch give to any node.
FOREIGN = ('use_sim_time', 'start_type_description_service', 'autostart', 'qos_overrides')

# From this likeness on a key is ours with a slip of the pen; wheel_tread and engine_threads: 0.6.
SLIP = 0.8


def read(node: Node, cls: Type[C], is_deployed: Callable[[C], bool] = lambda _: False) -> C:
    """
    Declare every option of a config class as a read-only parameter and return the config.

    ROS itself ignores unknown keys in a YAML file; here they are errors, as are wrong types and
    ranges. In a deployment those that are not like any of ours are somebody else's, who sets
    parameters for all nodes of his launch: they are warned of.

    :param is_deployed: whether a config is that of a deployment.
    :raises ConfigError: naming the key, what was found, what is allowed and the file.
    """
    given = {
        key: parameter.value
        for key, parameter in getattr(node, '_parameter_overrides', {}).items()
        if key.split('.')[0] not in FOREIGN
    }
    known, where = [item.key for item in options(cls)], f'{node.get_name()}.param.yaml'
    foreign = [key for key in given if key not in known and not _is_slip(key, known)]
    config = build(cls, {key: x for key, x in given.items() if key not in foreign}, where)
    if foreign and not is_deployed(config):
        build(cls, given, where)  # raises
    for key in foreign:
        node.get_logger().warning(f"unknown key '{key}' is left aside{hint(key, known)}")
    values = to_flat(config)
    for item in options(cls):
        if not node.has_parameter(item.key):
            node.declare_parameter(
                item.key, values[item.key], _descriptor(item), ignore_override=True
            )
    return config


def _is_slip(key: str, known: List[str]) -> bool:
    """
    Whether a key is one of ours with a slip of the pen: near to one as deep in its groups.

    A vehicle's size for all, such as ``wheel_base``, is no slip of ``vehicle.wheel_base``.
    """
    return bool(hint(key, [one for one in known if one.count('.') == key.count('.')], SLIP))


def _descriptor(item: Option) -> ParameterDescriptor:
    unit = f' [{item.unit}]' if item.unit else ''
    descriptor = ParameterDescriptor(
        description=f'{item.doc}{unit}', read_only=True, additional_constraints=limits(item)
    )
    bounds: Any = {
        float: (FloatingPointRange, 'floating_point_range'),
        int: (IntegerRange, 'integer_range'),
    }.get(item.type)
    if bounds and item.low is not None and item.high is not None:
        kind, field = bounds
        setattr(
            descriptor,
            field,
            [kind(from_value=item.type(item.low), to_value=item.type(item.high))],
        )
    return descriptor
