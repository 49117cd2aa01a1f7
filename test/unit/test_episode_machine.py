"""
The referee of lock-step: whatever goes wrong between the nodes, nothing broken becomes experience.
"""

import math

import numpy as np
import pytest

from av_td3_ros.config import EpisodeConfig
from av_td3_ros.datatypes import Outcome, Pose, VehicleState
from av_td3_ros.driving.episode_effects import (
    Ended,
    Experience,
    FrameState,
    Mode,
    Phase,
    Respawn,
)
from av_td3_ros.driving.episode_machine import EpisodeMachine
from av_td3_ros.driving.route import Route
from av_td3_ros.task_config import PRIVILEGED_NAMES, TerminationConfig

TICK = 50_000_000
FRAME = np.zeros((2, 2), np.uint8)
VECTOR = np.zeros(1, np.float32)
ROUTE = Route.from_points(np.stack([np.arange(100.0), np.zeros(100)], axis=1))


class Graph:
    """Plays all the other nodes, faultlessly unless told otherwise."""

    def __init__(self, **config):
        self.machine = EpisodeMachine(
            EpisodeConfig(**config), 0.05, lambda: ROUTE, lambda x, y: True
        )
        self.stamp = 0
        self.x = 0.0
        self.effects = []

    def frame(self, ticks=1, x=None, speed=0.0, y=0.0):
        self.stamp += ticks * TICK
        self.x = self.x if x is None else x
        return self.take(self.machine.frame(self.stamp, VehicleState(Pose(self.x, y), speed)))

    def take(self, effects):
        self.effects += effects
        return effects

    def act(self, step=None, episode=None, drive=True, steering=0.1, acceleration=0.5):
        m = self.machine
        return self.take(
            m.acted(
                m.episode_id if episode is None else episode,
                m.step_id if step is None else step,
                7,
                drive,
                steering,
                acceleration,
            )
        )

    def see(self, step=None, episode=None, stamp=None):
        m = self.machine
        return self.take(
            m.observed(
                self.stamp if stamp is None else stamp,
                m.episode_id if episode is None else episode,
                m.step_id if step is None else step,
                FRAME,
                VECTOR,
            )
        )

    def run(self, steps):
        for _ in range(steps):
            self.see()
            self.act()
            self.frame(x=self.x + 0.3, speed=6.0)
        return self

    def start(self):
        self.frame()
        self.machine.routed(self.stamp, ROUTE)
        while self.machine.phase is not Phase.RUNNING:
            self.frame(x=0.0)
        return self

    def of(self, kind):
        return [effect for effect in self.effects if isinstance(effect, kind)]


def aborted(graph):
    return [e.reason for e in graph.of(Ended) if e.outcome == 'aborted']


def test_a_reset_asks_once_and_waits_for_vehicle_and_route():
    graph = Graph()
    effects = graph.frame()
    assert isinstance(effects[0], Respawn) and effects[0].goal == (99.0, 0.0)
    assert graph.frame(x=50.0)[0].phase is Phase.RESETTING  # not there
    graph.frame(x=0.0)
    for _ in range(5):
        graph.frame()
    assert graph.machine.phase is Phase.RESETTING  # there, but no route
    graph.machine.routed(graph.stamp, Route.from_points(np.array([[0.0, 0.0], [50.0, 50.0]])))
    for _ in range(5):
        graph.frame()
    assert graph.machine.phase is Phase.RESETTING  # another route
    graph.machine.routed(graph.stamp, ROUTE)
    graph.frame(speed=3.0)
    for _ in range(3):
        assert graph.machine.phase is Phase.RESETTING
        graph.frame()
    assert graph.machine.phase is Phase.RUNNING
    assert len(graph.of(Respawn)) == 1


def test_a_reset_that_fails_is_asked_for_again():
    graph = Graph(reset_timeout=1.0)
    graph.frame()
    for _ in range(21):
        graph.frame(x=50.0)
    assert len(graph.of(Respawn)) == 2


def test_a_faultless_episode_gives_one_experience_per_step_in_order():
    graph = Graph().start().run(5)
    steps = graph.of(Experience)
    assert [s.step_id for s in steps] == [0, 1, 2, 3, 4]
    assert steps[0].action == (0.0, 0.0) and steps[1].action == (0.1, 0.5)
    assert all(s.policy_version == 7 for s in steps[1:])
    assert all(np.isfinite(s.reward) for s in steps)
    stamps = [s.stamp for s in steps]
    assert np.diff(stamps).tolist() == [TICK] * 4
    assert aborted(graph) == []


def test_reward_terms_sum_to_the_reward_and_the_return():
    graph = Graph().start().run(5)
    states = [s for s in graph.of(FrameState) if s.phase is Phase.RUNNING][1:]
    for state in states:
        assert sum(state.terms.values()) == pytest.approx(state.reward)
    assert states[-1].episode_return == pytest.approx(sum(s.reward for s in states))


def test_order_of_action_and_observation_and_next_frame_does_not_matter():
    graph = Graph().start()
    graph.act()
    stamp = graph.stamp
    graph.frame(x=0.3)
    assert len(graph.of(Experience)) == 0
    graph.see(step=0, stamp=stamp)
    assert [s.step_id for s in graph.of(Experience)] == [0]
    assert graph.machine.step_id == 1
    assert aborted(graph) == []


def test_the_last_step_is_stored_with_its_outcome_before_the_next_reset():
    graph = Graph().start()
    graph.see()
    graph.act()
    graph.frame(y=5.0)
    assert graph.of(Ended)[0].reason == 'lane_exit'
    assert graph.of(FrameState)[-1].phase is Phase.ENDED
    graph.see()
    last = graph.of(Experience)[-1]
    assert (last.step_id, last.outcome) == (1, Outcome.TERMINATED)
    assert last.reward < -0.9
    graph.act(drive=False)
    graph.frame()
    assert (graph.machine.phase, graph.machine.episode_id) == (Phase.RESETTING, 2)


def test_the_time_limit_truncates():
    graph = Graph(termination=TerminationConfig(max_steps=10)).start().run(10)
    graph.see()
    assert graph.of(Experience)[-1].outcome is Outcome.TRUNCATED
    assert graph.of(Ended)[0].reason == 'time_limit'


@pytest.mark.parametrize(
    'fault, reason, stored',
    [
        (lambda g: (g.see(), g.act(), g.frame(ticks=2)), 'lost frame', range(6)),
        (lambda g: (g.see(), g.act(), g.frame(ticks=0)), 'repeated frame', range(6)),
        (lambda g: (g.see(), g.act(), g.frame(ticks=-2)), 'reordered frame', range(6)),
        (lambda g: (g.see(), g.act(), g.act()), 'repeated action', range(6)),
        (lambda g: (g.see(), g.see()), 'repeated observation', range(6)),
        (
            lambda g: (g.see(), g.act(step=3)),
            'action of episode 1 step 3, expected 1 step 5',
            range(6),
        ),
        (
            lambda g: (g.act(), g.see(step=6)),
            'observation of episode 1 step 6, expected 1 step 5',
            range(5),
        ),
        (lambda g: (g.see(), g.frame(), g.frame()), 'no action', range(6)),
        (lambda g: (g.act(), g.frame(), g.frame()), 'no observation', range(5)),
        (lambda g: (g.see(), g.act(steering=math.nan)), 'action must lie in [-1, 1]', range(6)),
        (lambda g: (g.see(), g.act(acceleration=1.5)), 'action must lie in [-1, 1]', range(6)),
        (lambda g: (g.see(), g.act(), g.frame(ticks=-30)), 'clock set back', range(6)),
        (lambda g: (g.see(), g.act(episode=9)), 'action of episode 9', range(6)),
        (
            lambda g: (g.act(), g.see(stamp=g.stamp - TICK)),
            'observation 1.0 ticks away from its frame',
            range(5),
        ),
    ],
)
def test_every_fault_aborts_by_name_and_stores_nothing_of_the_broken_step(fault, reason, stored):
    graph = Graph().start().run(5)
    fault(graph)
    assert len(aborted(graph)) == 1 and reason in aborted(graph)[0]
    # What was whole before the fault, in order: a step is, once its observation is there.
    assert [s.step_id for s in graph.of(Experience)] == list(stored)
    assert graph.machine.episode_id == 2
    graph.machine.routed(graph.stamp, ROUTE)
    for _ in range(10):
        graph.frame(x=0.0)
    graph.machine.routed(graph.stamp, ROUTE)
    for _ in range(10):
        graph.frame(x=0.0)
        if graph.machine.phase is Phase.RUNNING:
            break
    assert graph.machine.phase is Phase.RUNNING  # and it goes on


def test_every_frame_gets_exactly_one_state_whatever_happens():
    graph = Graph().start().run(3)
    graph.see()
    graph.frame()  # no action for it
    graph.frame()  # aborts; both frames must be answered
    graph.frame(x=0.0)
    stamps = [s.stamp for s in graph.of(FrameState)]
    assert stamps == sorted(set(stamps))
    assert stamps[-1] == graph.stamp and len(stamps) == graph.stamp // TICK


def test_stale_messages_of_an_ended_episode_are_ignored():
    graph = Graph().start().run(2)
    graph.take(graph.machine.abort('test'))
    before = len(graph.of(Ended))
    graph.act(episode=1, step=2)
    graph.see(episode=1, step=2)
    assert len(graph.of(Ended)) == before and graph.machine.episode_id == 2


def test_a_late_observation_of_the_reset_is_not_taken_for_the_first_step():
    graph = Graph().start()
    graph.see(stamp=graph.stamp - TICK)  # same episode, step 0: numbered before the episode began
    graph.see()
    graph.act()
    graph.frame(x=0.3)
    assert aborted(graph) == [] and graph.machine.step_id == 1


def test_collisions_count_from_the_first_frame_on():
    graph = Graph().start()
    graph.machine.collided(graph.stamp - 5 * TICK)  # of the landing
    graph.run(1)
    assert not graph.of(Ended)
    graph.machine.collided(graph.stamp)
    graph.run(1)
    assert graph.of(Ended)[0].reason == 'collision'


def test_evaluation_sends_no_experience_and_starts_with_the_next_episode():
    graph = Graph().start().run(2)
    graph.machine.next_mode = Mode.EVALUATION
    graph.run(1)
    assert len(graph.of(Experience)) == 3
    graph.take(graph.machine.abort('test'))
    graph.machine.routed(graph.stamp, ROUTE)
    graph.start().run(3)
    assert graph.machine.mode is Mode.EVALUATION
    assert len(graph.of(Experience)) == 3


def test_what_the_learner_is_told_is_of_the_same_frame():
    """Also where the next frame is there before the observation of this one."""
    graph = Graph().start()
    aside = [0.1, -0.2, 0.3, 5.0]
    for step, y in enumerate(aside):
        stamp = graph.stamp
        graph.act(step=step)
        graph.frame(x=graph.x + 0.3, speed=6.0, y=y)
        graph.see(step=step, stamp=stamp)
    graph.see()
    told = graph.of(Experience)
    assert [s.step_id for s in told] == [0, 1, 2, 3, 4]
    assert told[-1].outcome is Outcome.TERMINATED
    place = PRIVILEGED_NAMES.index('lateral_deviation')
    wanted = [0.0, 0.05, -0.1, 0.15, 1.0]
    assert [float(s.privileged[place]) for s in told] == pytest.approx(wanted)


def test_a_mode_that_is_set_during_a_reset_asks_for_a_route_of_its_own():
    graph = Graph()
    graph.frame(x=50.0)
    assert len(graph.of(Respawn)) == 1
    graph.machine.next_mode = Mode.EVALUATION
    graph.frame(x=50.0)
    assert len(graph.of(Respawn)) == 2
    graph.start()
    assert graph.machine.mode is Mode.EVALUATION and len(graph.of(Respawn)) == 2


def far_into_a_simulation():
    graph = Graph()
    graph.stamp = 19_999 * TICK
    return graph


def test_a_simulation_that_is_started_again_during_a_reset_is_asked_anew():
    """Of what the one before was asked for it knows nothing, and its clock begins at nought."""
    graph = far_into_a_simulation()
    graph.frame(x=50.0)
    assert len(graph.of(Respawn)) == 1
    graph.stamp = 0
    graph.frame(x=50.0)
    assert len(graph.of(Respawn)) == 2
    graph.start()
    assert len(graph.of(Respawn)) == 2


def test_an_abort_from_outside_begins_a_reset_anew():
    graph = far_into_a_simulation()
    graph.frame(x=50.0)
    assert graph.take(graph.machine.abort('the simulation was started again')) == []
    assert len(graph.of(Respawn)) == 1
    graph.frame(x=50.0)
    assert len(graph.of(Respawn)) == 2


def test_a_frame_of_a_simulation_that_is_gone_begins_no_reset():
    graph = Graph(reset_timeout=1.0)
    graph.stamp = 19_999 * TICK
    graph.start().run(2)
    graph.see()
    graph.frame()  # no action for it
    graph.stamp = 0
    ended, asked, state = graph.frame(x=50.0)
    assert 'clock set back' in ended.reason
    assert isinstance(asked, Respawn) and state.stamp == TICK
    for _ in range(21):
        graph.frame(x=50.0)
    assert len(graph.of(Respawn)) == 3  # the wait is told by the new clock
