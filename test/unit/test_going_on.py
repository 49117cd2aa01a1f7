"""What nodes are told where a run goes on: nothing that was saved or driven comes again."""

import pytest

from av_td3_ros import graph
from av_td3_ros.config import build_run
from av_td3_ros.run_folder import episodes_driven, RunFolder


@pytest.fixture
def folder(tmp_path):
    """The folder of a run with three episodes and a checkpoint."""
    run = RunFolder(tmp_path)
    for step in (10, 20, 30):
        run.add_episode({'env_step': step, 'outcome': 'aborted'})
    run.close()
    (tmp_path / 'checkpoints' / 'step_00000030').mkdir(parents=True)
    return tmp_path


def told(folder, name, is_again=False, **values):
    run = build_run({'trainer.run_dir': str(folder), **values}, 'the test')
    return graph.going_on(run, name, is_again)


def test_a_run_that_begins_is_told_nothing(folder):
    for spec in graph.nodes('training'):
        assert told(folder, spec.name) == {}


def test_routes_that_were_driven_are_left_out(folder):
    resumed = {'trainer.resume': True, 'episode_manager.first_route': 2}
    assert told(folder, 'episode_manager', **resumed) == {'first_route': 5}
    assert told(folder, 'episode_manager', is_again=True) == {'first_route': 3}
    assert told(folder / 'new', 'episode_manager', is_again=True) == {'first_route': 0}


def test_traffic_and_weather_are_drawn_behind_those_that_were_there(folder):
    resumed = {'trainer.resume': True, 'simulator.first_episode': 2}
    assert told(folder, 'simulator', **resumed) == {'first_episode': 5}
    assert told(folder, 'simulator', is_again=True) == {'first_episode': 3}
    assert told(folder / 'new', 'simulator', is_again=True) == {'first_episode': 0}


def test_a_trainer_that_died_resumes_what_it_saved(folder):
    assert told(folder, 'trainer', is_again=True) == {'resume': True}
    assert told(folder / 'new', 'trainer', is_again=True) == {'resume': False}


@pytest.mark.parametrize('name', ['perception', 'policy'])
def test_others_begin_as_they_did(folder, name):
    assert told(folder, name, is_again=True, **{'trainer.resume': True}) == {}


def test_a_table_that_cannot_be_read_tells_of_no_episode(tmp_path):
    assert episodes_driven(tmp_path) == 0
    (tmp_path / 'episodes.csv').write_text(f'env_step\n{"x" * 200_000}\n')
    assert episodes_driven(tmp_path) == 0
