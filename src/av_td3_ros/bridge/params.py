"""Config dataclasses as ROS parameters: declared, checked and described from the one source."""

from typing import Any, Type, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from av_td3_ros.options import build, limits, Option, options, to_flat

C = TypeVar('C')

# Parameters that rclpy or launch give to any node.
FOREIGN = ('use_sim_time', 'start_type_description_service', 'autostart', 'qos_overrides')


def read(node: Node, cls: Type[C]) -> C:
    """
    Declare every option of a config class as a read-only parameter and return the config.

    ROS itself ignores unknown keys in a YAML file; here they are errors, as are wrong types and
    ranges.

    :raises ConfigError: naming the key, what was found, what is allowed and the file.
    """
    given = {
        key: parameter.value
        for key, parameter in getattr(node, '_parameter_overrides', {}).items()
        if key.split('.')[0] not in FOREIGN
    }
    config = build(cls, given, f'{node.get_name()}.param.yaml')
    values = to_flat(config)
    for item in options(cls):
        if not node.has_parameter(item.key):
            node.declare_parameter(
                item.key, values[item.key], _descriptor(item), ignore_override=True
            )
    return config


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
