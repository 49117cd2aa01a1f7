"""What the supervisor tells the processes that it starts."""

from types import SimpleNamespace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
import pytest
import yaml

from av_td3_ros.cli.train import accounts
from av_td3_ros.config import build_run
from av_td3_ros.nodes import supervisor
from av_td3_ros.nodes.supervisor import REST_TIMEOUT, SILENT_AFTER, Supervisor
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


def tell(graph, node, **values):
    """Let a node say how it is."""
    items = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    graph._on_diagnostics(DiagnosticArray(status=[DiagnosticStatus(name=node, values=items)]))


@pytest.mark.parametrize('paused', [False, True])
def test_the_world_is_as_it_was_asked_for_though_the_manager_died_before_it_was_asked(
    tmp_path, monkeypatch, paused
):
    """A gate that is judged takes minutes, in which nobody is started again."""
    graph = Supervisor(build_run({}, 'the test'), 'training', tmp_path)
    for member in graph.members.values():
        monkeypatch.setattr(member, 'alive', lambda: True)
    asked = []
    monkeypatch.setattr(graph, 'ask', lambda *args, paused: asked.append((args[:2], paused)))
    tell(graph, 'simulator', paused=not paused)
    with monkeypatch.context() as dead:
        dead.setattr(graph.members['episode_manager'], 'alive', lambda: False)
        graph.pause(paused)
    assert not asked
    graph.revive()
    assert not asked  # what the simulator told may be of before
    for count in (1, 2):  # until it agrees
        tell(graph, 'simulator', paused=not paused)
        graph.revive()
        assert asked == [(('episode_manager', 'set_paused'), paused)] * count
        graph.revive()
        assert len(asked) == count
    tell(graph, 'simulator', paused=paused)
    graph.revive()
    assert len(asked) == 2


def test_a_world_that_nobody_asked_about_is_left_as_it_is(tmp_path, monkeypatch):
    graph = Supervisor(build_run({}, 'the test'), 'training', tmp_path)
    for member in graph.members.values():
        monkeypatch.setattr(member, 'alive', lambda: True)
    tell(graph, 'simulator', paused=True)
    graph.revive()  # would ask over a node that is not there


def test_it_rests_by_what_the_manager_tells_of_the_world_that_stands(tmp_path, monkeypatch):
    graph = Supervisor(build_run({}, 'the test'), 'training', tmp_path)

    def receive(sequence, publisher=7):
        tell(graph, 'trainer', publisher=publisher, last_sequence=sequence)

    tell(graph, 'simulator', paused=True, awaits_command=False)  # of a pause before this one
    tell(graph, 'episode_manager', publisher=7, transitions_sent=407)
    receive(407)
    # A frame that once had no command is never made up for.
    counts = {'frames': 409, 'commands': 408, 'timeouts': 1}
    later = iter(
        [
            lambda: tell(graph, 'simulator', paused=False, awaits_command=True, **counts),
            lambda: tell(graph, 'simulator', paused=True, awaits_command=True, **counts),
            lambda: tell(graph, 'simulator', paused=True, awaits_command=False, **counts),
            lambda: tell(graph, 'episode_manager', publisher=7, transitions_sent=408),
            lambda: receive(500, publisher=6),  # of a manager that died
            lambda: receive(408),
        ]
    )
    budgets = []

    def spin(until, timeout):
        budgets.append(timeout)
        while not until():
            next(later)()  # where nothing comes any more the test fails
        return True

    monkeypatch.setattr(graph, 'spin', spin)
    graph.finish()
    assert budgets == [REST_TIMEOUT] * 2 and not list(later)
    tell(graph, 'episode_manager', publisher=8, transitions_sent=0)  # started again, nothing since
    assert graph._is_stored(None)


@pytest.fixture
def lived(tmp_path):
    """A graph in which trainer, policy, manager and simulator died once, in an order of theirs."""
    graph = Supervisor(build_run({}, 'the test'), 'training', tmp_path)

    def learner(pid, received, stored, lost):
        figures = {'received': received, 'stored': stored, 'lost': lost, 'duplicated': 1}
        tell(graph, 'trainer', pid=pid, **figures)

    def world(pid, frames, sent):
        tell(graph, 'simulator', pid=pid, frames=frames, commands=frames - 1, timeouts=1)
        tell(graph, 'episode_manager', pid=pid + 1, transitions_sent=sent, aborts=2)

    for received in (4000, 9001):
        learner(50, received, received - 1, 0)
    tell(graph, 'policy', pid=60, adopted=90, refused=1)
    world(100, 9100, 9000)
    graph.members['trainer'].restarts = graph.members['policy'].restarts = 1
    tell(graph, 'policy', pid=61, adopted=5, refused=0)
    world(100, 10_100, 10_000)
    learner(51, 901, 900, 0)
    world(200, 0, 0)
    tell(graph, 'episode_manager', pid=201)  # a word without figures takes none away
    world(200, 2100, 2000)
    learner(51, 2891, 2880, 10)
    return graph


def test_the_accounts_are_of_all_lives(lived):
    account = accounts(lived, None)
    assert account['frames'] == 12_200 and account['commands'] == 12_198
    assert account['command_timeouts'] == 2 and account['episodes_aborted'] == 4
    assert account['transitions_sent'] == 12_000 and account['transitions_received'] == 11_892
    assert account['transitions_stored'] == 11_880 and account['transitions_lost'] == 10
    assert account['transitions_duplicated'] == 2
    assert account['transitions_missed'] == 110  # the ten that were lost are among them
    assert account['versions_adopted'] == 95 and account['versions_refused'] == 1
    assert account['restarts'] == {'trainer': 1, 'policy': 1}


def test_who_says_nothing_any_more_is_told_and_killed(tmp_path, monkeypatch):
    graph = Supervisor(build_run({}, 'the test'), 'training', tmp_path)
    moment, killed = [100.0], []
    monkeypatch.setattr(supervisor.time, 'monotonic', lambda: moment[0])
    for name, member in graph.members.items():
        monkeypatch.setattr(member, 'alive', lambda: True)
        kill = SimpleNamespace(kill=lambda name=name: killed.append(name))
        monkeypatch.setattr(member, 'process', kill)
        tell(graph, name)
    assert graph.complaints() == 'every node says that it is well'
    moment[0] += SILENT_AFTER + 1.0
    for name in graph.members:
        if name != 'policy':
            tell(graph, name)
    graph.health['trainer'].update(level=1, message='the disk is full')
    assert graph.complaints() == 'policy says nothing; trainer: the disk is full'
    assert graph.kill_silent() == killed == ['policy']
