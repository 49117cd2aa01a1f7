"""A window as a screen, by Tk, which comes with most Pythons."""

import os
import tkinter
from typing import Any, Dict, List

import numpy as np

from av_td3_ros.cli.sim_terminal import KEYS

SYMBOLS = {'Up': 'up', 'Down': 'down', 'Left': 'left', 'Right': 'right', 'space': 'brake'}


class WindowError(RuntimeError):
    """There is no display to open a window on."""


class Window:
    """One window with a picture and two lines below it."""

    size = 640, 360
    real_time = True

    def __enter__(self) -> 'Window':
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise WindowError(
                f'a window needs a display, got DISPLAY={os.environ.get("DISPLAY", "")!r}: '
                f'{error}; use --screen terminal'
            ) from None
        self._root.title('av-td3 sim')
        self._root.configure(bg='black')
        self._image = tkinter.PhotoImage(master=self._root)
        tkinter.Label(self._root, image=self._image, bd=0).pack()
        self._text = tkinter.Label(self._root, bg='black', fg='white', font='TkFixedFont')
        self._text.pack(fill='x')
        self._keys: List[str] = []
        self._root.bind('<KeyPress>', self._press)
        self._root.protocol('WM_DELETE_WINDOW', lambda: self._keys.append('quit'))
        return self

    def __exit__(self, *_: Any) -> None:
        self._root.destroy()

    def keys(self, wait: float) -> List[str]:
        """
        Return the keys pressed since the last call.

        :param wait: time to let the window live for, s.
        """
        over = tkinter.BooleanVar(self._root, False)
        self._root.after(max(int(wait * 1e3), 1), over.set, True)
        self._root.wait_variable(over)
        keys, self._keys = self._keys, []
        return keys

    def show(self, picture: np.ndarray, lines: List[str]) -> None:
        """
        Draw.

        :param picture: (height, width, 3) uint8 RGB. :param lines: of text below it.
        """
        height, width = picture.shape[:2]
        ppm = f'P6 {width} {height} 255 '.encode() + np.ascontiguousarray(picture).tobytes()
        self._image.configure(data=ppm)
        self._text.configure(text='\n'.join(lines))
        self._root.update()

    def _press(self, event: Any) -> None:
        known: Dict[str, str] = {**KEYS, **SYMBOLS}
        key = known.get(event.keysym) or known.get(event.keysym.lower())
        if key is not None:
            self._keys.append(key)
