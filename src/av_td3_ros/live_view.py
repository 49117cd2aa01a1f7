"""
What the viewer in a browser shows, handed to Rerun. No ROS here: arrays and numbers in.

Rerun draws x to the right and y down: the map is turned so that north is up, and what is around
the vehicle so that its front is up.
"""

import importlib
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np

from av_td3_ros.datatypes import Pose
from av_td3_ros.options import ConfigError

TIMELINE = 'simulated time'
AHEAD, BESIDE, BEHIND = 50.0, 32.0, 18.0
QUALITY = 80
ROUTE, EGO, OTHER = (25, 150, 255), (60, 220, 90), (235, 70, 60)
LANE, THROTTLE, BRAKE = (110, 110, 120), (60, 220, 110), (255, 80, 60)
Lines = Sequence[np.ndarray]


def load_rerun() -> Any:
    """
    Return the module of Rerun.

    :raises ConfigError: where it is not installed: it is large, and nothing else needs it.
    """
    try:
        importlib.import_module('rerun.blueprint')
        return importlib.import_module('rerun')
    except ImportError:
        raise ConfigError(
            'the viewer needs the package rerun-sdk, which is not installed (it is large: about '
            '170 MB to fetch); run `make viewer`, or `pip install -c constraints.txt rerun-sdk`'
        ) from None


class LiveView:
    """Serves the viewer and what it shows; ``url``: to open in a browser."""

    def __init__(self, port: int, data_port: int, memory: str, open_browser: bool) -> None:
        """
        Serve.

        :param port: of the page. :param data_port: of the data, on the same machine.
        :param memory: of the data kept for a browser that comes late, such as '512MiB'.
        :param open_browser: here.
        :raises ConfigError: where Rerun is not installed.
        :raises RuntimeError: where a port is taken.
        """
        self._rr = rr = load_rerun()
        self._record = rr.RecordingStream('av_td3')
        uri = self._record.serve_grpc(
            grpc_port=data_port,
            server_memory_limit=memory,
            default_blueprint=_layout(),
            newest_first=True,  # who opens the page wants to see now, then what was before
        )
        rr.serve_web_viewer(web_port=port, open_browser=open_browser, connect_to=uri)
        self.url = f'http://localhost:{port}/?url=' + uri.replace('+', '%2B').replace(
            ':', '%3A'
        ).replace('/', '%2F')
        self._lanes: List[np.ndarray] = []

    def close(self) -> None:
        """Send what is left; the servers end with the process."""
        self._record.flush()
        self._record.disconnect()

    def at(self, seconds: float) -> None:
        """Set the simulated time of what follows, s."""
        self._record.set_time(TIMELINE, duration=seconds)

    def camera(self, pixels: np.ndarray) -> None:
        """Show the camera: (rows, columns, 3) uint8 RGB."""
        self._record.log('camera', self._rr.Image(pixels).compress(jpeg_quality=QUALITY))

    def stack(self, pixels: np.ndarray) -> None:
        """Show what the policy sees: (rows, columns) uint8 grey, frames side by side."""
        self._record.log('stack', self._rr.Image(pixels))

    def numbers(self, found: Mapping[str, float]) -> None:
        """Plot numbers, each by its path such as ``speed/kmph``; those that are none are left."""
        for path, value in found.items():
            if np.isfinite(value):
                self._record.log(f'plots/{path}', self._rr.Scalars(float(value)))

    def roads(self, lanes: Lines) -> None:
        """Draw the lanes of a map: of each the (n, 2) m edges."""
        self._lanes = [np.asarray(lane, np.float64) for lane in lanes]
        drawn = self._strips([_north_up(edge) for edge in self._lanes], LANE, 0.4)
        self._record.log('map/lanes', drawn, static=True)  # there at any time

    def route(self, points: np.ndarray) -> None:
        """Draw the route: (n, 2) m in the map."""
        self._record.log('map/route', self._strips([_north_up(points)], ROUTE, 1.5))

    def scene(
        self,
        pose: Pose,
        route: Optional[np.ndarray],
        others: np.ndarray,
        path: Optional[np.ndarray],
        is_braking: bool,
    ) -> None:
        """
        Draw the vehicle and what is around it.

        :param route: (n, 2) m in the map. :param others: (m, 5) x, y, yaw, length, width there.
        :param path: (k, 2) m of the command, in the frame of the vehicle.
        """
        own = np.array([pose.x, pose.y, pose.yaw, 4.7, 1.9])
        outlines = [_outline(box) for box in others.reshape(-1, 5)]
        log, strips = self._record.log, self._strips
        log('map/others', strips([_north_up(each) for each in outlines], OTHER, 0.8))
        log('map/vehicle', strips([_north_up(_outline(own))], EGO, 1.5))
        near = _Near(pose)
        log('around/lanes', strips(near.cut(self._lanes), LANE, 0.08))
        log('around/route', strips(near.cut([] if route is None else [route]), ROUTE, 0.2))
        log('around/others', strips(near.cut(outlines, whole=True), OTHER, 0.15))
        log('around/vehicle', strips(near.cut([_outline(own)], whole=True), EGO, 0.15))
        planned = [] if path is None else [_front_up(path)]
        log('around/planned', strips(planned, BRAKE if is_braking else THROTTLE, 0.25))

    def _strips(self, lines: Lines, colour: Any, radius: float) -> Any:
        return self._rr.LineStrips2D(list(lines), colors=[colour], radii=[radius])


class _Near:
    """Turns lines of the map into those around a vehicle."""

    def __init__(self, pose: Pose) -> None:
        cos, sin = np.cos(pose.yaw), np.sin(pose.yaw)
        self._turn = np.array([[cos, -sin], [sin, cos]])
        self._origin = np.array([pose.x, pose.y])

    def cut(self, lines: Lines, whole: bool = False) -> List[np.ndarray]:
        """Return the parts of lines that are near, or the lines of which a part is."""
        found = []
        for line in lines:
            own = (line - self._origin) @ self._turn
            seen = np.all(np.abs(own - [(AHEAD - BEHIND) / 2, 0.0]) < AHEAD, axis=1)
            if whole:
                found += [own] if seen.any() else []
            else:
                edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]])))
                found += [own[a:b] for a, b in edges.reshape(-1, 2) if b - a > 1]
        return [_front_up(line) for line in found]


def _north_up(points: np.ndarray) -> np.ndarray:
    return np.asarray(points) * [1.0, -1.0]


def _front_up(points: np.ndarray) -> np.ndarray:
    return -np.asarray(points)[:, ::-1]


def _outline(box: np.ndarray) -> np.ndarray:
    """Return the closed outline of x, y, yaw, length, width, with a nose: (7, 2)."""
    x, y, yaw, length, width = box
    corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1], [1.2, 0], [1, 1], [1, -1]])
    own = corners * [length / 2, width / 2]
    cos, sin = np.cos(yaw), np.sin(yaw)
    return own @ np.array([[cos, sin], [-sin, cos]]) + [x, y]


def _layout() -> Any:
    """Return what is where on the page."""
    rrb = importlib.import_module('rerun.blueprint')
    around = rrb.VisualBounds2D(x_range=[-BESIDE, BESIDE], y_range=[-AHEAD, BEHIND])
    plots: Dict[str, str] = {
        'speed': 'Speed, km/h',
        'command': 'Steering and acceleration',
        'reward': 'Reward terms',
        'q': 'Q of policy and replayed actions',
        'features': 'Feature norm',
    }
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Vertical(
                rrb.Spatial2DView(origin='camera', name='Camera'),
                rrb.Spatial2DView(origin='stack', name='What the policy sees'),
                rrb.Spatial2DView(origin='map', name='Map'),
                row_shares=[4, 2, 4],
            ),
            rrb.Spatial2DView(origin='around', name='Around the vehicle', visual_bounds=around),
            rrb.Vertical(
                *(
                    rrb.TimeSeriesView(origin=f'plots/{name}', name=title)
                    for name, title in plots.items()
                )
            ),
            column_shares=[4, 3, 4],
        ),
        collapse_panels=True,
    )
