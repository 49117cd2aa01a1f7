"""Files that ``av-td3 sim --record`` writes: GIF, MP4, and PNG for one picture."""

import os
from pathlib import Path
import tempfile
from typing import Any, List

import cv2
import numpy as np

from av_td3_ros.options import ConfigError

SUFFIXES = ('.gif', '.mp4', '.png')
GIF_LONGEST = 60.0
GIF_PERIOD = 0.1
GIF_COLOURS = 128
# More than what a video holds back until its end, bytes.
PROBE = 1 << 20


class Recorder:
    """
    Collects pictures and writes the file at the end of the ``with``, also after Ctrl-C.

    The file appears whole or not at all. ``path``: of the file. ``length``: of what is in it, s of
    simulated time; 0 while there is none.
    """

    size = 640, 360

    def __init__(self, path: Path, period: float) -> None:
        """
        Prepare a file.

        :param path: by its suffix, .gif (ten pictures a second), .mp4 or .png (the last picture).
        :param period: simulated time between two pictures, s.
        """
        self.length = 0.0
        self.path = path
        self._period = period
        self._pictures = 0
        self._next = 0.0
        self._kept: List[Any] = []
        self._folder = tempfile.TemporaryDirectory(prefix='.av_td3_', dir=path.parent)
        self._part = Path(self._folder.name) / f'part{path.suffix.lower()}'
        self._video: Any = None

    def __enter__(self) -> 'Recorder':
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            if self._pictures:
                self._finish()
                self._part.replace(self.path)
                self.length = self._pictures * self._period
        except OSError as error:
            raise RuntimeError(
                f'{self.path} must be written whole, got: {error.strerror or error}; make room '
                'on its disk, or record elsewhere'
            ) from None
        finally:
            self._folder.cleanup()

    def add(self, picture: np.ndarray) -> None:
        """
        Take the next picture.

        :param picture: (height, width, 3) uint8 RGB, always of the same size.
        """
        at = self._pictures * self._period
        self._pictures += 1
        if self._part.suffix == '.mp4':
            self._add_to_video(picture)
        elif self._part.suffix == '.png':
            self._kept = [picture]
        elif at >= self._next - 1e-9:
            from PIL import Image

            # Without dithering, which moves from picture to picture and triples the file.
            self._kept.append(
                Image.fromarray(picture).quantize(GIF_COLOURS, dither=Image.Dither.NONE)
            )
            self._next += GIF_PERIOD

    def _add_to_video(self, picture: np.ndarray) -> None:
        if self._video is None:
            # Both would print of their own about a full disk, OpenCV with every picture.
            os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '8')
            cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
            height, width = picture.shape[:2]
            self._video = cv2.VideoWriter(
                str(self._part),
                cv2.VideoWriter.fourcc(*'mp4v'),
                1.0 / self._period,
                (width, height),
            )
            if not self._video.isOpened():
                self._find_fault()
                raise RuntimeError(
                    'OpenCV must be able to write MP4, got a build without; record a .gif'
                )
        self._video.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def _finish(self) -> None:
        if self._video is not None:
            self._video.release()
            self._check_video()
        elif self._part.suffix == '.png':
            _, data = cv2.imencode('.png', cv2.cvtColor(self._kept[-1], cv2.COLOR_RGB2BGR))
            self._part.write_bytes(data)
        else:
            every = max(GIF_PERIOD, self._period)
            self._kept[0].save(
                self._part,
                save_all=True,
                append_images=self._kept[1:],
                duration=round(every * 1e3),
                loop=0,
            )

    def _check_video(self) -> None:
        """Read it back: OpenCV does not tell of what it could not write."""
        video = cv2.VideoCapture(str(self._part))
        count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        video.set(cv2.CAP_PROP_POS_FRAMES, self._pictures - 1)
        is_whole = count == self._pictures and video.grab()
        video.release()
        if not is_whole:
            self._find_fault()
            raise OSError(f'{count} of {self._pictures} pictures in the file')

    def _find_fault(self) -> None:
        """Write what OpenCV could not, to be told why."""
        with self._part.open('ab') as file:
            file.write(bytes(PROBE))


def check(path: Path, seconds: float) -> None:
    """
    Refuse what could not be written in the end.

    :param path: of the file. :param seconds: of simulated time to record.
    :raises ConfigError: for an unknown suffix, a folder that cannot be written, or a GIF that
        would be too large for what shows GIFs.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f'--record must end in {", ".join(SUFFIXES)}, got {path}')
    if path.suffix.lower() == '.gif' and seconds > GIF_LONGEST:
        raise ConfigError(
            f'--seconds must be <= {GIF_LONGEST:g} for a GIF, got {seconds:g}; record an .mp4'
        )
    if path.is_dir():
        raise ConfigError(f'--record must be a file, got the folder {path}')
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ConfigError(
            f'--record must be in a folder that can be written, got {path}: {error.strerror}'
        ) from None
