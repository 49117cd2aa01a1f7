"""
The node graph as data: which nodes make a graph, in which order they start, and what each is told.

The launch files and ``av-td3`` are both made from this.
"""

import os
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

from av_td3_ros.config import RunConfig
from av_td3_ros.resources import share
from av_td3_ros.run_folder import episodes_driven, has_checkpoints

NAMESPACE = 'av_td3'


class NodeSpec(NamedTuple):
    """One node: its name is also its section in :class:`RunConfig`."""

    name: str

    @property
    def executable(self) -> str:
        """Name of the installed program."""
        return f'{self.name}_node'

    @property
    def module(self) -> str:
        """Python module to run."""
        return f'av_td3_ros.nodes.{self.executable}'

    @property
    def file(self) -> str:
        """Name of its parameter file."""
        return f'{self.name}.param.yaml'


SIMULATOR = NodeSpec('simulator')
PERCEPTION = NodeSpec('perception')
POLICY = NodeSpec('policy')
EPISODE_MANAGER = NodeSpec('episode_manager')
TRAINER = NodeSpec('trainer')

# In the order of activation: who listens comes before who speaks, the world last.
GRAPHS: Dict[str, Tuple[NodeSpec, ...]] = {
    'training': (TRAINER, POLICY, PERCEPTION, EPISODE_MANAGER, SIMULATOR),
    'evaluation': (POLICY, PERCEPTION, EPISODE_MANAGER, SIMULATOR),
    'deploy': (POLICY, PERCEPTION),
    'simulation': (SIMULATOR,),
    'bench': (POLICY, PERCEPTION, SIMULATOR),
}

# Fast DDS 3 (Kilted) renamed the variable, and warns of the old name.
PROFILE = (
    'FASTRTPS' if os.environ.get('ROS_DISTRO') in ('humble', 'jazzy') else 'FASTDDS'
) + '_DEFAULT_PROFILES_FILE'

# Of what drives a vehicle: above all that is ordinary, below what the system itself runs at 50.
PRIORITY = 20

# What a deployment tells its nodes, beside what the user does: somebody else's vehicle is driven
# in real time, by what came with it, only after somebody has asked, and before all other work.
DEPLOYED: Dict[str, Dict[str, Any]] = {
    'perception': {'episodes': False, 'priority': PRIORITY},
    'policy': {
        'priority': PRIORITY,
        'accept_weights': False,
        'lock_step': False,
        'gate.engaged': False,
        'gate.observation_timeout': 0.3,
        'gate.resume_after': 5,
    },
}

# How a node's process ends: in order, by a fault, or because its configuration was refused.
EXIT_OK, EXIT_FAULT, EXIT_REFUSED = 0, 1, 2
# A process that dies is started again so many times, unless it is a part of somebody else's graph.
MAX_RESTARTS = 3

# Settings that suit large images and short ticks; what the user has set stays as it is.
ENVIRONMENT = {
    # Camera images do not fit Fast DDS's default shared-memory segment and would leave as UDP
    # fragments.
    PROFILE: str(share('config', 'fastdds.xml')),
    # A camera image is a fresh block of memory for every copy on its way. Handing it back to the
    # system each time costs more than the copy: 800x600 went from 91 to 159 frames/s by keeping
    # it.
    'MALLOC_MMAP_THRESHOLD_': str(256 * 2**20),
    'MALLOC_TRIM_THRESHOLD_': str(512 * 2**20),
    # A learner's idle threads must not spin on the cores that the simulator needs.
    'OMP_WAIT_POLICY': 'PASSIVE',
}


def environment() -> Dict[str, str]:
    """
    Return what of ``ENVIRONMENT`` is added to what the user has set.

    A profile replaces the transports, so it is left out where they were chosen.
    """
    chosen = {*os.environ, *([PROFILE] if 'FASTDDS_BUILTIN_TRANSPORTS' in os.environ else ())}
    return {name: value for name, value in ENVIRONMENT.items() if name not in chosen}


def nodes(graph: str, simulator: str = 'embedded') -> Tuple[NodeSpec, ...]:
    """
    Return the nodes of a graph.

    :param graph: 'training', 'evaluation', 'deploy', 'simulation' or 'bench'.
    :param simulator: 'embedded', or 'carla' where the CARLA ROS bridge takes the simulator's
        place.
    """
    return tuple(
        node for node in GRAPHS[graph] if node is not SIMULATOR or simulator == 'embedded'
    )


def going_on(run: RunConfig, name: str, is_again: bool = False) -> Dict[str, Any]:
    """
    Return what a node is told beside its config where its run goes on, by parameter.

    A trainer that is started again resumes what it saved, if it saved anything. Who draws routes,
    traffic and weather leaves out those that were driven, else each session would have the same.

    :param name: of the node. :param is_again: whether it ran before, and died.
    """
    folder = Path(run.trainer.run_dir)
    if name == TRAINER.name and is_again:
        return {'resume': has_checkpoints(folder)}
    if is_again or run.trainer.resume:
        if name == EPISODE_MANAGER.name:
            return {'first_route': run.episode_manager.first_route + episodes_driven(folder)}
        if name == SIMULATOR.name:
            return {'first_episode': run.simulator.first_episode + episodes_driven(folder)}
    return {}


def enclave(participant: str, namespace: str = NAMESPACE) -> List[str]:
    """Return the ROS arguments that give a process its SROS 2 enclave; none without security."""
    if os.environ.get('ROS_SECURITY_ENABLE') != 'true':
        return []
    return ['--enclave', f'/{namespace.strip("/")}/{participant}']
