"""Whatever lies in a run folder, a report is made of what can be read of it."""

import json
import shutil

from hypothesis import given, settings, strategies as some
import numpy as np
import pytest
import yaml

pytest.importorskip('carla')

from av_td3_ros.report import charts, frames, maps, runs, series, tables  # noqa: E402
from av_td3_ros.run_folder import RunFolder  # noqa: E402
from made_runs import evaluation, made, replay  # noqa: E402

FILES = (
    'config.yaml',
    'episodes.csv',
    'metrics.csv',
    'alerts.csv',
    'trajectories.csv',
    'summary.json',
    'evaluation/evaluation.json',
    'evaluation/trajectories.csv',
    'evaluation_frozen_camera/evaluation.json',
    'replay',
)
CELLS = ('', 'nan', '-inf', '1e400', '1e308', '<b>', '"', '0', '-1', '\0', '9' * 30, 'goal', '1,2')
SETTINGS = (
    'trainer.exploration.warmup_steps',
    'episode_manager.route_length_min',
    'trainer.learner.optimiser.clip',
    'trainer.learner.optimiser.actor_clip',
    'simulator.vehicles',
    'simulator.map',
)
HOW = ('cut', 'bytes', 'cells', 'value', 'value', 'value', 'gone', 'folder', 'twice')
VALUES = (None, '10000', 'x', [], {}, [1], float('nan'), -1, 10**30, True, {'a': {'b': 1}}, '<b>')


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Return a run folder with every file that a report reads."""
    path = made(tmp_path_factory.mktemp('runs') / 'whole')
    replay(path)
    RunFolder(path).write_summary({'updates': 9000})
    head = 'env_step,updates,name,action,state,value,limit,text'
    (path / 'alerts.csv').write_text(f'{head}\n1500,1,q_gap,warn,raised,1,2,"a, b"\n')
    others = [evaluation(0.1, policy='random')]
    for name, more in (('evaluation', {}), ('evaluation_frozen_camera', {'camera': 'frozen'})):
        (path / name).mkdir()
        found = evaluation(0.9, others=others, map='town', notes=['It drives.'], **more)
        found['metrics']['success_rate'] = {'mean': 0.5}
        (path / name / 'evaluation.json').write_text(json.dumps(found))
    shutil.copy(path / 'trajectories.csv', path / 'evaluation' / 'trajectories.csv')
    return path


def damaged(path, draw):
    """Break a file: cut it, overwrite bytes, cells or values, or put a folder in its place."""
    if path.name == 'replay':
        path = draw(some.sampled_from(sorted(path.glob('*.npz'))))
    data = path.read_bytes()
    how = draw(some.sampled_from(HOW))
    if how == 'cut':
        path.write_bytes(data[: draw(some.integers(0, len(data)))])
    elif how == 'bytes':
        broken = bytearray(data)
        for _ in range(draw(some.integers(1, 20))):
            broken[draw(some.integers(0, len(data) - 1))] = draw(some.integers(0, 255))
        path.write_bytes(broken)
    elif how == 'cells' and path.suffix == '.csv':
        lines = [line.split(',') for line in data.decode().split('\n')]
        column, cell = draw(some.integers(0, len(lines[0]) - 1)), draw(some.sampled_from(CELLS))
        for line in lines[1:-1]:
            line[min(column, len(line) - 1)] = cell
        path.write_text('\n'.join(map(','.join, lines)))
    elif how == 'value' and path.suffix == '.json':
        found = json.loads(data)
        at = draw(some.sampled_from(sorted(found)))
        inner = found[at] if isinstance(found[at], dict) and found[at] else None
        if inner and draw(some.booleans()):
            found, at, outer = inner, draw(some.sampled_from(sorted(inner))), found
        else:
            outer = found
        found[at] = draw(some.sampled_from(VALUES))
        path.write_text(json.dumps(outer))
    elif how == 'value' and path.suffix == '.yaml':
        given = draw(
            some.dictionaries(some.sampled_from(SETTINGS), some.sampled_from(VALUES), min_size=1)
        )
        path.write_text(yaml.safe_dump(given))
    elif how == 'folder':
        path.unlink()
        path.mkdir()
    elif how == 'twice':
        path.write_bytes(data + data)
    else:
        path.unlink()


@settings(max_examples=60)
@given(some.data())
def test_every_part_of_a_page_is_made_of_what_there_is(tmp_path_factory, whole, data):
    path = tmp_path_factory.mktemp('broken') / 'run'
    shutil.copytree(whole, path)
    for name in data.draw(
        some.lists(some.sampled_from(FILES), min_size=1, max_size=3, unique=True)
    ):
        damaged(path / name, data.draw)
    run = runs.read(path)
    with np.errstate(all='ignore'):  # as the page has it
        tables.headline(run)
        for part in (
            tables.overview,
            tables.gate_rows,
            tables.evaluation_rows,
            tables.evaluation_notes,
            tables.setting_rows,
            tables.environment_rows,
            maps.places,
            charts.not_finite,
        ):
            part([run])
        for panel in (*charts.DRIVING, *charts.LEARNING):
            curve = panel.curve(run, series.STEPS)
            assert np.isfinite(curve.x).all() and (np.diff(curve.x) > 0).all()
        series.shares(run)
        charts.spans(run)
        frames.strips(run)
    assert all(note.endswith('.') and '\n' not in note for note in run.notes)
