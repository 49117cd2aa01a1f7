"""What the supervisor tells the processes that it starts."""

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
