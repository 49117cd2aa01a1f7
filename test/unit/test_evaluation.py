"""``av-td3 evaluate`` in this process: its figures, its files, and what it refuses."""

import csv
import json
import math
from pathlib import Path
import shutil

import numpy as np
from PIL import Image
import pytest
import yaml

pytest.importorskip('carla')

from av_td3_ros.cli import evaluate, evaluate_drive  # noqa: E402
from av_td3_ros.cli.main import main, parser  # noqa: E402
from av_td3_ros.driving.episode import SUMMARY  # noqa: E402
from av_td3_ros.evaluation import plot, tables  # noqa: E402
from av_td3_ros.evaluation.figures import FIGURES, Result  # noqa: E402

TOWN01 = Path(__file__).resolve().parents[3] / 'shared' / 'maps' / 'Town01.xodr'
SMALL = {
    'observation.height': 36,
    'observation.width': 36,
    'observation.stack': 2,
    'trainer.precision': 'fp32',
    'trainer.threads': 1,
    'trainer.learner.batch_size': 8,
    'trainer.learner.network.feature_size': 16,
    'trainer.learner.network.hidden_1': 16,
    'trainer.learner.network.hidden_2': 16,
    'trainer.replay.capacity': 1000,
    'simulator.image_width': 64,
    'simulator.image_height': 36,
    'episode_manager.termination.max_steps': 25,
}
FAST = ['--via', 'in-process', '--set', 'episode_manager.termination.max_steps=25']


def train(folder, seed=0, **values):
    settings = [f'--set={key}={value}' for key, value in {**SMALL, **values}.items()]
    command = ['train', '--in-process', '--steps', '20', '--seed', str(seed)]
    assert main([*command, '--run-dir', str(folder), *settings]) == 0
    return folder


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs')
    return train(folder / 'one'), train(folder / 'two', 1)


def rows(path):
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


def refused(capsys, *arguments):
    assert main(['evaluate', *map(str, arguments)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    'arguments, folder',
    [
        ([], 'evaluation'),
        (['--seed', '7'], 'evaluation_seed_7'),
        (['--set', 'simulator.fov_deg=90'], 'evaluation_other_settings'),
        (['--set', 'trainer.learner.batch_size=8'], 'evaluation'),  # nothing of the world
        (['--map', 'town', '--vehicles', '0'], 'evaluation'),  # what it was trained with
        (['--vehicles', '20'], 'evaluation_20_vehicles'),
        (['--map', 'random_town:3', '--freeze-camera'], 'evaluation_random_town_3_frozen_camera'),
        (['--weather', 'wet_noon', '--routes', 'random'], 'evaluation_wet_noon_routes_random'),
    ],
)
def test_another_world_does_not_replace_the_evaluation_of_the_run(
    runs, tmp_path, arguments, folder
):
    command = ['evaluate', str(runs[0]), '--via', 'in-process', *arguments]
    options = parser().parse_args(command)
    plan = evaluate.prepare(options, tmp_path)
    assert evaluate.output_folders(options, plan) == [runs[0] / folder]


def test_a_run_and_both_baselines_leave_every_file(runs, tmp_path, capsys):
    out = tmp_path / 'out'
    command = ['evaluate', str(runs[0]), '--episodes', '2', '--baselines', 'expert,random']
    assert main([*command, '--output', str(out), *FAST]) == 0
    shown = capsys.readouterr().out
    assert 'one' in shown and 'expert' in shown and 'driving score 2.1' in shown
    data = json.loads((out / 'evaluation.json').read_text())
    assert data['version'] == 2 and data['policy'] == 'one' and data['via'] == 'in-process'
    assert (data['episodes'], data['partial'], data['seed']) == (2, False, 1000)
    assert data['env_step'] == 20 and data['camera'] == 'live'
    assert data['metrics'].keys() == FIGURES.keys()
    assert data['metrics']['min_time_to_collision'] == {'mean': None, 'low': None, 'high': None}
    assert [other['policy'] for other in data['others']] == ['expert', 'random']
    written = rows(out / 'evaluation.csv')
    assert [row['route'] for row in written] == ['0', '1']
    assert set(SUMMARY) <= written[0].keys()
    assert data['metrics']['mean_speed']['mean'] == pytest.approx(
        sum(float(row['mean_speed']) for row in written) / 2
    )
    others = rows(out / 'others.csv')
    assert [row['policy'] for row in others] == ['expert'] * 2 + ['random'] * 2
    assert [row['route_length'] for row in others[:2]] == [row['route_length'] for row in written]
    ways = rows(out / 'trajectories.csv')
    assert [(way['policy'], way['reason']) for way in ways] == [
        (row['policy'], row['reason']) for row in [*written, *others]
    ]
    for way, row in zip(ways, [*written, *others]):
        x, y = (np.array(way['points'].split()[k::2], float) for k in (0, 1))
        # A point every 2 m: no longer than what was driven, and not much shorter.
        assert float(row['distance']) == pytest.approx(
            np.hypot(np.diff(x), np.diff(y)).sum(), abs=1
        )
    assert 'trail' not in written[0]
    tex = (out / 'evaluation.tex').read_text()
    assert tex.count(r'\begin{tabular}{lrrr}') == 1 and r'success (\%)' in tex
    assert (out / 'evaluation.png').read_bytes().startswith(b'\x89PNG')


def test_the_same_command_gives_the_same_figures(runs, tmp_path):
    texts = []
    for name in 'ab':
        command = ['evaluate', str(runs[0]), '--episodes', '2', '--vehicles', '5']
        assert main([*command, '--output', str(tmp_path / name), *FAST]) == 0
        texts.append((tmp_path / name / 'evaluation.csv').read_text())
    assert texts[0] == texts[1]
    row = rows(tmp_path / 'a' / 'evaluation.csv')[0]
    assert 0.0 <= float(row['min_time_to_collision']) <= 10.0


def test_several_runs_stand_side_by_side(runs, tmp_path):
    command = ['evaluate', *map(str, runs), '--episodes', '1', '--output', str(tmp_path)]
    assert main([*command, *FAST]) == 0
    for name in ('one', 'two'):
        data = json.loads((tmp_path / name / 'evaluation.json').read_text())
        assert (data['policy'], data['others']) == (name, [])
    data = json.loads((tmp_path / 'evaluation.json').read_text())
    assert data['policy'] == 'one' and [o['policy'] for o in data['others']] == ['two']
    lengths = {
        row['route_length']
        for name in ('evaluation.csv', 'others.csv')
        for row in rows(tmp_path / name)
    }
    assert len(lengths) == 1  # the same route


@pytest.mark.parametrize('given', [['one'], ['one', 'two']])
def test_figures_never_go_into_a_run(runs, given, capsys):
    """Nor is anything of a run touched, not even its folder."""
    before = {path: path.stat().st_mtime_ns for path in runs[0].parent.rglob('*')}
    output = runs[0].parent if len(given) > 1 else runs[1]
    sources = [runs[0].parent / name for name in given]
    told = refused(capsys, *sources, '--output', output, '--episodes', '1', *FAST)
    kept = runs[0] if len(given) > 1 else runs[1]
    assert f'figures must go beside a run, not into one, got {kept}, which holds' in told
    assert '--output' in told
    assert {path: path.stat().st_mtime_ns for path in runs[0].parent.rglob('*')} == before


@pytest.mark.parametrize('is_relative', [False, True])
def test_runs_of_one_name_are_written_below_the_output(runs, tmp_path, monkeypatch, is_relative):
    shutil.copytree(runs[0], tmp_path / 'c' / 'run')
    shutil.copytree(runs[1], tmp_path / 'd' / 'run')
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    begin = Path('..') if is_relative else tmp_path
    sources = [str(begin / place / 'run') for place in 'cd']
    command = ['evaluate', *sources, '--output', str(begin / 'out'), '--via', 'in-process']
    options = parser().parse_args(command)
    plan = evaluate.prepare(options, tmp_path / 'copies')
    folders = evaluate.output_folders(options, plan)
    assert plan.names == ('c_run', 'd_run')
    assert folders == [begin / 'out' / name for name in ('c_run', 'd_run', '')]


def test_two_policies_have_two_folders(runs, tmp_path, capsys):
    """However their names are put together."""
    shutil.copytree(runs[0], tmp_path / 'p' / 'a' / 'c')
    shutil.copytree(runs[1], tmp_path / 'p' / 'a_c')
    shutil.copytree(runs[1], tmp_path / 'q' / 'c')
    sources = [tmp_path / path for path in ('p/a/c', 'q/c', 'p/a_c')]
    told = refused(capsys, *sources, '--output', tmp_path / 'out', '--episodes', '1', *FAST)
    assert 'figures of each run must go to a folder of their own, got' in told


def test_the_expert_alone_needs_no_run(tmp_path):
    command = ['evaluate', '--baselines', 'expert', '--episodes', '1', '--output', str(tmp_path)]
    assert main(command) == 0
    data = json.loads((tmp_path / 'evaluation.json').read_text())
    assert data['policy'] == 'expert' and data['metrics']['success_rate']['mean'] == 1.0


def test_a_frozen_camera_shows_one_image_throughout(tmp_path):
    class Seen(list):
        def begin(self, env):
            self.append([])

        def act(self, env, obs):
            self[-1].append(obs.image.copy())
            return 0.0, 1.0

    seen = {}
    for frozen in (False, True):
        options = ['evaluate', '--baselines', 'expert', '--episodes', '2', *FAST]
        plan = evaluate.prepare(parser().parse_args(options), tmp_path)
        seen[frozen] = Seen()
        driver = evaluate_drive.Frozen(seen[frozen]) if frozen else seen[frozen]
        result = Result('seen', 'in-process', 2)
        evaluate_drive.drive_here(plan.configs[0], driver, result, evaluate_drive.Watch(2))
        assert len(result.driven) == 2
    for episode, live in zip(seen[True], seen[False]):
        assert all((image == episode[0]).all() for image in episode)
        assert (live[0] == episode[0]).all() and not (live[-1] == live[0]).all()
    assert not (seen[True][0][0] == seen[True][1][0]).all()


def test_what_was_driven_before_ctrl_c_is_kept(runs, tmp_path, monkeypatch, capsys):
    def stop(self, result):
        self.stops.append(2)

    monkeypatch.setattr(evaluate_drive.Watch, 'episode', stop)
    command = ['evaluate', str(runs[0]), '--episodes', '3', '--output', str(tmp_path)]
    assert main([*command, '--baselines', 'random', *FAST]) == 1
    assert '1 of 3, partial' in capsys.readouterr().out
    data = json.loads((tmp_path / 'evaluation.json').read_text())
    assert data['partial'] and data['episodes'] == 1 and data['others'] == []
    assert len(rows(tmp_path / 'evaluation.csv')) == 1


def test_who_was_trained_on_all_roads_is_told_of(runs, tmp_path, capsys):
    command = ['--episodes', '1', '--output', str(tmp_path / 'out'), *FAST]
    main(['evaluate', str(runs[0]), *command])
    assert 'was trained on routes of all roads' not in capsys.readouterr().out
    (tmp_path / 'copy').mkdir()
    written = yaml.safe_load((runs[0] / 'config.yaml').read_text())
    del written['episode_manager']['routes']  # of an older version
    (tmp_path / 'copy' / 'config.yaml').write_text(yaml.safe_dump(written))
    (tmp_path / 'copy' / 'checkpoints').symlink_to(runs[0] / 'checkpoints')
    main(['evaluate', str(tmp_path / 'copy'), *command])
    assert 'copy was trained on routes of all roads' in capsys.readouterr().out


@pytest.mark.parametrize(
    'arguments, sentence',
    [
        (['{run}', '--episodes', '0'], '--episodes must be >= 1, got 0'),
        (['{run}', '--seed', '-1'], '--seed must be >= 0, got -1'),
        (['{run}', '--baselines', 'ddpg'], '--baselines must be among expert, random, got ddpg'),
        (['{run}', '--freeze-camera'], '--freeze-camera must be driven in this process'),
        (['{run}', '{run}'], 'runs must differ'),
        (['{run}', '--routes', 'no.xml'], 'routes must be in an XML file, got no.xml'),
        (
            ['{run}', '--set', 'observation.stack=3'],
            'av-td3: {run} cannot drive here: trained with stack 2, asked for 3; leave',
        ),
        (['nowhere'], 'a checkpoint or run folder must be given'),
        ([], 'a run folder must be given, got none'),
    ],
)
def test_nonsense_is_refused_in_one_sentence(runs, capsys, arguments, sentence):
    given = [text.format(run=runs[0]) for text in arguments]
    assert sentence.format(run=runs[0]) in refused(capsys, *given)


def test_a_run_without_a_whole_checkpoint_is_refused(runs, tmp_path, capsys):
    (tmp_path / 'config.yaml').write_text((runs[0] / 'config.yaml').read_text())
    assert 'a checkpoint or run folder must be given' in refused(capsys, tmp_path)
    (tmp_path / 'checkpoints' / 'step_20').mkdir(parents=True)
    assert 'checkpoint' in refused(capsys, tmp_path)


def test_the_routes_of_a_file_get_the_time_that_they_need(tmp_path):
    routes = TOWN01.parent / 'routes_town01.xml'
    if not routes.exists():
        pytest.skip(f'{routes} is not there')
    options = ['evaluate', '--baselines', 'expert', '--map', str(TOWN01), '--routes', str(routes)]
    options = parser().parse_args([*options, '--via', 'in-process'])
    plan = evaluate.prepare(options, tmp_path)
    assert plan.episodes == 10
    assert plan.configs[0].episode_manager.termination.max_steps > 1000


def test_the_graph_refuses_a_route_that_the_bridge_would_not_plan(runs, capsys):
    routes = TOWN01.parent / 'routes_town01.xml'
    if not routes.exists():
        pytest.skip(f'{routes} is not there')
    told = refused(capsys, runs[0], '--map', TOWN01, '--routes', routes)
    assert 'must be the shortest way to its goal to be driven over the graph' in told
    assert 'add --via in-process' in told


@pytest.mark.parametrize(
    'health, count',
    [
        ({}, 0),
        ({'simulator': {'timeouts': '0'}, 'episode_manager': {'unpaced_steps': '0'}}, 0),
        ({'simulator': {'timeouts': '2'}, 'episode_manager': {'unpaced_steps': '3'}}, 5),
    ],
)
def test_a_graph_that_could_not_keep_up_says_so(health, count):
    notes = evaluate_drive.late_note('td3', health)
    assert len(notes) == bool(count)
    assert all(note.startswith(f'td3: {count} steps were not driven in step') for note in notes)


# -- figures --------------------------------------------------------------------------------------


def episode(reason='goal', outcome='terminated', **values):
    row = {name: 0.0 for name in SUMMARY}
    return {**row, 'distance': 500.0, 'reason': reason, 'outcome': outcome, **values}


def test_figures_by_hand():
    result = Result(
        'hand',
        'in-process',
        5,
        rows=[
            episode(duration=20.0, route_completion=1.0),
            episode(duration=30.0, route_completion=1.0),
            episode('collision', collisions=1, vehicle_collisions=1, route_completion=0.5),
            episode('lane_exit', route_completion=0.1),
            episode('lost frame', 'aborted', route_completion=0.7),
        ],
    )
    found = result.metrics()
    assert found['success_rate'].mean == 0.5 and found['collision_rate'].mean == 0.25
    assert found['route_completion'].mean == 0.65
    assert found['driving_score_1.0'].mean == pytest.approx((2.0 + 0.3 + 0.1) / 4)
    assert found['driving_score_2.1'].mean == pytest.approx((2.0 + 0.5 / 1.7 + 0.1) / 4)
    assert found['completion_time'].mean == 25.0
    assert found['collisions_per_km'].mean == found['off_road_per_km'].mean == 0.5
    assert found['static_collisions_per_km'].mean == 0.0
    assert result.is_partial and result.to_dict()['aborted'] == 1
    assert result.to_dict()['endings'] == {'goal': 2, 'collision': 1, 'lane_exit': 1}


def test_what_nobody_measured_is_left_out_of_the_table_and_null_in_the_file():
    lost = Result('lost', 'graph', 1, rows=[episode('lost frame', 'aborted')])
    assert all(math.isnan(found.mean) for found in lost.metrics().values())
    json.dumps(lost.to_dict(), allow_nan=False)
    hit = Result('a_b', 'graph', 1, rows=[episode('collision', min_time_to_collision=math.nan)])
    shown = tables.text([hit])
    assert 'time to collision' not in shown and 'ended by collision' in shown


@pytest.mark.parametrize(
    'name, shown',
    [
        ('a_b & 5 %', r'a\_b \& 5 \%'),
        ('$x^2$ {y}', r'\$x\textasciicircum{}2\$ \{y\}'),
        ('a\\b~#', r'a\textbackslash{}b\textasciitilde{}\#'),
    ],
)
def test_no_name_breaks_the_tabular(name, shown):
    head = tables.latex([Result(name, 'graph', 2, rows=[episode()])]).splitlines()
    assert head[2] == f' & {shown} \\\\' and head[3] == r'episodes & 1 of 2, partial \\'


@pytest.mark.parametrize('count', [1, 3, 12])
def test_the_plot_takes_any_number_of_policies_of_any_name(tmp_path, count):
    """As wide as ever, no name on another: many are numbered, and named below the panels."""
    pytest.importorskip('matplotlib')
    facts = {'map': 'maps/$x.xodr', 'vehicles': 20, 'routes': 'held-out'}
    results = [
        Result(f'$\\frac_{number}', 'graph', 1, facts, rows=[episode()]) for number in range(count)
    ]
    path = plot.draw(tmp_path / 'evaluation.png', results)
    assert Image.open(path).size[0] == 1540
    assert path.stat().st_size > 20_000


def test_a_file_is_replaced_whole(tmp_path, monkeypatch):
    """Whoever reads while an evaluation is written again sees the old or the new one."""
    result = Result('a', 'graph', 1, rows=[{**episode(), 'trail': ((0.0, 1.0),)}])
    tables.write(tmp_path, [result])
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(before) == {
        'evaluation.json',
        'evaluation.csv',
        'evaluation.tex',
        'trajectories.csv',
    }

    def killed(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr('av_td3_ros.run_folder.os.replace', killed)
    with pytest.raises(KeyboardInterrupt):
        tables.write(tmp_path, [Result('b', 'graph', 1, rows=[episode()])])
    assert {name: (tmp_path / name).read_text() for name in before} == before


def test_a_run_that_goes_on_is_driven_with_what_was_its_newest_at_the_beginning(runs, tmp_path):
    """Training removes all but its newest checkpoints, while others may still drive."""
    folder = tmp_path / 'going_on'
    shutil.copytree(runs[1], folder)
    command = ['evaluate', str(runs[0]), str(folder), '--episodes', '1', *FAST]
    plan = evaluate.prepare(parser().parse_args(command), tmp_path / 'copies')
    assert [path.name for path in plan.policies] == ['step_00000020'] * 2
    assert [config.policy.checkpoint for config in plan.configs] == list(map(str, plan.policies))
    shutil.rmtree(folder / 'checkpoints')
    results, fault = evaluate_drive.drive(plan, [tmp_path] * 3)
    assert fault == ''
    assert [(result.policy, result.facts['env_step']) for result in results] == [
        ('one', 20),
        ('going_on', 20),
    ]
    assert all(len(result.driven) == 1 for result in results)


def test_what_was_driven_before_a_fault_is_kept(runs, tmp_path, monkeypatch, capsys):
    (tmp_path / 'temporary').mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'temporary'))

    def lose(self, result):
        (copy,) = tmp_path.glob('temporary/av_td3_*/1/step_*')
        (copy / 'policy.safetensors').unlink()

    monkeypatch.setattr(evaluate_drive.Watch, 'episode', lose)
    command = ['evaluate', *map(str, runs), '--episodes', '1', '--output', str(tmp_path / 'out')]
    assert main([*command, '--baselines', 'random', *FAST]) == 1
    shown = capsys.readouterr()
    assert 'driving score 2.1' in shown.out
    assert shown.err.startswith('av-td3: two: ') and shown.err.count('\n') == 1
    assert 'policy.safetensors' in shown.err
    for place in ('one', ''):
        data = json.loads((tmp_path / 'out' / place / 'evaluation.json').read_text())
        assert (data['policy'], data['episodes']) == ('one', 1)
    assert not (tmp_path / 'out' / 'two' / 'evaluation.json').exists()
    assert not list((tmp_path / 'temporary').iterdir())


def test_figures_that_cannot_be_written_are_shown_at_least(runs, tmp_path, capsys):
    (tmp_path / 'evaluation.png.part').mkdir()  # as good as a full disk
    (tmp_path / 'evaluation.png').write_bytes(b'of before')
    command = ['evaluate', *map(str, runs), '--episodes', '1', '--output', str(tmp_path), *FAST]
    assert main(command) == 1
    shown = capsys.readouterr()
    assert 'driving score 2.1' in shown.out and 'written' not in shown.out
    assert shown.err == (
        f'av-td3: figures must be written to {tmp_path}, got Is a directory; free space and '
        'evaluate again, or choose another folder with --output\n'
    )
    assert (tmp_path / 'evaluation.png').read_bytes() == b'of before'
    assert (tmp_path / 'one' / 'evaluation.png').exists()


def test_a_graph_that_dies_half_way_is_a_fault_and_no_refusal(runs, tmp_path, monkeypatch, capsys):
    graph = pytest.importorskip('av_td3_ros.cli.evaluate_graph')

    def dies(config, result, folder, watch):
        if result.policy == 'one':
            evaluate_drive.drive_here(config, evaluate_drive.RandomDriver(0), result, watch, False)
        return 'perception ended 4 times'

    monkeypatch.setattr(graph, 'drive_graph', dies)
    shared = ['--episodes', '1', *FAST[2:], '--output', str(tmp_path)]
    assert main(['evaluate', str(runs[0]), *shared]) == 1
    shown = capsys.readouterr()
    assert 'driving score 2.1' in shown.out
    assert shown.err == 'av-td3: perception ended 4 times\n'
    assert main(['evaluate', str(runs[1]), *shared]) == 2  # nothing was driven
    assert capsys.readouterr().err == 'av-td3: perception ended 4 times\n'


def test_a_checkpoint_that_cannot_be_copied_is_refused_in_one_sentence(
    runs, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))

    def fill(source, target):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(shutil, 'copytree', fill)
    told = refused(capsys, runs[0], *FAST)
    assert 'must be copied to' in told and 'got No space left on device; free space' in told
