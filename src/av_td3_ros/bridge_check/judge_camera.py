"""Pictures and their intrinsics."""

import math
from typing import Callable, Dict, List

from av_td3_ros.bridge_check.contract import CAMERAS, ENCODINGS
from av_td3_ros.bridge_check.facts import Facts, Picture
from av_td3_ros.bridge_check.finding import FAIL, faults_or_ok, Finding, not_made, verdict

SILENT = 'no image was heard'
NO_INFO = 'no camera_info was heard'
# Differences of colour below this, of 255, show nothing.
PLAIN = 8
# The largest id of a class in CARLA 0.9.16 and 0.10, with room.
LAST_CLASS = 40


def encoding(facts: Facts) -> List[Finding]:
    """The bridge's RGB and semantic cameras are bgra8, the depth camera 32FC1."""
    check = 'image encoding'
    if not facts.image:
        return not_made(check, 'bgra8', SILENT)
    faults = []
    for key, (wanted, _) in ENCODINGS.items():
        found = sorted({picture.encoding for picture in getattr(facts, key)} - {wanted})
        if found:
            faults.append(
                Finding(
                    check,
                    FAIL,
                    wanted,
                    ', '.join(found),
                    'perception reads all encodings of bridge/images.py, but the bridge converts '
                    'none: remove the node between, or remap perception to its input',
                    facts.topics[key].name,
                )
            )
    return faults_or_ok(check, faults, 'bgra8 (depth: 32FC1)', 'the same')


def layout(facts: Facts) -> List[Finding]:
    """Rows of four bytes a pixel without padding, little-endian."""
    check, expected = 'image layout', 'step 4W, 4WH bytes, little-endian'
    if not facts.image:
        return not_made(check, expected, SILENT)
    faults = []
    for key in ENCODINGS:
        wrong = [picture for picture in getattr(facts, key) if not _whole(picture)]
        if wrong:
            p = wrong[-1]
            faults.append(
                Finding(
                    check,
                    FAIL,
                    expected,
                    f'{p.width}x{p.height} {p.encoding}, step {p.step}, {p.size} bytes'
                    f'{", big-endian" if p.big_endian else ""}',
                    'the image is cut or padded on its way: remove the node between',
                    facts.topics[key].name,
                )
            )
    return faults_or_ok(check, faults, expected, 'so')


def _whole(picture: Picture) -> bool:
    pixel = next((s for name, s in ENCODINGS.values() if name == picture.encoding), None)
    if pixel is None:  # said by 'image encoding'
        return picture.size == picture.step * picture.height
    row = picture.width * pixel
    return picture.step == row and picture.size == row * picture.height and not picture.big_endian


def size(facts: Facts) -> List[Finding]:
    """Pixels as configured."""
    check = 'image size'
    wanted = f'{facts.expected.width}x{facts.expected.height}'
    if not facts.image:
        return not_made(check, wanted, SILENT)
    found = sorted({f'{picture.width}x{picture.height}' for picture in facts.image})
    return verdict(
        check,
        found == [wanted],
        wanted,
        ', '.join(found),
        'set image_size_x and image_size_y of rgb_front in the objects file, or pass --image',
        facts.topics['image'].name,
    )


def content(facts: Facts) -> List[Finding]:
    """The picture shows something, opaque, and changes while the vehicle moves."""
    check, expected = 'image content', 'opaque, structured, changes with the drive'
    if not facts.image:
        return not_made(check, expected, SILENT)
    moved = any(motion.vx > 1.0 for motion in facts.odometry)
    different = len({picture.checksum for picture in facts.image})
    bad = ''
    if max(picture.spread for picture in facts.image) < PLAIN:
        bad = 'one colour alone'
    elif min(picture.alpha for picture in facts.image) not in (-1, 255):
        bad = 'the fourth byte is not alpha: the order of bytes is not B, G, R, A'
    elif moved and different < len(facts.image) // 4:
        bad = f'{different} different pictures of {len(facts.image)} while driving'
    return verdict(
        check,
        not bad,
        expected,
        bad or f'{different} pictures',
        'the server renders nothing (do not start it with -RenderOffScreen on a machine without '
        'GPU, nor with no_rendering_mode), or a node between repeats old frames',
        facts.topics['image'].name,
    )


def colours(facts: Facts) -> List[Finding]:
    """The bridge paints classes in CARLA's palette; ids would be nearly black."""
    check, expected = 'semantic camera', "classes as CARLA's colours"
    if not facts.segmentation:
        return not_made(check, expected, 'there is no semantic camera; none is needed')
    spread = max(picture.spread for picture in facts.segmentation)
    return verdict(
        check,
        spread > LAST_CLASS,
        expected,
        f'values differ by {spread}',
        'these are ids of classes: let the bridge convert them to the palette',
        facts.topics['segmentation'].name,
    )


def frames(facts: Facts) -> List[Finding]:
    """Frame ids are <role>/<sensor>, and camera_info has that of its image."""
    check, role = 'camera frame', facts.expected.role_name
    wanted = f'{role}/{CAMERAS["image"]}'
    if not facts.image:
        return not_made(check, wanted, SILENT)
    faults = []
    for key, sensor in CAMERAS.items():
        heard = getattr(facts, key) + (facts.camera_info if key == 'image' else [])
        found = sorted({message.frame_id for message in heard} - {f'{role}/{sensor}'})
        if found:
            faults.append(
                Finding(
                    check,
                    FAIL,
                    f'{role}/{sensor}',
                    ', '.join(found),
                    'give the sensor that id below the vehicle in the objects file; native CARLA '
                    'has no prefix',
                    facts.topics[key].name,
                )
            )
    return faults_or_ok(check, faults, wanted, wanted)


def info_size(facts: Facts) -> List[Finding]:
    """camera_info tells the size of its image."""
    check = 'camera_info size'
    if not (facts.image and facts.camera_info):
        return not_made(check, 'that of the image', NO_INFO if facts.image else SILENT)
    image, info = facts.image[-1], facts.camera_info[-1]
    return verdict(
        check,
        (image.width, image.height) == (info.width, info.height),
        f'{image.width}x{image.height}',
        f'{info.width}x{info.height}',
        'camera_info is of another camera: give every sensor its own id',
        facts.topics['camera_info'].name,
    )


def focal(facts: Facts) -> List[Finding]:
    """Square pixels, and fx = W / (2 tan(fov / 2)) by the width that camera_info tells."""
    check = 'focal length'
    if not facts.camera_info:
        return not_made(check, f'{facts.expected.fov_deg:g} deg', NO_INFO)
    info = facts.camera_info[-1]
    fov, (fx, fy) = facts.expected.fov_deg, (info.k[0], info.k[4])
    wanted = focal_length(info.width, fov)
    if fx > 0.0:
        seen = f'{math.degrees(2.0 * math.atan(info.width / (2.0 * fx))):.1f} deg'
    else:
        seen = 'no field of view'
    taken_as_radians = info.width / (2.0 * math.tan(fov / 2.0))
    return verdict(
        check,
        math.isclose(fx, wanted, rel_tol=5e-3) and math.isclose(fy, wanted, rel_tol=5e-3),
        f'fx = fy = {wanted:.1f} px ({fov:g} deg)',
        f'fx {fx:.1f}, fy {fy:.1f} px ({seen})',
        (
            'native CARLA 0.9.16 takes the tangent of degrees: upgrade, or compute the intrinsics '
            'yourself'
            if math.isclose(fx, taken_as_radians, rel_tol=5e-3)
            else 'set fov of rgb_front in the objects file, or pass --fov'
        ),
        facts.topics['camera_info'].name,
    )


def focal_length(width: int, fov_deg: float) -> float:
    """Return the focal length (px) of an ideal camera of so many columns."""
    return width / (2.0 * math.tan(math.radians(fov_deg) / 2.0))


def centre(facts: Facts) -> List[Finding]:
    """The optical axis meets the middle; there is no distortion; P is K."""
    check, expected = 'projection', 'c = W/2, H/2; plumb_bob of 5 zeros; P as K'
    if not facts.camera_info:
        return not_made(check, expected, NO_INFO)
    info = facts.camera_info[-1]
    k, p = info.k, info.p
    faults = []
    if abs(k[2] - info.width / 2.0) > 1.0 or abs(k[5] - info.height / 2.0) > 1.0:
        faults.append(f'c = {k[2]:g}, {k[5]:g}')
    if info.model != 'plumb_bob' or len(info.d) != 5 or any(info.d):
        faults.append(f'{info.model or "no model"} {list(info.d)}')
    if any(abs(a - b) > 1e-3 for a, b in zip((p[0], p[2], p[5], p[6]), (k[0], k[2], k[4], k[5]))):
        faults.append(f'P = {p[0]:g}, {p[2]:g}, {p[5]:g}, {p[6]:g}')
    return verdict(
        check,
        not faults,
        expected,
        '; '.join(faults) or 'so',
        "the camera is distorted or rectified: publish CARLA's ideal camera unchanged",
        facts.topics['camera_info'].name,
    )


CHECKS: Dict[str, Callable[[Facts], List[Finding]]] = {
    'image encoding': encoding,
    'image layout': layout,
    'image size': size,
    'image content': content,
    'semantic camera': colours,
    'camera frame': frames,
    'camera_info size': info_size,
    'focal length': focal,
    'projection': centre,
}
