"""
The camera of perception: finds its topics, takes what the field publishes, hands over frames.

The image topic is ``/carla/<role_name>/rgb_front/image`` or what it is remapped to. ``CameraInfo``
is its neighbour, as everywhere in ROS, unless that is remapped too. In a training graph the camera
is the training camera and CameraInfo is not read.
"""

from dataclasses import replace
import os
from typing import Any, Callable, Dict, Optional

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header

from av_td3_ros.bridge import convert, images
from av_td3_ros.bridge.topics import topic_name, TOPICS
from av_td3_ros.config import CameraConfig, PerceptionConfig
from av_td3_ros.datatypes import SpecError
from av_td3_ros.deployment.description import check_observation
from av_td3_ros.deployment.trained import Trained, trained_with
from av_td3_ros.driving.camera_model import COARSEST, View
from av_td3_ros.driving.pacing import FASTEST, FloodWatch, RateWatch, Thinning
from av_td3_ros.driving.preprocess import grey_frame
from av_td3_ros.gate_config import GateConfig
from av_td3_ros.nodes.awaited import Awaited, Input
from av_td3_ros.nodes.base import GraphNode, now, SUPERVISED
from av_td3_ros.nodes.hearing import Hearing
from av_td3_ros.nodes.once import Once

WATCH_PERIOD = 0.5
IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
TRANSPORT = '; see camera.transport in perception.param.yaml'
# An image may be so much wider or higher than in training, where nobody says what it shows.
SQUASHED = 0.02
# So many times the rate of training is no jitter but another camera: as the gate has it.
MUCH_FASTER = GateConfig().rate_factor


class CameraInput:
    """Images in, frames of the network's size out; says what is wrong with the camera."""

    def __init__(
        self,
        node: GraphNode,
        on_frame: Callable[[Header, np.ndarray], None],
        complain: Callable[[str], None],
    ) -> None:
        """
        Subscribe.

        :param node: perception, configured. :param on_frame: gets the header and the
            (height, width) uint8 frame. :param complain: gets what is wrong with one image.
        """
        self._node, self._on_frame, self._complain = node, on_frame, complain
        checkpoint = '' if node.config.episodes else node.config.checkpoint
        trained = trained_with(node.config.artefact, checkpoint)
        self._config = training_camera(node.config, trained)
        self._observation = node.config.observation
        self._unknown = ''
        if checkpoint and trained is None:
            self._unknown = (
                f'the camera of the training is unknown: no config.yaml beside {checkpoint}; '
                f'taken for {self._config.width}x{self._config.height}, '
                f'{self._config.fov_deg:g} deg, {self._config.rate:g} Hz as configured'
            )
            node.get_logger().warning(self._unknown)
        compressed = self._config.transport == 'compressed'
        self._key = 'image_compressed' if compressed else 'image'
        base = self._resolved('image')
        named = self._resolved(self._key)
        moved = base != self._default('image') and named == self._default(self._key)
        self.topic = f'{base}/compressed' if compressed and moved else named
        self.info_topic = self._resolved('camera_info')
        if self.info_topic == self._default('camera_info'):
            self.info_topic = f'{base.rsplit("/", 1)[0]}/camera_info'
        kinds = IMAGE_TYPES[::-1] if compressed else IMAGE_TYPES
        self._input = Input(
            'image', self.topic, self._default(self._key), kinds, advice=TRANSPORT
        )
        self._info_input = Input(
            'CameraInfo',
            self.info_topic,
            self._default('camera_info'),
            (INFO_TYPE,),
            f'CameraInfo on {self.info_topic}',
        )
        self.awaited = Awaited(node)
        self._compares = not node.config.episodes and self._config.info != 'ignored'
        self._view: Optional[View] = None
        self._info: Any = None
        self._refusal = ''
        # In a training graph every frame counts.
        self._thinning = None if node.config.episodes else Thinning(self._config.rate)
        self._flood = FloodWatch(self._config.rate)
        self._rate = RateWatch(self._config.min_rate)
        self.min_rate, self.trained_rate = self._config.min_rate, self._config.rate
        self._image_at, self._stamp = now(), -1
        self._is_paused = False
        self._once = Once()
        self._hearing = Hearing(node)
        self._hearing.subscribe(
            self.topic, TOPICS[self._key].type, self._while_active(self._on_image)
        )
        if self._compares:  # while inactive, too: what is latched is said once
            self._hearing.subscribe(self.info_topic, CameraInfo, self._on_info, may_latch=True)
        node.every(WATCH_PERIOD, self._watch)

    def start(self) -> None:
        """Count silence from here on."""
        self._image_at = now()
        self._flood = FloodWatch(self._config.rate)
        self.awaited.expect(None)

    def pause(self, is_paused: bool) -> None:
        """Take whether the simulation stands by order, when no image is nothing to complain of."""
        if self._is_paused and not is_paused:
            self._image_at = now()
        self._is_paused = is_paused

    @property
    def rate(self) -> float:
        """Images per second by their stamps; 0 while it is not known."""
        return self._rate.rate

    def values(self) -> Dict[str, Any]:
        """Return figures for /diagnostics."""
        return {
            'image_age': f'{now() - self._image_at:.2f}',
            'image_topic': self.topic,
            'image_rate': f'{self.rate:.1f}',
            'thinned_images': self._thinning.left_out if self._thinning else 0,
            'camera': str(self._view) if self._view else 'not compared',
        }

    def fault(self) -> str:
        """Return why there are no frames, or ''."""
        return self._silence() or self._refusal or self._flooding()

    def warning(self) -> str:
        """Return what is doubtful about the camera though it is driven by, or ''."""
        paused = 'the simulation is paused' if self._is_paused else ''
        return self._unknown or self._haste() or paused

    def _silence(self) -> str:
        """Return that no image comes, or ''."""
        silent = now() - self._image_at
        if not self._node.active or self._is_paused or silent <= self._node.config.image_timeout:
            return ''
        return self._input.silent(self._node, silent)

    def _flooding(self) -> str:
        """Return that images come too fast to be those of the training camera, or ''."""
        if self._thinning is None or not self._node.active or not self._flood.is_certain:
            return ''
        rate = f'{self.trained_rate:g}'
        return (
            f'images must come at {self._flood.limit:g} Hz at most, {FASTEST:g} times the {rate} '
            f'Hz of the training, got {self._flood.rate:.0f} Hz on {self.topic}; set the camera '
            f'to {rate} Hz, or remap the image to what `ros2 run topic_tools throttle messages '
            f'{self.topic} {rate}` publishes'
        )

    def _haste(self) -> str:
        """Return that images come much faster than in training, or ''."""
        is_near = self.rate <= MUCH_FASTER * self.trained_rate
        if self._thinning is None or not self._node.active or is_near:
            return ''
        return (
            f'images come at {self.rate:.0f} Hz and the policy was trained at '
            f'{self.trained_rate:g} Hz: it sees those nearest to that; set the camera to it'
        )

    # -- events -----------------------------------------------------------------------------------

    def _on_info(self, msg: CameraInfo) -> None:
        key = images.camera_info_key(msg)
        if key == self._info:
            return
        self._info, self._view = key, None
        try:
            camera = images.from_camera_info(msg, self._config.rectified)
            self._view = View(camera, self._config, self._observation)
        except SpecError as error:
            self._refusal = f'camera refused: {error}'
            self._node.get_logger().error(self._refusal, throttle_duration_sec=5.0)
        else:
            self._refusal = ''
            self._node.get_logger().info(str(self._view), throttle_duration_sec=5.0)

    def _on_image(self, msg: Any) -> None:
        self._image_at = now()
        stamp = convert.to_ns(msg.header.stamp)
        if stamp == self._stamp == 0:
            self._complain(f'images must be stamped, got 0 twice on {self.topic}; fix its driver')
        self._stamp = stamp
        self._rate.add(stamp)
        self._flood.add(stamp)
        if self._refusal or self._lacks_info():
            return
        if self._thinning is not None:
            if self._flood.is_flood or not self._thinning.keeps(stamp):
                return
        try:
            frame = self._frame(msg)
        except SpecError as error:
            self._complain(str(error))
        except cv2.error as error:
            self._complain(f'image must be convertible, got from OpenCV: {error.err}')
        else:
            self._on_frame(msg.header, frame)

    def _frame(self, msg: Any) -> np.ndarray:
        compressed = isinstance(msg, CompressedImage)
        grey = images.from_compressed(msg) if compressed else images.to_grey(msg)
        if self._view is None and self._compares:
            self._check_shape(*grey.shape)
        return self._view.frame(grey) if self._view else grey_frame(grey, self._observation)

    def _check_shape(self, rows: int, columns: int) -> None:
        """
        Check an image where nobody tells its camera.

        :raises SpecError: where it would be squashed, or shows too little to be enlarged.
        """
        trained, wanted = self._config, self._observation
        if abs(columns * trained.height / (rows * trained.width) - 1.0) > SQUASHED:
            raise SpecError(
                f'an image without CameraInfo must have the shape of training, {trained.width}x'
                f'{trained.height}, got {columns}x{rows}; publish CameraInfo on '
                f'{self.info_topic}, or set camera.info: ignored'
            )
        pixel = min(columns / wanted.width, rows * (1.0 - wanted.crop_top) / wanted.height)
        if pixel < COARSEST and columns < trained.width:  # that of training is never too coarse
            raise SpecError(
                f"an image must have {COARSEST} pixels for each of the network's frame, got "
                f'{pixel:.2g}: {columns}x{rows} on {self.topic}; is that the camera, or a '
                'thumbnail of it?'
            )

    def _lacks_info(self) -> bool:
        """Whether a frame must wait for CameraInfo; where nobody publishes it none is needed."""
        expected = self._compares and (
            self._config.info == 'required' or self._node.count_publishers(self.info_topic) > 0
        )
        lacks = expected and self._view is None
        self.awaited.expect(self._info_input if lacks else None)
        return lacks

    # -- topics -----------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Hear cameras that publish best effort; say once on the log what is wrong with theirs."""
        self._hearing.adapt()
        self.awaited.watch()
        log = self._node.get_logger()
        silence, flood, haste = self._silence(), self._flooding(), self._haste()
        if self._once.is_new('silence', silence):
            if SUPERVISED in os.environ and self._stamp < 0:  # the world is not yet there
                log.info(silence)
            else:
                log.error(silence)
        if self._once.is_new('flood', flood):
            log.error(flood)
        if self._once.is_new('haste', haste) and not flood:
            log.warning(haste)

    def _while_active(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        return lambda msg: callback(msg) if self._node.active else None

    def close(self) -> None:
        """Let go of the subscriptions."""
        self._hearing.close()

    def _default(self, key: str) -> str:
        return topic_name(key, self._node.config.role_name)

    def _resolved(self, key: str) -> str:
        return self._node.resolve_topic_name(self._default(key))


def training_camera(config: PerceptionConfig, trained: Optional[Trained]) -> CameraConfig:
    """
    Return the camera that the policy was trained with: as it tells, or else as configured.

    :raises ArtefactError: where it was trained on another preprocessing.
    """
    if trained is None:
        return config.camera
    here = config.observation
    what = 'the artefact' if config.artefact else 'the checkpoint'
    check_observation(replace(here, **trained.observation), here, what)
    rate = 1.0 / trained.camera.period
    return replace(
        config.camera,
        width=trained.camera.width,
        height=trained.camera.height,
        fov_deg=trained.camera.fov_deg,
        rate=rate,
        min_rate=min(config.camera.min_rate, rate),
    )
