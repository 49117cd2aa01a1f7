"""
Definitions of messages as a bag carries them: a type's own text, then every type in it.

With them a reader needs neither ROS nor our message packages.
"""

from pathlib import Path
from typing import Callable, Dict, List, Optional

PRIMITIVES = {
    'bool',
    'byte',
    'char',
    'float32',
    'float64',
    'string',
    'wstring',
    *(f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)),
}
SEPARATOR = '=' * 80


class DefinitionError(ValueError):
    """A message whose definition is not to be had."""


def definition(name: str, share: Callable[[str], Path]) -> str:
    """
    Return the definition of a message and of everything in it.

    :param name: such as ``sensor_msgs/msg/Image``.
    :param share: returns the share folder of a package.
    :raises DefinitionError: where a package lacks the file of a message.
    """
    package, _, leaf = name.partition('/msg/')
    texts: Dict[str, str] = {}
    wanted: List[str] = [f'{package}/{leaf}']
    while wanted:
        current = wanted.pop(0)
        if current in texts:
            continue
        texts[current] = _text(current, share)
        wanted += [found for found in map(_parser(current), texts[current].splitlines()) if found]
    first, *others = texts.items()
    parts = [first[1], *(f'{SEPARATOR}\nMSG: {other}\n{text}' for other, text in others)]
    return '\n'.join(parts)


def _text(name: str, share: Callable[[str], Path]) -> str:
    package, _, leaf = name.partition('/')
    try:
        return (share(package) / 'msg' / f'{leaf}.msg').read_text()
    except (OSError, LookupError) as error:
        raise DefinitionError(
            f'{name} must have its definition in share/{package}/msg/{leaf}.msg, got {error}; '
            'install or build that package'
        ) from None


def _parser(inside: str) -> Callable[[str], Optional[str]]:
    package = inside.partition('/')[0]

    def parse(line: str) -> Optional[str]:
        """Return the message that a line has as a field, or None."""
        words = line.partition('#')[0].split()
        kind = words[0].partition('[')[0].partition('<=')[0] if words else ''
        if not kind or kind in PRIMITIVES:
            return None
        return kind if '/' in kind else f'{package}/{kind}'

    return parse
