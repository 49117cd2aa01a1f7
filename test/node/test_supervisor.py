"""What the supervisor tells the processes that it starts."""

from types import SimpleNamespace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import pytest
import yaml

from av_td3_ros.config import build_run
from av_td3_ros.nodes.supervisor import Supervisor
from av_td3_ros.run_folder import RunFolder


@pytest.mark.parametrize(
    'resume, restarts, first_route', [(False, 0, 0), (True, 0, 3), (False, 1, 3), (True, 2, 3)]
)
def test_an_episode_manager_leaves_out_the_routes_that_were_driven(
    tmp_path, resume, restarts, first_route
):
    run = RunFolder(tmp_path)
    for step in (10, 20, 30):
        run.add_episode({'env_step': step})
    run.close()
    values = {'trainer.run_dir': str(tmp_path), 'trainer.resume': resume}
    graph = Supervisor(build_run(values, 'the test'), 'training', tmp_path)
    member = graph.members['episode_manager']
    member.restarts = restarts
    graph._tell(member)
    told = yaml.safe_load((tmp_path / 'params' / member.spec.file).read_text())
    assert told['/**']['ros__parameters']['first_route'] == first_route


def test_it_rests_by_what_the_manager_tells_of_the_world_that_stands(tmp_path, monkeypatch):
    graph = Supervisor(build_run({}, 'the test'), 'training', tmp_path)

    def tell(node, **values):
        items = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        graph._on_diagnostics(DiagnosticArray(status=[DiagnosticStatus(name=node, values=items)]))

    def receive(count):
        graph.status = SimpleNamespace(transitions_received=count)

    tell('simulator', paused=True, frames=409, commands=409)
    tell('episode_manager', transitions_sent=407)
    receive(407)
    later = iter([lambda: tell('episode_manager', transitions_sent=408), lambda: receive(408)])

    def spin(until, timeout):
        while not until():
            next(later)()  # where nothing comes any more the test fails
        return True

    monkeypatch.setattr(graph, 'spin', spin)
    graph.finish()
    assert graph.health['episode_manager']['transitions_sent'] == '408'
    assert graph.status.transitions_received == 408
