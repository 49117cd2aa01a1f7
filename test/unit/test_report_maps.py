"""The map of a report: every episode where it was driven, and by how it ended."""

import json
import re

import numpy as np
import pytest

pytest.importorskip('carla')
pytest.importorskip('jinja2')

from av_td3_ros.report import maps, runs, trajectories  # noqa: E402
from av_td3_ros.run_folder import RunFolder  # noqa: E402
from made_runs import evaluation, made  # noqa: E402


def wrote(path, *episodes):
    """Write trajectories.csv as a run does; each episode is (reason, completion, trail)."""
    run = RunFolder(path)
    for number, (reason, completion, trail) in enumerate(episodes, 1):
        row = {'episode_id': number, 'outcome': 'terminated', 'reason': reason}
        run.add_episode({**row, 'route_completion': completion, 'trail': trail})
    run.close()
    return path


def read(path):
    notes = []
    return trajectories.read(path / 'trajectories.csv', notes), notes


LINE = ((0.0, 0.0), (2.0, 0.0), (4.0, 0.5))


def test_what_a_run_wrote_is_read(tmp_path):
    found, notes = read(wrote(tmp_path, ('goal', 1.0, LINE), ('collision', 0.25, LINE[:1])))
    assert notes == [] and [way.reason for way in found] == ['goal', 'collision']
    assert found[0].points.tolist() == [list(point) for point in LINE]
    assert maps.told(found[1]) == 'episode 2: collision after 25 % of the route'


def test_a_run_of_an_older_version_has_none(tmp_path):
    assert read(tmp_path) == ((), [])


@pytest.mark.parametrize(
    'points', ['', 'a b', '1 2 3', '1 nan', 'inf 2', '1e9 2', '1,2', '-' * 200_000]
)
def test_broken_rows_are_left_out_and_counted(tmp_path, points):
    wrote(tmp_path, ('goal', 1.0, LINE))
    with (tmp_path / 'trajectories.csv').open('a') as file:
        file.write(f'1,2,,,terminated,goal,1,1,1,{points}\n1,2\n')
    found, notes = read(tmp_path)
    assert len(found) == 1
    assert notes and 'are broken, and are left out.' in notes[0]


@pytest.mark.parametrize('data', [b'', b'\xff\xfe\x00', b'x\n1\n', b'outcome,reason', b'\0\n\0'])
def test_a_file_of_another_kind_is_left_out_and_told(tmp_path, data):
    (tmp_path / 'trajectories.csv').write_bytes(data)
    found, notes = read(tmp_path)
    assert found == () and 'has no column' in notes[0]


def test_half_a_row_at_the_end_is_left_out(tmp_path):
    path = wrote(tmp_path, ('goal', 1.0, LINE), ('goal', 1.0, LINE)) / 'trajectories.csv'
    path.write_bytes(path.read_bytes()[:-8])
    assert len(read(tmp_path)[0]) == 1


def test_of_a_long_run_the_end_is_read(tmp_path):
    path = wrote(tmp_path, ('lane_exit', 0.1, LINE), ('goal', 1.0, LINE)) / 'trajectories.csv'
    head, first, last = path.read_text().splitlines(keepends=True)
    path.write_text(head + 60_000 * first + last)
    assert path.stat().st_size > trajectories.TAIL
    found, notes = read(tmp_path)
    assert len(found) == trajectories.MOST and found[-1].reason == 'goal' and not notes


def drawn(path, **settings):
    (found,) = maps.places([runs.read(made(path, 1000, settings=settings))])
    return found


def test_lanes_and_trajectories_lie_on_each_other(tmp_path):
    found = drawn(tmp_path / 'run')
    (shown,) = found.maps
    assert found.notes == ['There is no evaluation to draw.']
    assert [line.text for line in shown.legend] == ['goal 5', 'lane exit 5']
    assert shown.svg.count('<g class="way ') == 10 and 'class="road"' in shown.svg
    assert shown.svg.index('class="way goal"') < shown.svg.index('class="way lane_exit"')
    # Decimetres, y up: it begins at (0, 0) and ends at (38, 3.61) m.
    assert '<circle class="begin" cx="0" cy="0"' in shown.svg
    assert 'transform="translate(380 -36)' in shown.svg
    left, top, width, height = map(float, re.search('viewBox="(.*?)"', shown.svg)[1].split())
    assert left < 0 and left + width > 380 and top < -36 and top + height > 0


def test_a_map_that_is_not_there_is_told_of(tmp_path):
    path = made(tmp_path / 'run', 1000)
    text = (path / 'config.yaml').read_text()
    (path / 'config.yaml').write_text(re.sub(r'map: \w+', 'map: gone.xodr', text))
    (found,) = maps.places([runs.read(path)])
    assert 'road' not in found.maps[0].svg and 'class="way goal"' in found.maps[0].svg
    assert 'drawn without their map' in found.notes[0] and 'gone.xodr' in found.notes[0]


def test_a_run_without_trajectories_says_so(tmp_path):
    path = made(tmp_path / 'run', 1000)
    (path / 'trajectories.csv').unlink()
    (found,) = maps.places([runs.read(path)])
    assert found.maps == [] and 'there is no trajectories.csv' in found.notes[1]


def test_the_map_of_an_evaluation_shows_its_own_policy(tmp_path):
    path = made(tmp_path / 'run', 1000)
    (path / 'evaluation').mkdir()
    (path / 'evaluation' / 'evaluation.json').write_text(json.dumps(evaluation(0.9, map='town')))
    rows = ['policy,outcome,reason,points', 'td3,terminated,goal,0 0 5 5']
    rows += ['random,terminated,collision,0 0 1 1', 'td3,aborted,lost frame,1 2', '']
    (path / 'evaluation' / 'trajectories.csv').write_text('\n'.join(rows))
    (found,) = maps.places([runs.read(path)])
    assert [shown.title for shown in found.maps] == [
        'Evaluation',
        'Training, the last 10 episodes',
    ]
    assert [line.text for line in found.maps[0].legend] == ['goal 1', 'aborted 1']
    assert found.notes == []


@pytest.mark.parametrize('baselines', [300, 100_000])
def test_many_episodes_of_baselines_do_not_hide_the_policy(tmp_path, baselines):
    """They come after its own, also where the file is long."""
    path = made(tmp_path / 'run', 1000)
    (path / 'evaluation').mkdir()
    (path / 'evaluation' / 'evaluation.json').write_text(json.dumps(evaluation(0.9, map='town')))
    rows = ['policy,outcome,reason,points', *['td3,terminated,goal,0 0 5 5'] * 250]
    rows += ['random,terminated,collision,0 0 1 1'] * baselines
    (path / 'evaluation' / 'trajectories.csv').write_text('\n'.join([*rows, '']))
    run = runs.read(path)
    (found,) = maps.places([run])
    assert not any('trajectories' in note for note in (*run.notes, *found.notes))
    assert [line.text for line in found.maps[0].legend] == [f'goal {trajectories.MOST}']


def test_what_is_told_of_an_episode_cannot_break_the_page(tmp_path):
    wrote(tmp_path, ('<b>"&\'', 0.5, LINE))
    (tmp_path / 'config.yaml').write_text('simulator: {map: "<i>"}\n')
    (found,) = maps.places([runs.read(tmp_path)])
    assert not re.search('<[bi]>', found.maps[0].svg) and '&lt;b&gt;' in found.maps[0].svg
    assert found.maps[0].legend[0].text == 'otherwise 1'


def test_every_ending_has_a_colour_and_a_shape_of_its_own():
    style = (maps.__file__.replace('maps.py', 'page.css'), 'utf-8')
    text = open(style[0], encoding=style[1]).read()
    for kind in maps.ENDINGS:
        assert re.search(rf'\.{kind}(, \.other)? \{{ --ending: var\(--\w+\)', text), kind
    told = [shape for kind, (_, shape) in maps.ENDINGS.items() if kind != 'other']
    assert len(set(told)) == len(told)


def test_a_simplified_line_keeps_its_ends_and_its_corners():
    straight = np.column_stack([np.linspace(0.0, 9.0, 50), np.zeros(50)])
    assert maps.simplified(straight, 0.1).tolist() == [[0.0, 0.0], [9.0, 0.0]]
    corner = np.array([[0.0, 0.0], [1.0, 0.05], [2.0, 0.0], [2.0, 3.0]])
    assert maps.simplified(corner, 0.1).tolist() == [[0.0, 0.0], [2.0, 0.0], [2.0, 3.0]]
    there_and_back = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 0.0]])
    assert len(maps.simplified(there_and_back, 0.1)) == 3
    assert maps.path(np.array([[0.06, 0.0], [0.14, -1.0]])) == 'M1 0l0 10'
