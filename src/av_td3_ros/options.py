"""
Settings declared once, as fields of frozen dataclasses, and read from anywhere with every check.

Unknown keys, wrong types and values out of range are errors that name the key, what was found,
what is allowed and the file. The settings themselves are in ``config.py``.
"""

from dataclasses import field, fields, is_dataclass
import difflib
from typing import (
    Any,
    Dict,
    Iterable,
    Iterator,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
    Type,
    TypeVar,
)

C = TypeVar('C')
MOST_MEANT = 4


class ConfigError(ValueError):
    """A setting that cannot be used; the text says what, got, expected and where to fix it."""


class Option(NamedTuple):
    """One setting, flattened: dotted key, type, default and what is known about it."""

    key: str
    type: type
    default: Any
    doc: str
    unit: str
    low: Optional[float]
    high: Optional[float]
    choices: Tuple[str, ...]


def option(
    default: Any,
    doc: str,
    *,
    unit: str = '',
    low: Optional[float] = None,
    high: Optional[float] = None,
    choices: Tuple[str, ...] = (),
) -> Any:
    """Declare one setting: its default fixes the type; ``low`` and ``high`` are inclusive."""
    return field(
        default=default,
        metadata={'doc': doc, 'unit': unit, 'low': low, 'high': high, 'choices': choices},
    )


def group(cls: Type[C], **defaults: Any) -> C:
    """Declare a nested group of settings."""
    return field(default_factory=lambda: cls(**defaults))


def options(cls: Type[Any], prefix: str = '') -> Iterator[Option]:
    """Yield every setting of a config class, nested groups flattened to dotted keys."""
    for item in fields(cls):
        default = item.default_factory() if callable(item.default_factory) else item.default
        if is_dataclass(default):
            yield from options(type(default), f'{prefix}{item.name}.')
        else:
            meta = item.metadata
            yield Option(
                prefix + item.name,
                type(default),
                default,
                meta['doc'],
                meta['unit'],
                meta['low'],
                meta['high'],
                meta['choices'],
            )


def flatten(values: Mapping[str, Any], prefix: str = '') -> Dict[str, Any]:
    """Return nested mappings as one mapping with dotted keys."""
    flat: Dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f'{prefix}{key}.'))
        else:
            flat[f'{prefix}{key}'] = value
    return flat


def nested(flat: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the nested form of values by dotted key: the inverse of :func:`flatten`."""
    tree: Dict[str, Any] = {}
    for key, value in flat.items():
        *groups, leaf = key.split('.')
        branch = tree
        for name in groups:
            branch = branch.setdefault(name, {})
        branch[leaf] = value
    return tree


def to_flat(config: Any, prefix: str = '') -> Dict[str, Any]:
    """Return a config object as a mapping with dotted keys."""
    flat: Dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            flat.update(to_flat(value, f'{prefix}{item.name}.'))
        else:
            flat[prefix + item.name] = value
    return flat


def build(cls: Type[C], values: Mapping[str, Any], where: str) -> C:
    """
    Make a config object from nested or dotted values; what is not given keeps its default.

    :param cls: the config class.
    :param values: settings, nested or with dotted keys.
    :param where: the file or place that the values come from, for the error text.
    :raises ConfigError: for an unknown key, a wrong type or a value out of range.
    """
    flat = flatten(values)
    known = {item.key: item for item in options(cls)}
    for key, value in flat.items():
        if key not in known:
            raise ConfigError(f"unknown key '{key}' in {where}{hint(key, known)}")
        flat[key] = check(known[key], value, where)
    return _build(cls, flat, '', where)


def hint(key: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """
    Return the question whether a near key, or one of that ending, was meant; '' where none is.

    :param likeness: 0 to 1, from which on a key is near.
    """
    keys = list(known)
    near = [one for one in keys if one.endswith(f'.{key}')]  # its groups were left out
    if near:  # of several the outer ones: others are copies of what nodes share
        depth = min(one.count('.') for one in near)
        near = [one for one in near if one.count('.') == depth][:MOST_MEANT]
    near = near or difflib.get_close_matches(key, keys, n=1, cutoff=likeness)
    meant = ' or '.join(f"'{one}'" for one in near)
    return f'; did you mean {meant}?' if near else ''


def check(item: Option, value: Any, where: str) -> Any:
    """
    Return the value in the option's type.

    :raises ConfigError: where type, range or choice does not fit.
    """
    if item.type is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not item.type:
        raise ConfigError(
            f'{item.key} must be {item.type.__name__}, got {value!r} '
            f'({type(value).__name__}); fix it in {where}'
        )
    if item.choices and value not in item.choices:
        raise ConfigError(
            f'{item.key} must be one of {", ".join(item.choices)}, got {value!r}; '
            f'fix it in {where}'
        )
    too_low = item.low is not None and not value >= item.low
    too_high = item.high is not None and not value <= item.high
    if too_low or too_high:
        raise ConfigError(f'{item.key} must be {limits(item)}, got {value!r}; fix it in {where}')
    return value


def limits(item: Option) -> str:
    """Return the allowed range of an option as text."""
    if item.choices:
        return ', '.join(item.choices)
    unit = f' {item.unit}' if item.unit else ''
    if item.low is not None and item.high is not None:
        return f'{item.low:g} to {item.high:g}{unit}'
    if item.low is not None:
        return f'>= {item.low:g}{unit}'
    return ''


def _build(cls: Type[C], flat: Mapping[str, Any], prefix: str, where: str) -> C:
    arguments = {}
    for item in fields(cls):
        key = prefix + item.name
        if callable(item.default_factory):
            arguments[item.name] = _build(type(item.default_factory()), flat, f'{key}.', where)
        elif key in flat:
            arguments[item.name] = flat[key]
    config = cls(**arguments)
    if hasattr(config, 'validate'):
        try:
            config.validate()
        except ConfigError as error:
            raise ConfigError(f'{prefix}{error}; fix it in {where}') from None
    return config
