"""``av-td3 sim``: keys of a terminal drive, every exit gives it back, files are what they say."""

import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from av_td3_ros.cli.main import main
from av_td3_ros.options import ConfigError

termios = pytest.importorskip('termios')
pytest.importorskip('carla')
pytest.importorskip('panda3d')

from av_td3_ros.cli import sim_record, sim_terminal  # noqa: E402
from av_td3_ros.cli.sim_drivers import Keyboard  # noqa: E402

SMALL = ['--set', 'simulator.image_width=84', '--set', 'simulator.image_height=84']
COMMAND = [sys.executable, '-m', 'av_td3_ros.cli.main', 'sim', '--screen', 'terminal', *SMALL]
ENDINGS = {'q': b'q', 'Ctrl-C': b'\x03', 'SIGTERM': signal.SIGTERM, 'SIGHUP': signal.SIGHUP}


class Player:
    """Somebody at a terminal of 80 columns and 24 rows."""

    def __init__(self, *arguments):
        self.ours, self._theirs = os.openpty()
        termios.tcsetwinsize(self._theirs, (24, 80))
        self._before = termios.tcgetattr(self._theirs)
        self.output = b''
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env={**os.environ, 'TERM': 'xterm-256color'},
            preexec_fn=lambda: os.login_tty(os.dup(0)),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self._theirs)

    def until(self, text, timeout=30.0):
        """Read on until a text has come."""
        start, end = len(self.output), time.monotonic() + timeout
        while text not in self.output[start:]:
            assert time.monotonic() < end, self.output[-2000:]
            if select.select([self.ours], [], [], 0.05)[0]:
                self.output += os.read(self.ours, 1 << 16)

    def end(self, timeout=60.0):
        """Read to the end; return the exit code."""
        end = time.monotonic() + timeout
        while self.process.poll() is None or select.select([self.ours], [], [], 0.0)[0]:
            assert time.monotonic() < end, self.output[-2000:]
            if select.select([self.ours], [], [], 0.05)[0]:
                self.output += os.read(self.ours, 1 << 16)
        return self.process.returncode

    @property
    def restored(self):
        """Whether the terminal is as it was."""
        return (
            termios.tcgetattr(self._theirs) == self._before
            and self.output.rstrip(b'\r\n').rpartition(sim_terminal.LEAVE.encode())[1]
            == sim_terminal.LEAVE.encode()
        )


login_tty = pytest.mark.skipif(
    not hasattr(os, 'login_tty') or not hasattr(termios, 'tcsetwinsize'),
    reason='os.login_tty and termios.tcsetwinsize came with Python 3.11',
)


@login_tty
def test_keys_drive_and_pictures_come():
    with Player('--view', 'front') as player:
        player.until('\u2580'.encode())
        os.write(player.ours, b'\x1b[A\x1bOAwww')
        player.until(b'  8 km/h')
        os.write(player.ours, b'dd')
        player.until(b'steering -0.24')
        os.write(player.ours, b'v')  # the next view
        player.until(b'km/h')
        os.write(player.ours, b' ')
        player.until(b'  0 km/h')
        os.write(player.ours, b'q')
        assert player.end() == 0
        assert player.restored
    assert b'\x1b[48;2;' in player.output and b's driven; episodes:' in player.output


@login_tty
@pytest.mark.parametrize('ending', ENDINGS)
def test_every_exit_gives_the_terminal_back(ending):
    with Player() as player:
        player.until(b'km/h')
        how = ENDINGS[ending]
        if isinstance(how, bytes):
            os.write(player.ours, how)
        else:
            player.process.send_signal(how)
        assert player.end() == (0 if ending == 'q' else 130)
        assert player.restored
    assert b'Traceback' not in player.output


@login_tty
def test_an_error_gives_the_terminal_back(tmp_path):
    path = tmp_path / 'gone' / 'a.mp4'
    path.parent.mkdir()
    with Player('--record', str(path)) as player:
        player.until(b'km/h')
        for part in path.parent.iterdir():
            part.rename(tmp_path / 'moved')  # what it writes to is taken away
        os.write(player.ours, b'q')
        assert player.end() == 2
        assert player.restored
    assert b'av-td3: ' in player.output and b'Traceback' not in player.output


@pytest.mark.parametrize(
    'data, keys, rest',
    [
        (b'wasd qvrp', 'up left down right brake quit view route pause', b''),
        (b'WD', 'up right', b''),
        (b'\x1b[A\x1b[B\x1bOC\x1bOD', 'up down right left', b''),
        (b'\x1b[1;5A', 'up', b''),
        (b'\x1b[3~\x1b[200~x\x00\xff', '', b''),
        (b'w\x1b', 'up', b'\x1b'),
        (b'\x1b[', '', b'\x1b['),
        (b'\x1bq', 'quit', b''),
        (b'', '', b''),
    ],
)
def test_keys_are_read_from_bytes(data, keys, rest):
    assert sim_terminal.read_keys(data) == (keys.split(), rest)


def test_a_sequence_may_come_in_pieces():
    keys, rest = sim_terminal.read_keys(b'w\x1b[')
    more, rest = sim_terminal.read_keys(rest + b'D')
    assert (keys, more, rest) == (['up'], ['left'], b'')


def test_half_blocks_show_the_picture():
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:20, :, 0], picture[20:, :, 2] = 200, 100
    lines = sim_terminal.half_blocks(picture, 80, 10)
    assert len(lines) == 10 and all(line.count('\u2580') == 20 for line in lines)
    assert all(line.startswith(' ' * 30) for line in lines)
    assert '38;2;200;0;0m' in lines[0] and '48;2;200;0;0m' in lines[4]
    assert '38;2;0;0;100m' in lines[5] and lines[9].endswith('\033[0m')
    assert len(sim_terminal.half_blocks(picture, 1, 1)) == 1


def test_pedals_stay_and_the_wheel_returns():
    keyboard = Keyboard(period=0.05)
    for key in ('up', 'up', 'left', 'left'):
        keyboard.press(key)
    held = [keyboard.act(None, None) for _ in range(10)]
    assert held == [pytest.approx((0.24, 0.4))] * 10
    for _ in range(10):
        steering, pedal = keyboard.act(None, None)
    assert (steering, pedal) == (0.0, pytest.approx(0.4))
    for _ in range(3):
        keyboard.press('down')
    assert keyboard.act(None, None)[1] == pytest.approx(-0.2)
    for _ in range(20):
        keyboard.press('right')
    keyboard.press('brake')
    assert keyboard.act(None, None) == (-1.0, -1.0)


# -- files ----------------------------------------------------------------------------------------


def run(*arguments):
    return main(['sim', '--expert', *SMALL, *arguments])


def test_a_gif_shows_the_drive(tmp_path, capsys):
    image = pytest.importorskip('PIL.Image')
    path = tmp_path / 'drive.gif'
    assert run('--record', str(path), '--seconds', '1.5', '--view', 'front') == 0
    told = capsys.readouterr().out
    assert '1.5 s driven' in told and f'{path}: 1.5 s written' in told
    with image.open(path) as file:
        assert file.size == (640, 360)
        first, lasting = np.asarray(file.convert('RGB'), np.float64), 0
        for index in range(file.n_frames):  # pictures that are the same are one
            file.seek(index)
            lasting += file.info['duration']
        last = np.asarray(file.convert('RGB'), np.float64)
    assert lasting == 1500
    assert first.std() > 10.0 and np.abs(first - last).mean() > 1.0
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_holds_every_tick(tmp_path):
    import cv2

    path = tmp_path / 'drive.mp4'
    assert run('--record', str(path), '--seconds', '0.5') == 0
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 10
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(20.0)
    assert video.read()[1].shape == (360, 640, 3)


def test_the_same_seed_is_the_same_picture(tmp_path):
    def picture(name, seed):
        path = tmp_path / f'{name}.png'
        assert run('--record', str(path), '--seconds', '1', '--seed', seed) == 0
        return path.read_bytes()

    assert picture('a', '3') == picture('b', '3') != picture('c', '4')


def test_a_trained_policy_drives(tmp_path):
    from av_td3_ros.config import RunConfig
    from av_td3_ros.td3 import checkpoint
    from av_td3_ros.td3.agent import TD3

    config = RunConfig()
    spec = config.observation.spec()
    untrained = TD3(spec, config.trainer.learner, seed=0)
    saved = checkpoint.save(tmp_path, untrained, spec, env_step=0, version=0)
    path = tmp_path / 'drive.png'
    assert main(['sim', '--policy', str(saved), '--record', str(path), '--seconds', '0.5']) == 0
    assert path.stat().st_size > 1000


@pytest.mark.parametrize('suffix', ['gif', 'mp4', 'png'])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, suffix):
    path = tmp_path / f'drive.{suffix}'
    small = 100_000, 100_000  # bytes of any file, as if the disk had no more
    done = subprocess.run(
        [*COMMAND, '--expert', '--record', str(path), '--seconds', '4'],
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, small),
    )
    assert done.returncode == 2
    assert f'{path} must be written whole, got: File too large; make room' in done.stderr
    assert len(done.stderr.splitlines()) == 1 and str(path) not in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'arguments, text',
    [
        ([], 'must have a terminal or a display to draw on, got neither; add --expert'),
        (['--expert'], 'add --expert --record FILE.gif'),
        (['--expert', '--record', 'a.avi'], '--record must end in .gif, .mp4, .png, got a.avi'),
        (['--expert', '--record', 'no/such/a.gif'], 'got no/such/a.gif: No such file'),
        (['--expert', '--record', '/proc/a.gif'], 'folder that can be written, got /proc/a.gif'),
        (['--expert', '--record', 'a.gif', '--seconds', '61'], '<= 60 for a GIF, got 61'),
        (['--expert', '--record', 'a.gif', '--seconds', '0'], '--seconds must be 0.1 to 3600'),
        (['--expert', '--record', 'a.gif', '--seconds', 'nan'], '--seconds must be 0.1 to 3600'),
        (['--expert', '--record', 'a.gif', '--seed', '-1'], 'seed must be >= 0, got -1'),
        (['--expert', '--record', 'a.gif', '--map', 'no.xodr'], 'No such file or directory'),
        (['--policy', 'no', '--record', 'a.gif'], 'checkpoint or run folder must be given'),
        (['--screen', 'window'], 'a window needs a display'),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(capsys, monkeypatch, tmp_path, arguments, text):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('DISPLAY', raising=False)
    assert main(['sim', *arguments]) == 2
    told = capsys.readouterr()
    lines = told.err.strip().splitlines()
    assert len(lines) == 1 and text in lines[0]
    assert 'a.gif' not in told.out
    assert not list(tmp_path.iterdir())


def test_an_unknown_view_is_refused(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(['sim', '--view', 'behind'])
    assert exit_info.value.code == 2
    assert "invalid choice: 'behind'" in capsys.readouterr().err


def test_a_folder_is_no_file(tmp_path):
    folder = tmp_path / 'a.gif'
    folder.mkdir()
    with pytest.raises(ConfigError, match='must be a file, got the folder'):
        sim_record.check(folder, 1.0)


# -- window ---------------------------------------------------------------------------------------


@pytest.fixture
def display(monkeypatch):
    """Name a display that is there: the user's, or one in memory."""
    pytest.importorskip('tkinter')
    if os.environ.get('DISPLAY'):
        yield
        return
    server = shutil.which('Xvfb')
    if server is None:
        pytest.skip('neither a display nor Xvfb is here')
    process = subprocess.Popen([server, '-displayfd', '1'], stdout=subprocess.PIPE, text=True)
    monkeypatch.setenv('DISPLAY', f':{process.stdout.readline().strip()}')
    yield
    process.terminate()
    process.wait()
    process.stdout.close()


def test_a_window_shows_pictures_and_takes_keys(display):
    from av_td3_ros.cli.sim_window import Window

    picture = np.zeros((36, 64, 3), np.uint8)
    picture[:, :, 1] = 200
    with Window() as window:
        window.show(picture, ['status', 'help'])
        assert (window._image.width(), window._image.height()) == (64, 36)
        assert window._image.get(10, 10) == (0, 200, 0)
        window._root.focus_force()
        for key in ('<KeyPress-Up>', '<KeyPress-a>', '<KeyPress-space>', '<KeyPress-F1>'):
            window._root.event_generate(key)
        assert window.keys(0.01) == ['up', 'left', 'brake']
        assert window.keys(0.0) == []
