"""
A terminal as a screen: pictures in half blocks of 24-bit colour, keys without Enter.

A cell shows two pixels: the upper half block in its foreground colour, over its background colour.
Sequences: ECMA-48 and xterm's "ctlseqs" (alternate screen, cursor), SGR 38;2 and 48;2 for colour.
"""

import os
import re
import select
import shutil
import sys
import termios
from typing import Any, List, Tuple
import tty

import cv2
import numpy as np

ENTER = '\033[?1049h\033[?25l\033[2J'
LEAVE = '\033[0m\033[?25h\033[?1049l'
HALF = '\u2580'
STATUS_ROWS = 2
KEYS = {
    'w': 'up',
    's': 'down',
    'a': 'left',
    'd': 'right',
    ' ': 'brake',
    'q': 'quit',
    'v': 'view',
    'r': 'route',
    'p': 'pause',
}
ARROWS = {'A': 'up', 'B': 'down', 'C': 'right', 'D': 'left'}
_SEQUENCE = re.compile(rb'\033\[[0-9;?]*[ -/]*([@-~])|\033O(.)|(.)', re.DOTALL)
_UNFINISHED = re.compile(rb'\033(\[[0-9;?]*[ -/]*|O)?\Z')


def read_keys(data: bytes) -> Tuple[List[str], bytes]:
    """
    Find the keys in what a terminal sent.

    :param data: raw input.
    :returns: names of known keys, and the beginning of a sequence whose end is still to come.
    """
    unfinished = _UNFINISHED.search(data)
    rest = data[unfinished.start() :] if unfinished else b''
    keys = []
    for match in _SEQUENCE.finditer(data[: len(data) - len(rest)]):
        arrow, plain = match[1] or match[2], match[3]
        text = (arrow or plain).decode('latin-1')
        key = ARROWS.get(text) if arrow else KEYS.get(text.lower())
        if key is not None:
            keys.append(key)
    return keys, rest


def half_blocks(picture: np.ndarray, columns: int, rows: int) -> List[str]:
    """
    Draw a picture as lines of text, as large as fits, in the middle.

    :param picture: (height, width, 3) uint8 RGB.
    :param columns: cells of a line.
    :param rows: lines.
    """
    height, width = picture.shape[:2]
    scale = min(columns / width, 2 * rows / height)
    wide, high = max(int(width * scale), 1), max(int(height * scale) // 2, 1)
    small = cv2.resize(picture, (wide, 2 * high), interpolation=cv2.INTER_AREA)
    margin = ' ' * ((columns - wide) // 2)
    # Plain numbers: indexing an array once per cell would take most of the time.
    pixels = small.reshape(high, 2, wide, 3).tolist()
    return [margin + _line(upper, lower) for upper, lower in pixels]


def _line(upper: List[List[int]], lower: List[List[int]]) -> str:
    parts, last_upper, last_lower = [], None, None
    for above, below in zip(upper, lower):
        if above != last_upper:
            parts.append('\033[38;2;{};{};{}m'.format(*above))
            last_upper = above
        if below != last_lower:
            parts.append('\033[48;2;{};{};{}m'.format(*below))
            last_lower = below
        parts.append(HALF)
    return ''.join(parts) + '\033[0m'


class Terminal:
    """The terminal of this process; leaves it as it was, whatever happens inside the ``with``."""

    size = 320, 180
    real_time = True

    def __enter__(self) -> 'Terminal':
        self._input, self._output = sys.stdin.fileno(), sys.stdout
        self._before = termios.tcgetattr(self._input)
        self._rest, self._shape = b'', (0, 0)
        try:
            tty.setcbreak(self._input)
            raw = termios.tcgetattr(self._input)
            # Suspended with Ctrl-Z, it would leave its picture and its settings behind.
            raw[6][termios.VSUSP] = b'\0'
            termios.tcsetattr(self._input, termios.TCSANOW, raw)
            self._write(ENTER)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        termios.tcsetattr(self._input, termios.TCSAFLUSH, self._before)
        self._write(LEAVE)

    def keys(self, wait: float) -> List[str]:
        """
        Return the keys pressed since the last call.

        :param wait: longest time to wait for the first, s.
        """
        keys: List[str] = []
        while select.select([self._input], [], [], 0.0 if keys else wait)[0]:
            data = os.read(self._input, 1024)
            if not data:
                return ['quit']  # the terminal is gone
            found, self._rest = read_keys(self._rest + data)
            keys += found
            wait = 0.0
        return keys

    def show(self, picture: np.ndarray, lines: List[str]) -> None:
        """
        Draw.

        :param picture: (height, width, 3) uint8 RGB. :param lines: of text below it, at most two.
        """
        columns, rows = shape = shutil.get_terminal_size()
        text = half_blocks(picture, columns, max(rows - STATUS_ROWS, 1))
        text += [f'{line[:columns - 1]}\033[K' for line in lines]
        clear = '\033[2J' if shape != self._shape else ''
        self._shape = shape
        self._write(f'{clear}\033[H' + '\n'.join(text))

    def _write(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()
