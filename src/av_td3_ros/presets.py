"""
Presets: everything that makes the algorithm, and nothing of the machine or the run, in one file.

The shipped ones are ``config/presets/<name>.yaml``; wherever a name is taken, the path of a file
of the same form is taken, too. What a file leaves out keeps its default.
"""

import difflib
from pathlib import Path
import re
from typing import Any, Dict, Tuple, Union

import yaml

from av_td3_ros.config import TrainerConfig
from av_td3_ros.options import build, ConfigError, flatten, Option, options, to_flat
from av_td3_ros.resources import share

DEFAULT = 'recommended'
PREFIX = 'trainer.'
SUFFIXES = ('.yaml', '.yml')

# Of the trainer's settings, these make the algorithm; the others are of the machine or the run.
GROUPS = ('learner', 'exploration', 'replay')
SCHEDULE = ('update_after', 'update_every', 'updates_per_round')
NOT_ALGORITHM = ('replay.storage', 'replay.prefetch')


def names() -> Tuple[str, ...]:
    """Return the names of the shipped presets, the default first."""
    found = sorted(path.stem for path in share('config', 'presets').glob('*.yaml'))
    return tuple(sorted(found, key=lambda name: name != DEFAULT))


def keys() -> Dict[str, Option]:
    """Return every setting that a preset may hold, with its key below ``trainer``."""
    return {
        item.key: item
        for item in options(TrainerConfig)
        if item.key in SCHEDULE
        or item.key.split('.')[0] in GROUPS
        and item.key not in NOT_ALGORITHM
    }


def load(name: str) -> Dict[str, Any]:
    """
    Return all values of a preset, with keys as in a config file: ``trainer.learner.tau``.

    :param name: a shipped preset, or the path of a YAML file.
    :raises ConfigError: for a name that is not known, a file that cannot be read, an unknown key,
        a wrong type or a value out of range.
    """
    path, _, data = _read(name)
    known = keys()
    for key in flatten(data):
        if key not in known:
            raise ConfigError(_not_allowed(key, path))
    config = build(TrainerConfig, data, str(path))
    values = to_flat(config)
    return {PREFIX + key: values[key] for key in known}


def description(name: str) -> str:
    """
    Return what a preset says about itself, one sentence; '' where it says nothing.

    :raises ConfigError: for a name that is not known, a file that cannot be read, or no text.
    """
    return _read(name)[1]


def difference(first: str, second: str) -> Dict[str, Tuple[Any, Any]]:
    """
    Return where two presets differ: the values of both by key.

    :raises ConfigError: as :func:`load`.
    """
    a, b = load(first), load(second)
    return {key: (a[key], b[key]) for key in a if a[key] != b[key]}


def find(name: str) -> Path:
    """
    Return the file of a preset.

    :raises ConfigError: for what is neither a shipped preset nor a file.
    """
    shipped = names()
    if name in shipped:
        return share('config', 'presets', f'{name}.yaml')
    path = Path(name)
    if path.suffix in SUFFIXES or path.is_file():
        return path
    near = difflib.get_close_matches(name, shipped, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ''
    raise ConfigError(
        f"preset must be one of {', '.join(shipped)} or the path of a YAML file, got '{name}'; "
        f'{hint}see `av-td3 presets`'
    )


def read_yaml(path: Path, what: str = 'config') -> Dict[str, Any]:
    """
    Read a YAML mapping of settings.

    :param what: the kind of file, for the error text.
    :raises ConfigError: where the file is missing, is no mapping or says a key twice.
    """
    try:
        data = yaml.load(path.read_text(), _Loader)
    except OSError as error:
        raise ConfigError(f'{what} file must be readable, got {path}: {error.strerror}') from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f'{what} file must be YAML, got {path}: {error}') from None
    if not isinstance(data, dict):
        raise ConfigError(f'{what} file must hold a mapping, got {type(data).__name__} in {path}')
    return data


def text(value: Union[bool, int, float, str]) -> str:
    """Return a value as people write it: ``true``, ``0.0001``, ``1000000``, ``nature``."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'{value:g}' if isinstance(value, float) else str(value)


def _read(name: str) -> Tuple[Path, str, Dict[str, Any]]:
    """Return the file of a preset, what it says about itself, and its values, not yet checked."""
    path = find(name)
    data = read_yaml(path, 'preset')
    said = data.pop('description', '')
    if not isinstance(said, str):
        raise ConfigError(
            f'description must be str, got {said!r} ({type(said).__name__}); fix it in {path}'
        )
    return path, ' '.join(said.split()), data


def _not_allowed(key: str, path: Path) -> str:
    if key in {item.key for item in options(TrainerConfig)}:
        return (
            f"'{key}' in {path} is of the machine or the run, which a preset leaves open; set "
            f"'{PREFIX}{key}' with --set or --config"
        )
    near = difflib.get_close_matches(key, keys(), n=1)
    return f"unknown key '{key}' in {path}" + (f"; did you mean '{near[0]}'?" if near else '')


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-3 as a number and refuses a key that is said twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Dict[Any, Any]:
        """:raises YAMLError: where a key of the mapping is said twice."""
        seen = set()
        scalars = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key in scalars:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key.value}' is said twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML reads, wants 1.0e-3; YAML 1.2 and people do not.
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float',
    re.compile(r'[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$'),
    list('-+0123456789'),
)
