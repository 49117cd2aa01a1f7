"""What the viewer in a browser is given, and that it serves its page."""

import socket
import subprocess
import sys
import urllib.request

import numpy as np
import pytest

from av_td3_ros.datatypes import Pose
from av_td3_ros.live_view import _Near, _outline, AHEAD


def test_in_front_is_up_and_left_is_left():
    near = _Near(Pose(100.0, 50.0, yaw=np.pi / 2))
    (line,) = near.cut([np.array([[100.0, 60.0], [90.0, 50.0]])])  # 10 m ahead, 10 m to the left
    assert line == pytest.approx(np.array([[0.0, -10.0], [-10.0, 0.0]]))


def test_only_what_is_near_is_drawn():
    far = np.column_stack([np.arange(-500.0, 501.0), np.zeros(1001)])
    parts = _Near(Pose(0.0, 0.0)).cut([far])
    assert len(parts) == 1 and AHEAD < np.abs(parts[0]).max() < 2 * AHEAD
    beside = far + [0.0, 400.0]
    assert _Near(Pose(0.0, 0.0)).cut([beside]) == []
    there_and_back = np.concatenate([far, far[::-1] + [0.0, 5.0]])
    assert len(_Near(Pose(0.0, 0.0)).cut([there_and_back])) == 2
    (whole,) = _Near(Pose(0.0, 0.0)).cut([far], whole=True)
    assert len(whole) == len(far)


def test_a_box_has_its_size_and_a_nose():
    outline = _outline(np.array([10.0, 20.0, np.pi / 2, 4.0, 2.0])) - [10.0, 20.0]
    assert outline[:, 0].min() == pytest.approx(-1.0) and outline[:, 1].min() == -2.0
    assert outline[:, 1].max() == pytest.approx(2.4)


CODE = """
import sys
import numpy as np
from av_td3_ros.datatypes import Pose
from av_td3_ros.live_view import LiveView
view = LiveView(int(sys.argv[1]), int(sys.argv[2]), '64MiB', False)
view.at(1.0)
view.camera(np.zeros((36, 64, 3), np.uint8))
view.stack(np.zeros((36, 144), np.uint8))
view.roads([np.array([[0.0, 0.0], [10.0, 0.0]])])
view.route(np.array([[0.0, 0.0], [10.0, 0.0]]))
for path in (None, np.array([[0.0, 0.0], [4.0, 0.0]])):
    view.scene(Pose(0.0, 0.0), None, np.zeros((0, 5)), path, False)
view.scene(Pose(0.0, 0.0), np.array([[0.0, 0], [9, 0]]), np.ones((2, 5)), path, True)
view.numbers({'speed/kmph': 3.0, 'q/policy': float('nan')})
print(view.url, flush=True)
sys.stdin.readline()
view.close()
"""


def free_port():
    with socket.socket() as taken:
        taken.bind(('localhost', 0))
        return taken.getsockname()[1]


def test_the_page_and_its_program_are_served():
    pytest.importorskip('rerun', reason='rerun-sdk is not installed: `make viewer`')
    process = subprocess.Popen(
        [sys.executable, '-c', CODE, str(free_port()), str(free_port())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = process.stdout.readline().strip()
        assert url.startswith('http://localhost:')
        page = urllib.request.urlopen(url, timeout=60).read()
        assert b'<html' in page.lower()
        base = url.partition('/?')[0]
        program = urllib.request.urlopen(f'{base}/re_viewer_bg.wasm', timeout=60)
        assert program.status == 200
        process.communicate('\n', timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
