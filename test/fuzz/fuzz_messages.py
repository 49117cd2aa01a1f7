"""
Messages of any type, made by Hypothesis from the type's own definition.

Two kinds: built from nothing, and a good message with a few of its fields replaced, which gets
past the first checks. Nothing here knows a single message by name.
"""

import array
import copy
import functools
import importlib
import math
import re
from typing import Any, Iterator, List, NamedTuple, Tuple, Type

from hypothesis import strategies as st
import numpy as np

from av_td3_ros.bridge import images

DTYPES = {
    'boolean': np.bool_,
    'octet': np.uint8,
    'char': np.uint8,
    'float': np.float32,
    'double': np.float64,
    **{
        f'{sign}int{bits}': np.dtype(f'{sign}int{bits}')
        for sign in ('', 'u')
        for bits in (8, 16, 32, 64)
    },
}
CODES = {
    'octet': 'B',
    'char': 'B',
    'float': 'f',
    'double': 'd',
    **dict(zip(('int8', 'int16', 'int32', 'int64'), 'bhiq')),
    **dict(zip(('uint8', 'uint16', 'uint32', 'uint64'), 'BHIQ')),
}
NUMBERS = (0.0, -0.0, 1.0, -1.0, 1e-300, 1e9, -1e9, 1e19, 3e38, math.nan, math.inf, -math.inf)
DOUBLES = NUMBERS + (1e154, 1e300, -1e308)
LENGTHS = (0, 1, 2, 3, 100, 10_000, 2_000_000)
HUGE = 1_000_000
MANY, WITHIN = 10_000, 100
# What a string on the wire may hold; bytes that are no UTF-8 arrive as U+FFFD.
STRINGS = (
    '',
    '\0',
    '\ufffd\ufffd\ufffd',
    '\u202e\u0000\x1b[2J\n\r',
    '/etc/passwd',
    '../../../../tmp/evil',
    'file:///etc/passwd',
    '%s%n{}{0.__class__}',
    'nan',
    '[' * 10_000,
    '{"format": 2, "network": {}}',
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    '<OpenDRIVE><road id="1"/></OpenDRIVE>',
    'x' * HUGE,
    '\U0001f697' * 1000,
)
# Fields whose known values lead further in than any text would.
KNOWN = {'encoding': tuple(images.ENCODINGS)}
# What takes the place of a number in a text such as XML or JSON.
WRONG_NUMBERS = ('nan', 'inf', '-1', '0', '1e308', '99999999999999999999', '', 'x', '1e-320')
SEQUENCE = re.compile(r'sequence<(.+?)(?:, (\d+))?>$')
ARRAY = re.compile(r'(.+)\[(\d+)\]$')
STRING = re.compile(r'w?string(?:<(\d+)>)?$')


class Place(NamedTuple):
    """A field inside a message: the way there, attribute names and indices, and its type."""

    way: Tuple[Any, ...]
    type: str


def message_class(name: str) -> Type[Any]:
    """Return the class of ``package/Name``."""
    package, _, name = name.replace('/msg/', '/').partition('/')
    return getattr(importlib.import_module(f'{package}.msg'), name)


@functools.lru_cache(maxsize=None)
def messages(cls: Type[Any], longest: int = max(LENGTHS)) -> st.SearchStrategy:
    """Return messages of a class, every field drawn from all that it can hold."""
    types = cls.get_fields_and_field_types().items()
    fields = {name: values(text, longest) for name, text in types}
    return st.fixed_dictionaries(fields).map(lambda drawn: cls(**drawn))


@functools.lru_cache(maxsize=None)
def values(text: str, longest: int = max(LENGTHS)) -> st.SearchStrategy:
    """
    Return the values of a field type, such as ``sequence<float>`` or ``std_msgs/Header``.

    :param longest: length of a string or sequence at most.
    """
    if text == 'boolean':
        return st.booleans()
    if text in ('float', 'double'):
        width, special = (32, NUMBERS) if text == 'float' else (64, DOUBLES)
        return st.sampled_from(special) | st.floats(width=width)
    if text == 'octet':
        return st.integers(0, 255).map(lambda value: bytes([value]))
    if text in DTYPES:
        limits = np.iinfo(DTYPES[text])
        low, high = int(limits.min), int(limits.max)
        near = [value for value in (low, low + 1, 0, 1, 2, high - 1, high) if low <= value <= high]
        return st.sampled_from(near) | st.integers(low, high)
    bounded = STRING.match(text)
    if bounded:
        limit = min(int(bounded.group(1) or HUGE), longest)
        listed = st.integers(0, len(STRINGS) - 1).map(STRINGS.__getitem__)
        drawn = listed | st.text(st.characters(exclude_categories=['Cs']), max_size=30)
        return drawn.map(lambda value: value[:limit])
    fixed = ARRAY.match(text)
    if fixed:
        return _many(fixed.group(1), st.just(int(fixed.group(2))), is_fixed=True)
    sequence = SEQUENCE.match(text)
    if sequence:
        limit = min(int(sequence.group(2) or longest), longest)
        return _many(sequence.group(1), st.sampled_from([n for n in LENGTHS if n <= limit]))
    return messages(message_class(text), longest)


def near(good: Any) -> st.SearchStrategy:
    """Return a good message with up to three of its fields replaced."""
    found = list(places(good))
    if not found:
        return st.builds(type(good))
    shallow = [place for place in found if len(place.way) <= 2]
    # Half of the draws are near the surface: else the 36 numbers of a covariance take them all.
    one = st.sampled_from(shallow or found) | st.sampled_from(found)
    return _near(good, st.lists(one, min_size=1, max_size=3))


@st.composite
def _near(draw: Any, good: Any, drawn_places: st.SearchStrategy) -> Any:
    msg = copy.deepcopy(good)
    for place in draw(drawn_places):
        holder = msg
        try:
            for part in place.way[:-1]:
                holder = _at(holder, part)
            old = _at(holder, place.way[-1])
        except (IndexError, AttributeError):  # a sequence before it is shorter now
            continue
        fresh, name = _like(place.type, old), place.way[-1]
        drawn = st.sampled_from(KNOWN[name]) | fresh if name in KNOWN else fresh
        _put(holder, name, draw(drawn))
    return msg


def places(msg: Any, way: Tuple[Any, ...] = ()) -> Iterator[Place]:
    """Yield every field of a message, and those of the first and last element of sequences."""
    for name, text in msg.get_fields_and_field_types().items():
        here = way + (name,)
        yield Place(here, text)
        value = getattr(msg, name)
        if hasattr(value, 'get_fields_and_field_types'):
            yield from places(value, here)
        elif isinstance(value, list) and value and hasattr(value[0], 'get_fields_and_field_types'):
            for index in sorted({0, len(value) - 1}):
                yield from places(value[index], here + (index,))


def described(msg: Any, limit: int = 600) -> str:
    """Return a message as text, its long arrays and strings cut."""
    if hasattr(msg, 'get_fields_and_field_types'):
        inner = ', '.join(
            f'{name}={described(getattr(msg, name), 120)}'
            for name in msg.get_fields_and_field_types()
        )
        text = f'{type(msg).__name__}({inner})'
    elif isinstance(msg, (list, tuple, array.array, np.ndarray, str, bytes)) and len(msg) > 12:
        text = f'{list(msg[:4]) if not isinstance(msg, str) else msg[:40]!r}... ({len(msg)} long)'
    else:
        text = repr(msg)
    return text if len(text) <= limit else f'{text[:limit]}...'


def size(msg: Any) -> int:
    """Return about how many bytes a message holds."""
    if hasattr(msg, 'get_fields_and_field_types'):
        return sum(size(getattr(msg, name)) for name in msg.get_fields_and_field_types())
    if isinstance(msg, array.array):
        return len(msg) * msg.itemsize
    if isinstance(msg, np.ndarray):
        return msg.nbytes
    if isinstance(msg, (list, tuple)):
        return len(msg) * (size(msg[0]) if msg else 0)
    return len(msg) if isinstance(msg, (str, bytes)) else 8


def floats(msg: Any, way: str = '') -> Iterator[Tuple[str, Any]]:
    """Yield the name and value of every floating-point field of a message; arrays whole."""
    for name, text in msg.get_fields_and_field_types().items():
        value, here = getattr(msg, name), f'{way}{name}'
        if 'float' in text or 'double' in text:
            yield here, value
        elif hasattr(value, 'get_fields_and_field_types'):
            yield from floats(value, f'{here}.')
        elif isinstance(value, list):
            for item in value:
                if hasattr(item, 'get_fields_and_field_types'):
                    yield from floats(item, f'{here}[].')


def _many(text: str, lengths: st.SearchStrategy, is_fixed: bool = False) -> st.SearchStrategy:
    if text not in DTYPES or text in ('boolean', 'octet'):
        # Many that each hold much would be beyond what a message on the wire can be.
        few = st.lists(values(text, WITHIN), max_size=3)
        repeated = st.tuples(values(text, WITHIN), lengths).map(
            lambda drawn: [drawn[0]] * min(drawn[1], MANY)
        )
        return repeated if is_fixed else few | repeated
    kind = DTYPES[text]
    pokes = st.lists(st.tuples(st.integers(0, 2**31), values(text)), max_size=2)

    def made(drawn: Any) -> Any:
        fill, length, poked = drawn
        with np.errstate(over='ignore'):
            whole = np.full(length, fill, kind)
            for place, value in poked if length else ():
                whole[place % length] = value
        return whole if is_fixed else array.array(CODES[text], whole.tobytes())

    return st.tuples(values(text), lengths, pokes).map(made)


def _like(text: str, old: Any) -> st.SearchStrategy:
    """Return values of a type, most of them close to an old one."""
    fresh = values(text)
    if isinstance(old, str) and len(old) > 8:
        return fresh | _damaged(old)
    if isinstance(old, (array.array, np.ndarray)) and len(old):
        changed = st.tuples(
            st.integers(0, len(old) - 1), values((SEQUENCE.match(text) or ARRAY.match(text))[1])
        )
        poked = changed.map(lambda drawn: _poked(old, *drawn))
        if ARRAY.match(text):
            return fresh | poked
        cut = st.sampled_from([old[:-1], old + old[:1], old[: len(old) // 2], old + old])
        return fresh | poked | cut
    if isinstance(old, list) and old:
        lists: List[Any] = [old[:-1], old + old[-1:], old[::-1], old[:1], old[:1] * len(old)]
        return fresh | st.sampled_from(lists)
    return fresh


@st.composite
def _damaged(draw: Any, text: str) -> str:
    """Return a text with a number replaced, or a piece of it gone or doubled."""
    numbers = [match.span() for match in re.finditer(r'-?\d+(\.\d+)?', text)][:2000]
    if numbers and draw(st.booleans()):
        begin, end = draw(st.sampled_from(numbers))
        return text[:begin] + draw(st.sampled_from(WRONG_NUMBERS)) + text[end:]
    begin = draw(st.integers(0, len(text)))
    end = min(len(text), begin + draw(st.integers(0, 200)))
    return text[:begin] + text[begin:end] * draw(st.sampled_from((0, 2))) + text[end:]


def _poked(old: Any, place: int, value: Any) -> Any:
    new = copy.copy(old)
    with np.errstate(over='ignore'):
        new[place] = value
    return new


def _at(holder: Any, part: Any) -> Any:
    return holder[part] if isinstance(part, int) else getattr(holder, part)


def _put(holder: Any, part: Any, value: Any) -> None:
    if isinstance(part, int):
        holder[part] = value
    else:
        setattr(holder, part, value)
