"""Every encoding of the field against a reference made by hand from one coloured picture."""

import array
import math
import struct
import zlib

import cv2
import numpy as np
import pytest

pytest.importorskip('sensor_msgs.msg', reason='sensor_msgs is not installed')

from av_td3_ros.bridge import images  # noqa: E402
from av_td3_ros.config import ObservationConfig  # noqa: E402
from av_td3_ros.datatypes import SpecError  # noqa: E402
from av_td3_ros.driving.preprocess import grey_frame  # noqa: E402
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest  # noqa: E402

HEIGHT, WIDTH = 48, 64


def colours():
    """(rows, columns, 3) float RGB of [0, 255]: smooth, saturated, no channel like another."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / HEIGHT
    waves = [np.sin(3 * x + 1), np.cos(4 * y - x), np.sin(2 * x + 3 * y)]
    return np.round(127.5 + 127.5 * np.stack(waves, -1))


RGB = colours()
GREY = RGB @ [0.299, 0.587, 0.114]
R, G, B = (RGB[..., k] for k in range(3))
ALPHA = np.full((HEIGHT, WIDTH), 7.0)
# BT.601 as cameras send it: luma 16 to 235, chroma 16 to 240 around 128.
Y = 16 + GREY * 219 / 255
U = 128 + (B - GREY) / (2 * (1 - 0.114)) * 224 / 255
V = 128 + (R - GREY) / (2 * (1 - 0.299)) * 224 / 255


def rounded(values, kind=np.uint8):
    return np.clip(np.round(values), 0, np.iinfo(kind).max).astype(kind)


def packed(*channels, kind=np.uint8, scale=1.0):
    return rounded(np.stack(channels, -1) * scale, kind)


def halves(values):
    """The mean of every two columns."""
    return values.reshape(HEIGHT, -1, 2).mean(-1)


def yuv422(luma_first):
    pixels = np.zeros((HEIGHT, WIDTH, 2))
    pixels[..., 0 if luma_first else 1] = Y
    chroma = 1 if luma_first else 0
    pixels[:, ::2, chroma], pixels[:, 1::2, chroma] = halves(U), halves(V)
    return rounded(pixels)


def planar(name):
    u, v = (rounded(values) for values in (U, V))
    if name == 'nv24':
        chroma = np.stack([u, v], -1).reshape(2 * HEIGHT, WIDTH)
    else:
        first, second = (u, v) if name == 'nv12' else (v, u)
        chroma = np.stack([first[::2, ::2], second[::2, ::2]], -1).reshape(HEIGHT // 2, WIDTH)
    return np.vstack([rounded(Y), chroma])


def mosaic(pattern, kind=np.uint8, scale=1.0):
    """What a sensor under a filter sees; the pattern is its first four pixels, row by row."""
    planes, seen = {'r': R, 'g': G, 'b': B}, np.zeros((HEIGHT, WIDTH))
    for k, name in enumerate(pattern):
        seen[k // 2 :: 2, k % 2 :: 2] = planes[name][k // 2 :: 2, k % 2 :: 2]
    return rounded(seen * scale, kind)


def picture(encoding):
    """The pixels of the picture in an encoding, and how far from grey they may be."""
    if encoding.startswith('bayer'):
        wide = encoding.endswith('16')
        args = (np.uint16, 257.0) if wide else ()
        return mosaic(encoding[6:10], *args), 16.0
    if encoding[:3] in ('rgb', 'bgr'):
        order = {'r': R, 'g': G, 'b': B, 'a': ALPHA}
        kind, scale = (np.uint16, 257.0) if encoding.endswith('16') else (np.uint8, 1.0)
        return (
            packed(*(order[c] for c in encoding.rstrip('0123456789')), kind=kind, scale=scale),
            1,
        )
    return {
        'mono8': lambda: (rounded(GREY), 0.6),
        '8UC1': lambda: (rounded(GREY), 0.6),
        'mono16': lambda: (rounded(GREY * 257, np.uint16), 0.6),
        '8UC3': lambda: (packed(B, G, R), 1.0),
        '8UC4': lambda: (packed(B, G, R, ALPHA), 1.0),
        'uyvy': lambda: (yuv422(False), 1.2),
        'yuv422': lambda: (yuv422(False), 1.2),
        'yuyv': lambda: (yuv422(True), 1.2),
        'yuv422_yuy2': lambda: (yuv422(True), 1.2),
        'nv12': lambda: (planar('nv12'), 1.2),
        'nv21': lambda: (planar('nv21'), 1.2),
        'nv24': lambda: (planar('nv24'), 1.2),
    }[encoding]()


def message(kind, padding=0, **change):
    """The picture as a message, each row with some bytes behind it."""
    pixels = picture(kind)[0]
    rows = pixels.reshape(pixels.shape[0], -1).view(np.uint8)
    rows = np.hstack([rows, np.full((len(rows), padding), 99, np.uint8)])
    step = rows.shape[1]
    fields = dict(height=HEIGHT, width=WIDTH, encoding=kind, is_bigendian=0, step=step)
    data = array.array('B', rows.tobytes())
    return Image(**{**fields, 'data': data, **change})


@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize('encoding', images.ENCODINGS)
def test_every_encoding_gives_the_same_grey(encoding, padding):
    grey = images.to_grey(message(encoding, padding))
    assert grey.shape == (HEIGHT, WIDTH) and grey.dtype == np.uint8
    inner = (slice(2, -2),) * 2 if encoding.startswith('bayer') else ...
    assert np.abs(grey - GREY)[inner].max() <= picture(encoding)[1]
    assert abs(grey[inner].mean() - GREY[inner].mean()) < 0.6


@pytest.mark.parametrize('encoding', [e for e in images.ENCODINGS if e.startswith('bayer')])
def test_a_bayer_pattern_taken_for_another_would_be_seen(encoding):
    """The tolerance above tells patterns apart: any other name of the table gives another grey."""
    pixels = message(encoding).data
    wrong = [e for e in images.ENCODINGS if e.startswith('bayer') and e[-2:] == encoding[-2:]]
    inner = (slice(2, -2),) * 2
    for other in set(wrong) - {encoding}:
        grey = images.to_grey(message(other, data=pixels))
        assert np.abs(grey - GREY)[inner].max() > 20.0


@pytest.mark.parametrize('padding', [0, 6])
@pytest.mark.parametrize('encoding', images.ENCODINGS)
def test_every_encoding_is_shown_and_those_of_eight_bits_in_their_colours(encoding, padding):
    shown = images.to_rgb(message(encoding, padding))
    assert shown.shape == (HEIGHT, WIDTH, 3) and shown.dtype == np.uint8
    in_colour = encoding[:3] in ('bgr', 'rgb', 'bay', '8UC') and encoding[-2:] not in ('16', 'C1')
    wanted = RGB if in_colour else np.repeat(GREY[..., None], 3, -1)
    inner = slice(2, -2) if encoding.startswith('bayer') else slice(None)
    allowed = 24.0 if encoding.startswith('bayer') else picture(encoding)[1]
    assert np.abs(shown - wanted)[inner, inner].max() <= allowed


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_a_compressed_image_is_shown_in_its_colours(suffix):
    data = cv2.imencode(suffix, packed(B, G, R))[1].tobytes()
    shown = images.compressed_to_rgb(CompressedImage(format=suffix[1:], data=data))
    assert shown.shape == (HEIGHT, WIDTH, 3) and np.abs(shown - RGB).mean() < 6.0
    with pytest.raises(SpecError, match='must be a whole jpeg or png'):
        images.compressed_to_rgb(CompressedImage(format=suffix[1:], data=data[:100]))


def test_opencv_agrees_on_yuv():
    """Another way round: what OpenCV makes of the same bytes in colour, then grey."""
    for encoding, code in (('uyvy', cv2.COLOR_YUV2BGR_UYVY), ('yuyv', cv2.COLOR_YUV2BGR_YUY2)):
        colour = cv2.cvtColor(picture(encoding)[0], code)
        reference = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY).astype(float)
        assert np.abs(images.to_grey(message(encoding)) - reference).mean() < 1.0


@pytest.mark.parametrize('encoding', ['mono16', 'rgb16', 'bgra16', 'bayer_grbg16'])
def test_bytes_of_sixteen_bits_in_the_other_order(encoding):
    there = message(encoding)
    swapped = np.frombuffer(there.data, np.uint16).byteswap()
    data = array.array('B', swapped.tobytes())
    back = images.to_grey(message(encoding, data=data, is_bigendian=1))
    assert np.array_equal(back, images.to_grey(there))


def test_byte_order_means_nothing_for_single_bytes():
    assert np.array_equal(
        images.to_grey(message('bgr8', is_bigendian=1)), images.to_grey(message('bgr8'))
    )


def test_the_bridge_s_own_images_give_the_frame_that_they_gave_in_training():
    """Training crops before it makes grey; the bits are the same."""
    pixels = np.random.default_rng(2).integers(0, 256, (144, 256, 4), np.uint8)
    data = array.array('B', pixels.tobytes())
    msg = Image(height=144, width=256, encoding='bgra8', step=1024, data=data)
    config = ObservationConfig()
    assert np.array_equal(grey_frame(images.to_grey(msg), config), grey_frame(pixels, config))


def test_grey_is_not_copied():
    msg = message('mono8', 5)
    assert np.shares_memory(images.to_grey(msg), np.frombuffer(msg.data, np.uint8))


@pytest.mark.parametrize(
    'encoding, change, text',
    [
        ('bgra8', {'encoding': 'x265'}, "must be one of mono8, mono16, .* got 'x265'"),
        ('bgra8', {'encoding': ''}, "got ''"),
        ('bgra8', {'encoding': '32FC1'}, "got '32FC1'"),
        ('bgra8', {'encoding': 'z' * 9999}, "got 'z{40}';"),
        ('bgra8', {'step': 255}, 'step >= 256 and step \\* height bytes, got step 255 and 12288'),
        ('bgra8', {'height': 49}, 'image of 64x49 bgra8 must have .* 12288 bytes'),
        ('bgra8', {'height': 0}, 'must have 1 to 16777216 pixels, got 64x0'),
        ('bgra8', {'width': 0}, 'got 0x48'),
        ('bgra8', {'width': 2**32 - 1, 'height': 2**32 - 1}, 'got 4294967295x4294967295'),
        ('bgra8', {'data': array.array('B')}, 'got step 256 and 0 bytes'),
        ('nv12', {'height': 96}, 'step \\* height \\* 1.5 bytes, got step 64 and 4608'),
        ('mono16', {'is_bigendian': 2}, 'is_bigendian 0 or 1 .* got 2 and 128'),
        ('mono16', {'step': 129, 'data': array.array('B', bytes(129 * 48))}, 'whole values'),
        ('bayer_rggb8', {'height': 3, 'data': array.array('B', bytes(192))}, 'at least 4x4'),
    ],
)
def test_what_does_not_fit_is_refused_with_its_numbers(encoding, change, text):
    with pytest.raises(SpecError, match=text):
        images.to_grey(message(encoding, **change))


def test_the_smallest_image_of_every_encoding_is_taken_or_refused():
    for encoding, how in images.ENCODINGS.items():
        for size in (1, 2, 3, 5):
            step = size * how.channels * how.depth
            data = array.array('B', bytes(int(step * size * how.planes)))
            msg = Image(height=size, width=size, encoding=encoding, step=step, data=data)
            try:
                assert images.to_grey(msg).shape == (size, size)
            except SpecError as error:
                assert encoding.startswith('bayer') and size < 4 or 'must have' in str(error)


# -- compressed -----------------------------------------------------------------------------------


def compressed(suffix='.jpg', image=None, options=()):
    done, data = cv2.imencode(suffix, packed(B, G, R) if image is None else image, options)
    assert done
    return data.tobytes()


def encoded(data, form='bgr8; jpeg compressed bgr8'):
    return CompressedImage(format=form, data=array.array('B', data))


@pytest.mark.parametrize(
    'data, error',
    [
        (compressed(options=(cv2.IMWRITE_JPEG_QUALITY, 95)), 4),
        (compressed(options=(cv2.IMWRITE_JPEG_PROGRESSIVE, 1)), 4),
        (compressed(image=rounded(GREY)), 4),
        (compressed('.png'), 1),
        (compressed('.png', rounded(GREY)), 0.6),
        (compressed('.png', packed(B, G, R, ALPHA)), 1),
        (compressed('.png', rounded(GREY * 257, np.uint16)), 1),
    ],
)
def test_compressed_images(data, error):
    grey = images.from_compressed(encoded(data))
    assert grey.shape == (HEIGHT, WIDTH)
    assert np.abs(grey - GREY).mean() <= error


def test_zeros_behind_a_jpeg_are_fine():
    assert images.from_compressed(encoded(compressed() + bytes(64))).shape == (HEIGHT, WIDTH)


def jpeg_of_size(width, height):
    """A JPEG whose header claims a size."""
    data = bytearray(compressed())
    at = data.index(b'\xff\xc0')
    data[at + 5 : at + 9] = struct.pack('>HH', height, width)
    return bytes(data)


def png_of_size(width, height):
    """A PNG whose header claims a size, with a right checksum."""
    data = bytearray(compressed('.png'))
    data[16:24] = struct.pack('>II', width, height)
    data[29:33] = struct.pack('>I', zlib.crc32(bytes(data[12:29])))
    return bytes(data)


@pytest.mark.parametrize('data', [jpeg_of_size(65000, 65000), png_of_size(2**31 - 1, 2**31 - 1)])
def test_a_huge_size_is_refused_before_anything_is_decoded(data, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', None)
    with pytest.raises(SpecError, match='must have 1 to 16777216 pixels, got [0-9]+x[0-9]+ comp'):
        images.from_compressed(encoded(data))


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded(monkeypatch):
    data = compressed(options=(cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    at = data.rindex(b'\xff\xda')
    again = data[:-2] + data[at:-2] * images.MOST_SCANS + data[-2:]
    monkeypatch.setattr(cv2, 'imdecode', None)
    with pytest.raises(SpecError, match='whole jpeg or png'):
        images.from_compressed(encoded(again))


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_an_image_cut_short_anywhere_is_refused(suffix):
    data = compressed(suffix)
    for length in (1, 3, 9, 20, len(data) // 2, len(data) - 2):
        with pytest.raises(SpecError, match='compressed image must be a whole jpeg or png'):
            images.from_compressed(encoded(data[:length]))


@pytest.mark.parametrize(
    'data, text',
    [
        (b'', 'must have 1 to 33554432 bytes, got 0'),
        (b'GIF89a' + bytes(99), "got format 'gif' with 105 bytes that begin with 47 49 46"),
    ],
)
def test_other_forms_are_refused(data, text):
    with pytest.raises(SpecError, match=text):
        images.from_compressed(encoded(data, 'gif'))


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_flipped_bits_are_refused_or_give_the_size_of_the_header(suffix):
    rng, whole = np.random.default_rng(0), np.frombuffer(compressed(suffix), np.uint8)
    refused = 0
    for _ in range(300):
        data = whole.copy()
        at = rng.integers(len(data), size=3)
        data[at] ^= (1 << rng.integers(8, size=3)).astype(np.uint8)
        try:
            grey = images.from_compressed(encoded(data.tobytes()))
            assert grey.dtype == np.uint8 and grey.size <= images.MOST_PIXELS
        except SpecError:
            refused += 1
    assert refused


# -- CameraInfo -----------------------------------------------------------------------------------


def info(**change):
    fields = dict(
        width=800,
        height=600,
        distortion_model='plumb_bob',
        d=[-0.2, 0.05, 1e-3, 2e-3, 0.0],
        k=[500.0, 0.0, 410.0, 0.0, 505.0, 290.0, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[450.0, 0.0, 400.5, 0.0, 0.0, 450.0, 300.5, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
    return CameraInfo(**{**fields, **change})


def test_a_calibrated_camera():
    camera = images.from_camera_info(info(), False)
    assert camera[:6] == (800, 600, 500.0, 505.0, 410.0, 290.0)
    assert camera.model == 'plumb_bob' and camera.d == (-0.2, 0.05, 1e-3, 2e-3, 0.0)


def test_a_rectified_image_has_the_matrix_p_and_no_distortion():
    camera = images.from_camera_info(info(), True)
    assert camera[:6] == (800, 600, 450.0, 450.0, 400.5, 300.5) and not camera.d


def test_an_ideal_camera_has_its_axis_in_the_middle():
    ideal = info(k=[400.0, 0.0, 400.0, 0.0, 400.0, 300.0, 0.0, 0.0, 1.0], d=[])
    camera = images.from_camera_info(ideal, False)
    assert (camera.cx, camera.cy) == (399.5, 299.5)


def test_region_and_binning():
    """Column 410 of the whole image is column 160 of the region, and binned (160.5 / 2) - 0.5."""
    roi = RegionOfInterest(x_offset=250, y_offset=100, width=400, height=300)
    camera = images.from_camera_info(info(roi=roi), False)
    assert camera[:6] == (400, 300, 500.0, 505.0, 160.0, 190.0)
    camera = images.from_camera_info(info(roi=roi, binning_x=2, binning_y=2), False)
    assert camera[:6] == (200, 150, 250.0, 252.5, 79.75, 94.75)


@pytest.mark.parametrize(
    'change, rectified, text',
    [
        ({'k': [0.0] * 9}, False, 'focal lengths > 0, got 800x600, fx 0, fy 0; calibrate'),
        ({'k': [math.nan] * 9}, False, 'must have no skew, got nan'),
        ({'k': [500.0, 9.0, 410.0, 0.0, 505.0, 290.0, 0, 0, 1.0]}, False, 'no skew, got 9'),
        ({'d': [0.0] * 99}, False, 'at most 14 coefficients, got 99'),
        (
            {'r': [0.9962, 0.0, 0.0872, 0.0, 1.0, 0.0, -0.0872, 0.0, 0.9962]},
            True,
            'within 1 deg, got 5.0 deg in R',
        ),
        ({'r': [math.nan] * 9}, True, 'got nan deg'),
    ],
)
def test_a_camera_that_cannot_be_used_is_refused_with_its_numbers(change, rectified, text):
    with pytest.raises(SpecError, match=text):
        images.from_camera_info(info(**change), rectified)


def test_r_that_is_not_filled_in_or_of_an_image_that_is_not_rectified_says_nothing():
    images.from_camera_info(info(r=[0.0] * 9), True)
    images.from_camera_info(info(r=[0.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0]), False)


def test_the_key_of_a_camera_changes_with_whatever_makes_it():
    key = images.camera_info_key(info())
    assert key == images.camera_info_key(info())
    nothing = [info(k=[math.nan] * 9) for _ in range(2)]  # is said once, not with every image
    assert images.camera_info_key(nothing[0]) == images.camera_info_key(nothing[1]) != key
    changes = [{'width': 801}, {'d': [0.0]}, {'binning_x': 2}, {'distortion_model': 'equidistant'}]
    changes += [{'roi': RegionOfInterest(x_offset=1)}, {'k': [1.0] * 9}, {'p': [1.0] * 12}]
    assert all(images.camera_info_key(info(**change)) != key for change in changes)
