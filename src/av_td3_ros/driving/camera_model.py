"""
The picture that the training camera would have taken, from the picture of another camera.

Every pixel of the network's frame is an area of the training image: a bundle of rays. The rays are
projected into the real camera with its lens (``CameraInfo``: pinhole with plumb_bob,
rational_polynomial or equidistant distortion) and the brightness there is averaged. The tables are
made once; a frame costs one shrinking and one ``cv2.remap`` of what the frame needs.

Distortion as in OpenCV: Brown 1966 and Claus and Fitzgibbon 2005 (rational), Kannala and Brandt
2006 (equidistant).
"""

import math
from typing import Callable, NamedTuple, Tuple

import cv2
import numpy as np

from av_td3_ros.datatypes import SpecError
from av_td3_ros.driving.preprocess import grey_frame
from av_td3_ros.task_config import CameraConfig, ObservationConfig

PLUMB_BOB, RATIONAL, EQUIDISTANT = 'plumb_bob', 'rational_polynomial', 'equidistant'
# Coefficients of each model, beyond which only noughts may follow.
COEFFICIENTS = {PLUMB_BOB: 5, RATIONAL: 8, EQUIDISTANT: 4}
# Deviation, in pixels of the network's frame, below which a camera is the training camera.
SAME = 0.1
# Pixels of the image for one of the network's frame, at least; what is coarser shows nothing.
COARSEST = 0.4
# Samples across a pixel of the network's frame, in x and in y.
MOST_SAMPLES = 8
RADII = 4096


class Intrinsics(NamedTuple):
    """
    A camera: size (px), focal lengths and principal point (px), distortion.

    The principal point counts from the centre of the first pixel, as OpenCV's calibration does.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    model: str = PLUMB_BOB
    d: Tuple[float, ...] = ()

    def check(self) -> 'Intrinsics':
        """
        Return it.

        :raises SpecError: where a number is not finite or makes no camera.
        """
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.d)
        if not all(math.isfinite(value) for value in numbers):
            raise SpecError(f'CameraInfo must be finite, got {self}; calibrate the camera')
        if not (self.width > 0 and self.height > 0 and self.fx > 0.0 and self.fy > 0.0):
            raise SpecError(
                'CameraInfo must have a size and focal lengths > 0, got '
                f'{self.width}x{self.height}, fx {self.fx:g}, fy {self.fy:g}; calibrate the '
                'camera, or turn its image the right way up'
            )
        if not (0.0 <= self.cx <= self.width and 0.0 <= self.cy <= self.height):
            raise SpecError(
                f'the principal point must be in the image of {self.width}x{self.height}, got '
                f'({self.cx:g}, {self.cy:g}); calibrate the camera'
            )
        if any(self.d) and self.model not in COEFFICIENTS:
            raise SpecError(
                f"distortion_model must be one of {', '.join(COEFFICIENTS)}, got '{self.model}'; "
                'rectify the image and set camera.rectified'
            )
        if any(self.d[COEFFICIENTS.get(self.model, 0) :]):
            raise SpecError(
                f'{self.model} must have {COEFFICIENTS[self.model]} coefficients here, got '
                f'{len(self.d)}: {self.d}; rectify the image and set camera.rectified'
            )
        return self

    def __str__(self) -> str:
        """Say size, field of view and lens."""
        if self.model == EQUIDISTANT:  # a lens without coefficients, too
            wide, high = (s / f for s, f in ((self.width, self.fx), (self.height, self.fy)))
        else:
            wide = 2.0 * math.atan(self.width / 2.0 / self.fx)
            high = 2.0 * math.atan(self.height / 2.0 / self.fy)
        lens = self.model if any(self.d) or self.model == EQUIDISTANT else 'no distortion'
        return (
            f'{self.width}x{self.height}, {math.degrees(wide):.1f} x {math.degrees(high):.1f} deg '
            f'({lens})'
        )


def ideal(width: int, height: int, fov_deg: float) -> Intrinsics:
    """Return a pinhole camera with its axis in the middle; ``fov_deg``: horizontal."""
    focal = width / (2.0 * math.tan(math.radians(fov_deg) / 2.0))
    return Intrinsics(width, height, focal, focal, (width - 1) / 2.0, (height - 1) / 2.0)


def project(
    camera: Intrinsics, x: np.ndarray, y: np.ndarray
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Project the rays (x, y, 1), x to the right and y down, into an image.

    A polynomial folds back beyond some angle: rays out there are not seen, and end at that angle.

    :param x: any shape. :param y: of the same shape.
    :returns: column and row, px from the centre of the first pixel, and whether the lens sees the
        ray; each of the same shape.
    """
    k = np.zeros(8)
    k[: min(len(camera.d), 8)] = camera.d[:8]
    if not k.any() and camera.model != EQUIDISTANT:
        return camera.fx * x + camera.cx, camera.fy * y + camera.cy, np.ones(x.shape, bool)
    bend = _equidistant if camera.model == EQUIDISTANT else _rational
    radius = np.hypot(x, y)
    held = np.minimum(radius, _fold(lambda r: bend(r, k), radius.max()))
    direction = np.where(radius > 0.0, 1.0 / np.maximum(radius, 1e-12), 0.0)
    x, y = x * direction, y * direction
    bent = bend(held, k)
    u, v = x * bent, y * bent
    if camera.model != EQUIDISTANT:
        x, y, (p1, p2) = x * held, y * held, k[2:4]
        u = u + 2.0 * p1 * x * y + p2 * (held**2 + 2.0 * x * x)
        v = v + p1 * (held**2 + 2.0 * y * y) + 2.0 * p2 * x * y
    return camera.fx * u + camera.cx, camera.fy * v + camera.cy, radius <= held


class View:
    """What a camera shows of the view that the policy was trained with."""

    def __init__(
        self, camera: Intrinsics, training: CameraConfig, observation: ObservationConfig
    ) -> None:
        """
        Make the tables.

        :raises SpecError: where the camera cannot stand in for the training camera.
        """
        self.camera = camera.check()
        self.training = ideal(training.width, training.height, training.fov_deg)
        self._observation = observation
        column, row, seen = self._where(1, 1)
        self.uncovered = 1.0 - float(np.mean(seen))
        if self.uncovered > training.max_uncovered:
            raise SpecError(
                f'the camera must see at least {1.0 - training.max_uncovered:.1%} of the training '
                f'view, got {1.0 - self.uncovered:.1%}: camera {self.camera}, training camera '
                f'{self.training} below its upper {observation.crop_top:.0%}; use a wider lens, '
                'or allow camera.max_uncovered in perception.param.yaml'
            )
        pixel = _spacing(column), _spacing(row)
        coarsest = min(float(pixel[0].min()), float(pixel[1].min()))
        if coarsest < COARSEST:
            raise SpecError(
                f"the camera must have {COARSEST} pixels for each of the network's frame, got "
                f'{coarsest:.2g}: camera {self.camera}; use a finer one, or calibrate it'
            )
        self.is_plain = self._is_plain(column, row)
        if not self.is_plain:
            self._make_tables(*pixel)

    def __str__(self) -> str:
        """Say what is done."""
        if self.is_plain:
            return f'camera {self.camera}: as in training'
        return (
            f'camera {self.camera}, re-projected to the training camera {self.training}; '
            f'{self.uncovered:.1%} of its view not seen'
        )

    def frame(self, grey: np.ndarray) -> np.ndarray:
        """
        Return the network's frame.

        :param grey: (rows, columns) uint8 of the camera.
        :returns: (height, width) uint8 of the observation.
        :raises SpecError: where the image has another size than the camera.
        """
        if grey.shape != (self.camera.height, self.camera.width):
            raise SpecError(
                f'image of {grey.shape[1]}x{grey.shape[0]} must have the size in CameraInfo, '
                f'{self.camera.width}x{self.camera.height}; both must come from one camera'
            )
        if self.is_plain:
            return grey_frame(grey, self._observation)
        part = grey[self._part]
        if self._shrink != (1, 1):
            size = part.shape[1] // self._shrink[0], part.shape[0] // self._shrink[1]
            part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        fine = cv2.remap(part, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        size = self._observation.width, self._observation.height
        return cv2.resize(fine, size, interpolation=cv2.INTER_AREA)

    def _where(self, across: int, down: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """
        Return column, row and visibility of ``across`` x ``down`` samples in every pixel.

        Each is (height * down, width * across).
        """
        training, observation = self.training, self._observation
        top = int(training.height * observation.crop_top)
        columns, rows = observation.width * across, observation.height * down
        u = (np.arange(columns) + 0.5) * training.width / columns - 0.5
        v = top + (np.arange(rows) + 0.5) * (training.height - top) / rows - 0.5
        x, y = np.meshgrid((u - training.cx) / training.fx, (v - training.cy) / training.fy)
        column, row, seen = project(self.camera, x, y)
        inside = (np.abs(column - (self.camera.width - 1) / 2) <= self.camera.width / 2) & (
            np.abs(row - (self.camera.height - 1) / 2) <= self.camera.height / 2
        )
        return column, row, seen & inside

    def _is_plain(self, column: np.ndarray, row: np.ndarray) -> bool:
        """Whether cropping and scaling the image as in training gives the same view."""
        height, width = column.shape
        top = int(self.camera.height * self._observation.crop_top)
        pixel_x, pixel_y = self.camera.width / width, (self.camera.height - top) / height
        plain_x = (np.arange(width) + 0.5) * pixel_x - 0.5
        plain_y = top + (np.arange(height)[:, None] + 0.5) * pixel_y - 0.5
        return bool(
            np.all(np.abs(column - plain_x) <= SAME * pixel_x)
            and np.all(np.abs(row - plain_y) <= SAME * pixel_y)
        )

    def _make_tables(self, pixel_x: np.ndarray, pixel_y: np.ndarray) -> None:
        """
        Choose what is read of the image, how far it is shrunk first, and where it is sampled.

        Shrinking leaves at least three pixels to each of the frame's, so that no sample mixes what
        belongs to others.

        :param pixel_x: how wide each pixel of the frame is in the image, px.
        :param pixel_y: how high.
        """
        shrink = tuple(max(1, int(pixel.min() / 3.0)) for pixel in (pixel_x, pixel_y))
        across, down = (
            min(MOST_SAMPLES, max(1, math.ceil(pixel.max() / by)))
            for pixel, by in zip((pixel_x, pixel_y), shrink)
        )
        column, row, _ = self._where(across, down)
        left, right = _range(column, self.camera.width, shrink[0])
        top, bottom = _range(row, self.camera.height, shrink[1])
        self._part = slice(top, bottom), slice(left, right)
        self._shrink = shrink
        column = (column - left + 0.5) / shrink[0] - 0.5
        row = (row - top + 0.5) / shrink[1] - 0.5
        limit = 1 << 14  # what is far outside must fit the tables' 16 bits
        self._maps = cv2.convertMaps(
            np.clip(column, -limit, limit).astype(np.float32),
            np.clip(row, -limit, limit).astype(np.float32),
            cv2.CV_16SC2,
        )


def _rational(radius: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return where a ray at a radius goes: k1, k2, p1, p2, k3, k4, k5, k6 of OpenCV."""
    s = radius * radius
    with np.errstate(divide='ignore', invalid='ignore'):
        return (
            radius
            * (1.0 + s * (k[0] + s * (k[1] + s * k[4])))
            / (1.0 + s * (k[5] + s * (k[6] + s * k[7])))
        )


def _equidistant(radius: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Return where a ray at a radius goes: k1, k2, k3, k4 of OpenCV's fisheye model."""
    angle = np.arctan(radius)
    s = angle * angle
    return angle * (1.0 + s * (k[0] + s * (k[1] + s * (k[2] + s * k[3]))))


def _fold(bend: Callable[[np.ndarray], np.ndarray], farthest: float) -> float:
    """Return the radius up to which a lens model is monotonic."""
    radii = np.linspace(0.0, farthest, RADII)
    rising = np.diff(bend(radii)) > 0.0
    return farthest if rising.all() else float(radii[np.argmin(rising)])


def _spacing(coordinate: np.ndarray) -> np.ndarray:
    """Return how far apart neighbouring pixels of the frame are in the image, px."""
    down, across = np.gradient(coordinate)
    return np.maximum(np.abs(down), np.abs(across))


def _range(coordinate: np.ndarray, size: int, multiple: int) -> Tuple[int, int]:
    """Return the first pixel that is needed and the one behind the last, a multiple apart."""
    first = int(np.clip(np.floor(coordinate.min()) - multiple, 0, size - multiple))
    behind = int(np.clip(np.ceil(coordinate.max()) + 1 + multiple, first + multiple, size))
    return first, behind - (behind - first) % multiple
