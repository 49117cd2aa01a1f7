"""
Camera messages as the field sends them: any usual encoding, raw or compressed, to grey, or to
colours for people.

Nothing is believed: sizes are checked against the bytes that came, and those of a compressed image
are read from its header before it is decoded. Grey has the weights of BT.601, as in training.
"""

import math
import sys
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from av_td3_ros.datatypes import SpecError
from av_td3_ros.driving.camera_model import Intrinsics

# Beyond any camera; an image this large is an attack or a mistake.
MOST_PIXELS = 4096 * 4096
MOST_COMPRESSED_BYTES = 32 * 2**20
# A progressive JPEG repeats its work with every scan; cameras and tools write ten at most.
MOST_SCANS = 32
MOST_COEFFICIENTS = 14
MOST_TURN_DEG = 1.0
# Luma of a camera is 16 to 235 (BT.601), that of training 0 to 255.
FULL_RANGE = np.clip(np.round((np.arange(256) - 16.0) * 255.0 / 219.0), 0, 255).astype(np.uint8)
# OpenCV names a Bayer pattern by its second row, ROS by its first.
PATTERNS = (('rggb', 'BG'), ('bggr', 'RG'), ('gbrg', 'GR'), ('grbg', 'GB'))
JPEG, PNG = b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n'

Grey = Callable[[np.ndarray], np.ndarray]


class Encoding(NamedTuple):
    """
    How pixels lie in memory.

    ``channels`` per pixel and ``depth`` bytes each; ``planes``: bytes of the whole image for each
    byte of its first plane; ``grey``: from (rows, columns[, channels]) to (rows, columns).
    """

    channels: int
    depth: int
    planes: float
    grey: Grey


def _by(code: int) -> Grey:
    return lambda pixels: cv2.cvtColor(pixels, code)


def _luma(channel: int) -> Grey:
    return lambda pixels: cv2.LUT(cv2.extractChannel(pixels, channel), FULL_RANGE)


def _same(pixels: np.ndarray) -> np.ndarray:
    return pixels


def _encodings() -> Dict[str, Encoding]:
    table = {
        'mono8': Encoding(1, 1, 1.0, _same),
        'mono16': Encoding(1, 2, 1.0, _same),
        # OpenCV's type names leave the order of the colours open: OpenCV's own is taken.
        '8UC1': Encoding(1, 1, 1.0, _same),
        '8UC3': Encoding(3, 1, 1.0, _by(cv2.COLOR_BGR2GRAY)),
        '8UC4': Encoding(4, 1, 1.0, _by(cv2.COLOR_BGRA2GRAY)),
    }
    for order, channels in (('bgra', 4), ('rgba', 4), ('bgr', 3), ('rgb', 3)):
        grey = _by(getattr(cv2, f'COLOR_{order.upper()}2GRAY'))
        for depth in (1, 2):
            table[f'{order}{8 * depth}'] = Encoding(channels, depth, 1.0, grey)
    for pattern, code in PATTERNS:
        grey = _by(getattr(cv2, f'COLOR_Bayer{code}2GRAY'))
        for depth in (1, 2):
            table[f'bayer_{pattern}{8 * depth}'] = Encoding(1, depth, 1.0, grey)
    # Kilted has short names beside the old ones.
    for names, channel in ((('yuv422', 'uyvy'), 1), (('yuv422_yuy2', 'yuyv'), 0)):
        table.update({name: Encoding(2, 1, 1.0, _luma(channel)) for name in names})
    for name, planes in (('nv12', 1.5), ('nv21', 1.5), ('nv24', 3.0)):
        table[name] = Encoding(1, 1, planes, lambda pixels: cv2.LUT(pixels, FULL_RANGE))
    return table


ENCODINGS = _encodings()
# To (rows, columns, 3) RGB, where that is one step; other encodings are shown in grey.
COLOURS: Dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'rgb8': _same,
    'rgba8': _by(cv2.COLOR_RGBA2RGB),
    **dict.fromkeys(('bgr8', '8UC3'), _by(cv2.COLOR_BGR2RGB)),
    **dict.fromkeys(('bgra8', '8UC4'), _by(cv2.COLOR_BGRA2RGB)),
    **{f'bayer_{name}8': _by(getattr(cv2, f'COLOR_Bayer{code}2RGB')) for name, code in PATTERNS},
}


def to_grey(msg: Image) -> np.ndarray:
    """
    Return an image message as (rows, columns) uint8; not copied where it is grey already.

    :raises SpecError: for an encoding, step, size or byte order that does not fit.
    """
    encoding, pixels = _checked(msg)
    if encoding.depth == 2:
        return cv2.convertScaleAbs(encoding.grey(pixels), alpha=255.0 / 65535.0)
    return encoding.grey(pixels)


def to_rgb(msg: Image) -> np.ndarray:
    """
    Return an image message for people, as (rows, columns, 3) uint8 RGB: grey where it is YUV or
    has 16 bits.

    :raises SpecError: for an encoding, step, size or byte order that does not fit.
    """
    if msg.encoding in COLOURS:
        return COLOURS[msg.encoding](_checked(msg)[1])
    return cv2.cvtColor(to_grey(msg), cv2.COLOR_GRAY2RGB)


def from_compressed(msg: CompressedImage) -> np.ndarray:
    """
    Return a compressed image message as (rows, columns) uint8.

    :raises SpecError: where it is neither JPEG nor PNG, is not whole, or is too large.
    """
    return _decoded(msg, cv2.IMREAD_GRAYSCALE)


def compressed_to_rgb(msg: CompressedImage) -> np.ndarray:
    """
    Return a compressed image message for people, as (rows, columns, 3) uint8 RGB.

    :raises SpecError: where it is neither JPEG nor PNG, is not whole, or is too large.
    """
    return cv2.cvtColor(_decoded(msg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def from_camera_info(msg: CameraInfo, rectified: bool) -> Intrinsics:
    """
    Return the camera of the images that come with this message, region and binning applied.

    An ideal camera, as simulators publish it, has its axis at exactly half the size and means the
    middle of the image; a calibrated one counts from the centre of the first pixel.

    :param rectified: whether the images are rectified: P holds, and no distortion.
    :raises SpecError: where it makes no camera, or a rectified one is turned.
    """
    if len(msg.d) > MOST_COEFFICIENTS:
        raise SpecError(
            f'CameraInfo must have at most {MOST_COEFFICIENTS} coefficients, got {len(msg.d)}'
        )
    matrix = np.array(msg.p).reshape(3, 4)[:, :3] if rectified else np.array(msg.k).reshape(3, 3)
    (fx, skew, cx), (_, fy, cy) = matrix[:2].tolist()
    if not abs(skew) <= 1e-3 * abs(fx):
        raise SpecError(f'CameraInfo must have no skew, got {skew:g}; calibrate the camera')
    if rectified:
        _check_turn(np.array(msg.r).reshape(3, 3))
    if (cx, cy) == (msg.width / 2.0, msg.height / 2.0):
        cx, cy = cx - 0.5, cy - 0.5
    roi, across, down = msg.roi, max(msg.binning_x, 1), max(msg.binning_y, 1)
    return Intrinsics(
        (roi.width or msg.width) // across,
        (roi.height or msg.height) // down,
        fx / across,
        fy / down,
        (cx - roi.x_offset + 0.5) / across - 0.5,
        (cy - roi.y_offset + 0.5) / down - 0.5,
        msg.distortion_model,
        () if rectified else tuple(msg.d),
    ).check()


def camera_info_key(msg: CameraInfo) -> Tuple[Any, ...]:
    """Return what makes a camera in this message; equal where nothing has changed, NaN or not."""
    roi = msg.roi
    numbers = (*msg.k, *msg.r, *msg.p, *msg.d[: MOST_COEFFICIENTS + 1])
    return (
        *(msg.width, msg.height, msg.distortion_model, msg.binning_x, msg.binning_y),
        *(roi.x_offset, roi.y_offset, roi.width, roi.height),
        np.array(numbers, np.float64).tobytes(),
    )


def _decoded(msg: CompressedImage, mode: int) -> np.ndarray:
    """Return the pixels of a compressed image in a mode of OpenCV's ``imdecode``, checked."""
    if not 0 < len(msg.data) <= MOST_COMPRESSED_BYTES:
        raise SpecError(
            f'compressed image must have 1 to {MOST_COMPRESSED_BYTES} bytes, got {len(msg.data)}'
        )
    data = bytes(msg.data)
    size = _jpeg_size(data) if data.startswith(JPEG) else _png_size(data)
    if size is None:
        raise SpecError(
            f"compressed image must be a whole jpeg or png, got format '{msg.format[:40]}' with "
            f'{len(data)} bytes that begin with {data[:8].hex(" ")}; check the image transport'
        )
    _check_size(*size, 'compressed')
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), mode | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise SpecError(f'compressed image must be decodable, got: {error.err}') from None
    if pixels is None or pixels.shape[1::-1] != size:
        raise SpecError(
            f'compressed image of {size[0]}x{size[1]} must be decodable, got '
            f'{"nothing" if pixels is None else f"{pixels.shape[1]}x{pixels.shape[0]}"} from '
            f'{len(data)} bytes; check the network between camera and perception'
        )
    return pixels


def _checked(msg: Image) -> Tuple[Encoding, np.ndarray]:
    """Return how an image is encoded, and (rows, columns[, channels]) of its first plane."""
    encoding = ENCODINGS.get(msg.encoding)
    if encoding is None:
        raise SpecError(
            f"image encoding must be one of {', '.join(ENCODINGS)}, got '{msg.encoding[:40]}'; "
            'check the camera'
        )
    pixels = _pixels(msg, encoding)
    if msg.encoding.startswith('bayer') and min(pixels.shape) < 4:
        raise SpecError(
            f'image of {msg.width}x{msg.height} {msg.encoding} must have at least 4x4 pixels'
        )
    return encoding, pixels


def _pixels(msg: Image, encoding: Encoding) -> np.ndarray:
    """Return (rows, columns[, channels]) of the first plane, checked, without a copy."""
    _check_size(msg.width, msg.height, msg.encoding)
    row = msg.width * encoding.channels * encoding.depth
    size = int(msg.step * msg.height * encoding.planes)
    if msg.step < row or len(msg.data) != size:
        times = '' if encoding.planes == 1.0 else f' * {encoding.planes:g}'
        raise SpecError(
            f'image of {msg.width}x{msg.height} {msg.encoding} must have step >= {row} and '
            f'step * height{times} bytes, got step {msg.step} and {len(msg.data)} bytes'
        )
    if msg.is_bigendian > 1 or msg.step % encoding.depth:
        raise SpecError(
            f'image of {msg.encoding} must have is_bigendian 0 or 1 and a step of whole values, '
            f'got {msg.is_bigendian} and {msg.step}'
        )
    plane = np.frombuffer(msg.data, np.uint8, msg.step * msg.height)
    pixels = plane.reshape(msg.height, msg.step)[:, :row]
    if encoding.depth == 2:
        swapped = bool(msg.is_bigendian) != (sys.byteorder == 'big')
        pixels = np.ascontiguousarray(pixels).view(np.uint16)
        pixels = pixels.byteswap() if swapped else pixels
    if encoding.channels == 1:
        return pixels
    return pixels.reshape(msg.height, msg.width, encoding.channels)


def _check_size(width: int, height: int, what: str) -> None:
    if not (width > 0 and height > 0 and width * height <= MOST_PIXELS):
        raise SpecError(
            f'image must have 1 to {MOST_PIXELS} pixels, got {width}x{height} {what}; check the '
            'camera'
        )


def _check_turn(turn: np.ndarray) -> None:
    if not turn.any():
        return  # not filled in
    cosine = (float(np.trace(turn)) - 1.0) / 2.0
    angle = math.degrees(math.acos(min(1.0, max(-1.0, cosine)))) if cosine == cosine else math.nan
    if not angle <= MOST_TURN_DEG:
        raise SpecError(
            f'a rectified image must look along the camera axis within {MOST_TURN_DEG:g} deg, got '
            f'{angle:.1f} deg in R of CameraInfo; use the image before rectification'
        )


def _png_size(data: bytes) -> Optional[Tuple[int, int]]:
    """Return width and height of a PNG that has its end, else None."""
    if not (data.startswith(PNG) and data[12:16] == b'IHDR' and data[-8:-4] == b'IEND'):
        return None
    return int.from_bytes(data[16:20], 'big'), int.from_bytes(data[20:24], 'big')


def _jpeg_size(data: bytes) -> Optional[Tuple[int, int]]:
    """Return width and height of a JPEG that has its end and few scans, else None."""
    size, at = None, 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], 'big')
        # Frame headers; what else is in their range are tables.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if size is not None:
                return None
            rows, columns = (int.from_bytes(data[at + k : at + k + 2], 'big') for k in (5, 7))
            size = columns, rows
        if marker == 0xDA:
            scans = data.count(b'\xff\xda', at)
            whole = data.find(b'\xff\xd9', at) > 0
            return size if whole and scans <= MOST_SCANS else None
        at += 2 + max(length, 2)
    return None
