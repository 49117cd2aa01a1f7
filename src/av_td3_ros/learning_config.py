"""
The settings of learning: networks, targets, optimiser, replay, exploration.

A preset (``config/presets/*.yaml``) is a set of values for these and for the trainer's schedule.
"""

from dataclasses import dataclass
from pathlib import Path
import pkgutil
from typing import Tuple

from av_td3_ros.options import ConfigError, group, option


def parts(kind: str) -> Tuple[str, ...]:
    """Return the names of the parts of a kind: one module each in ``td3/<kind>``, not imported."""
    folder = Path(__file__).parent / 'td3' / kind
    return tuple(sorted(found.name for found in pkgutil.iter_modules([str(folder)])))


@dataclass(frozen=True)
class NetworkConfig:
    """What the networks are made of."""

    encoder: str = option('nature', 'image encoder', choices=parts('encoders'))
    shared_encoder: bool = option(
        True,
        'one encoder, trained with the critics; false: the actor has its own, trained by the '
        'policy gradient',
    )
    pixels: str = option(
        'centred',
        'range of the pixels that enter the encoder: [0, 1], [-1, 1] or [-0.5, 0.5]',
        choices=('unit', 'symmetric', 'centred'),
    )
    feature_size: int = option(
        50, 'image features; 0 for as many as the encoder was published with', low=0, high=2048
    )
    feature_head: str = option(
        'layer_norm_tanh',
        'what bounds the image features',
        choices=('none', 'relu', 'layer_norm_tanh', 'layer_norm_elu'),
    )
    hidden_1: int = option(256, 'units of the first layer of each MLP', low=8, high=4096)
    hidden_2: int = option(256, 'units of the second layer of each MLP', low=8, high=4096)
    critic_layer_norm: bool = option(True, 'LayerNorm in the layers of the critics')
    initialisation: str = option(
        'orthogonal',
        "orthogonal with a small last actor layer, or PyTorch's own",
        choices=('orthogonal', 'torch'),
    )


@dataclass(frozen=True)
class TargetConfig:
    """What the critics learn."""

    kind: str = option(
        'minimum', 'how the target critics make one value', choices=parts('targets')
    )
    critics: int = option(2, 'critics: 2 for TD3, 1 for DDPG', low=1, high=2)
    weight: float = option(
        0.75,
        'share of the smaller value, the rest of the larger: weighted alone',
        low=0.0,
        high=1.0,
    )
    noise: float = option(0.2, 'standard deviation of target policy smoothing', low=0.0, high=1.0)
    noise_clip: float = option(0.5, 'bound of that noise', low=0.0, high=1.0)
    clip_to_seen: bool = option(
        False, 'keep the value of the next observation within the range of the targets so far'
    )
    clip_refresh: int = option(
        250, 'updates after which that range takes in the newest targets', low=1, high=1_000_000
    )

    def validate(self) -> None:
        """:raises ConfigError: where the options contradict each other."""
        if self.critics == 1 and self.kind != 'minimum':
            raise ConfigError(
                f"kind must be 'minimum' with critics 1, got {self.kind!r}, which compares two"
            )
        if self.noise > 0.0 and self.noise_clip == 0.0:
            raise ConfigError(
                f'noise_clip must be above 0 with noise {self.noise:g}, got 0, which removes the '
                'noise; set noise to 0 instead'
            )


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam, its steps and its limits."""

    encoder_lr: float = option(1e-4, 'Adam step of the encoders', low=0.0, high=1.0)
    critic_lr: float = option(
        3e-4, 'Adam step of the critics and of the predictor', low=0.0, high=1.0
    )
    actor_lr: float = option(3e-4, 'Adam step of the actor', low=0.0, high=1.0)
    weight_decay: float = option(
        0.0, 'decoupled weight decay (AdamW), never of biases and norms', low=0.0, high=1.0
    )
    clip: str = option(
        'norm',
        'what critic_clip and actor_clip limit: the norm over all parameters of a step, the norm '
        'of each group (encoder, MLP), or each entry',
        choices=('none', 'norm', 'group_norm', 'value'),
    )
    critic_clip: float = option(
        20.0, 'gradient limit of the critic step (its encoder too)', low=1e-6, high=1e9
    )
    actor_clip: float = option(
        20.0, 'gradient limit of the actor step (its own encoder too)', low=1e-6, high=1e9
    )


@dataclass(frozen=True)
class LearnerConfig:
    """TD3 from pixels; sources in docs/design/td3.md."""

    batch_size: int = option(32, 'transitions in an update', low=1, high=4096)
    discount: float = option(0.97, 'discount of one step', low=0.0, high=0.9999)
    n_step: int = option(3, 'steps of reward before the bootstrap', low=1, high=20)
    tau: float = option(0.01, 'Polyak step of the target networks', low=0.0, high=1.0)
    policy_delay: int = option(
        2, 'critic updates per update of actor and targets', low=1, high=100
    )
    loss: str = option('huber', 'loss of the critics', choices=('huber', 'mse'))
    reward_scale: float = option(1.0, 'factor on every reward', low=1e-6, high=1e6)
    actor_q_clamp: float = option(
        0.0, 'bound of |Q| in the actor loss; 0 for none', low=0.0, high=1e6
    )
    pre_tanh_penalty: float = option(
        1e-3, 'weight of the squared actor output before tanh', low=0.0, high=1.0
    )
    shift_pad: int = option(4, 'random shift of the images; 0 for none', unit='px', low=0, high=16)
    privileged_critics: bool = option(
        True,
        'the critics are told yaw rate, place beside the route and its next 10 points, as far as '
        'the policy does not see them',
    )
    privileged_loss: float = option(
        1.0,
        'weight of the loss by which the image features learn to predict yaw rate, place beside '
        'the route and its next 10 points, as far as the policy does not see them; 0 for none',
        low=0.0,
        high=100.0,
    )
    average_share: float = option(
        0.2,
        'what checkpoints drive with is the mean of the policies of the newest updates, this '
        'share of all; 0: the newest policy alone',
        low=0.0,
        high=1.0,
    )
    network: NetworkConfig = group(NetworkConfig)
    target: TargetConfig = group(TargetConfig)
    optimiser: OptimiserConfig = group(OptimiserConfig)

    @property
    def sees_privileged(self) -> bool:
        """Whether learning needs what the policy does not see."""
        return self.privileged_critics or self.privileged_loss > 0.0


@dataclass(frozen=True)
class ReplayConfig:
    """How experience is kept and drawn."""

    capacity: int = option(100_000, 'observations kept', low=100, high=20_000_000)
    storage: str = option(
        'memory',
        'where frames live: memory, memory in compressed form, or a file of the run folder that '
        'outlives a killed process',
        choices=('memory', 'compressed', 'mapped'),
    )
    prefetch: bool = option(True, 'gather the next batch on a thread of its own')
    prioritised: bool = option(False, 'draw by TD error (PER, Schaul et al. 2016), not uniformly')
    priority_exponent: float = option(
        0.6, 'PER: how much the TD error counts; 0 is uniform', low=0.0, high=1.0
    )
    importance_exponent: float = option(
        0.4, 'PER: how much of the bias is corrected at first', low=0.0, high=1.0
    )
    importance_updates: int = option(
        100_000, 'PER: updates until all of it is corrected', low=1, high=1_000_000_000
    )


@dataclass(frozen=True)
class ExplorationConfig:
    """How actions vary while training."""

    warmup_steps: int = option(
        1000, 'steps of random actions before the policy acts', low=0, high=10_000_000
    )
    warmup: str = option(
        'forward',
        'those actions: correlated and biased forwards, or uniform and white',
        choices=('forward', 'uniform'),
    )
    warmup_throttle: float = option(
        0.35, 'mean acceleration of forward warm-up', low=-1.0, high=1.0
    )
    std_start: float = option(0.5, 'noise on the policy after warm-up', low=0.0, high=2.0)
    std_end: float = option(0.1, 'noise at the end of the schedule', low=0.0, high=2.0)
    std_steps: int = option(40_000, 'steps over which the noise falls', low=1, high=100_000_000)
    correlation: float = option(
        0.8, 'correlation of the noise from step to step; 0 is white', low=0.0, high=0.99
    )


# Alerts with a limit, td3/health_checks.py. A number that is not finite is one more.
ALERTS = (
    'q_unbounded',
    'q_gap',
    'feature_explosion',
    'gradient_explosion',
    'saturation',
    'dead_actor',
    'td_error_stuck',
    'return_collapse',
    'standing_still',
    'reward_dominance',
)


@dataclass(frozen=True)
class HealthConfig:
    """When an alert is raised, and what it does; what each means is in docs/design/health.md."""

    halting: str = option(
        'q_unbounded,q_gap,feature_explosion,gradient_explosion,dead_actor',
        'alerts that do more than warn, beyond their halt limit or their only one, '
        'comma-separated; non_finite always does',
    )
    on_halt: str = option(
        'halt',
        'what those do: end the run, take the learner back to the last healthy checkpoint, or '
        'warn alone (non_finite ends the run)',
        choices=('halt', 'rollback', 'warn'),
    )
    rollbacks: int = option(3, 'roll-backs until the next one ends the run', low=0, high=1000)
    ignored: str = option('', 'alerts that are not raised; comma-separated')
    patience: int = option(
        3,
        'records in a row beyond a limit that raise an alert, and below it that clear it',
        low=1,
        high=1000,
    )
    episodes: int = option(
        20,
        'episodes over which returns and reward shares are judged; standing still over half',
        low=2,
        high=1000,
    )
    records: int = option(
        40, 'records over which the TD error must have fallen', low=4, high=10_000
    )
    reward_bound: float = option(
        0.0, 'r_max: largest |reward| of a step; 0 for the largest seen', low=0.0, high=1e6
    )
    q_warn: float = option(1.0, 'q_unbounded: |Q| over r_max / (1 - discount)', low=0.0, high=1e6)
    q_halt: float = option(10.0, 'q_unbounded: the same, to halt', low=0.0, high=1e9)
    gap_warn: float = option(
        3.0,
        'q_gap: |Q of policy actions - Q of replayed ones| over the size of the latter',
        low=0.0,
        high=1e6,
    )
    gap_halt: float = option(30.0, 'q_gap: the same, to halt', low=0.0, high=1e9)
    feature_warn: float = option(
        100.0,
        'feature_explosion: L2 norm of the features as seen, or 1/100 of that before their head',
        low=1e-6,
        high=1e9,
    )
    feature_halt: float = option(1e4, 'feature_explosion: the same, to halt', low=0.0, high=1e12)
    gradient_warn: float = option(
        1e4, 'gradient_explosion: norm of any group before the clip', low=0.0, high=1e9
    )
    gradient_halt: float = option(1e5, 'gradient_explosion: the same, to halt', low=0.0, high=1e12)
    saturation: float = option(
        0.98, 'saturation, dead_actor: share of saturated actor outputs', low=0.0, high=1.0
    )
    saturation_patience: int = option(
        8,
        'records in a row that raise saturation, where that is more than patience: a young critic '
        'sends a healthy actor there for some, and back',
        low=1,
        high=1000,
    )
    dead_gradient: float = option(
        1e-3, 'dead_actor: gradient norm of a saturated actor', low=0.0, high=1.0
    )
    td_error: float = option(
        0.5,
        'td_error_stuck: TD error over the size of Q, where it does not fall',
        low=0.0,
        high=1e6,
    )
    return_drop: float = option(
        0.5, 'return_collapse: loss of the mean return, over its best', low=0.0, high=100.0
    )
    standing_speed: float = option(
        0.5, 'standing_still: mean speed of an episode', unit='m/s', low=0.0, high=40.0
    )
    standing_share: float = option(
        0.7, 'standing_still: share of such episodes', low=0.0, high=1.0
    )
    reward_share: float = option(
        0.9,
        'reward_dominance: share of one term where most of the routes are not driven',
        low=0.0,
        high=1.0,
    )

    @property
    def halts(self) -> Tuple[str, ...]:
        """Names of the alerts that do more than warn."""
        return _names(self.halting)

    @property
    def ignores(self) -> Tuple[str, ...]:
        """Names of the alerts that are not raised."""
        return _names(self.ignored)

    def validate(self) -> None:
        """:raises ConfigError: for an unknown alert, or a limit to halt below that to warn."""
        for key, names in (('halting', self.halts), ('ignored', self.ignores)):
            for name in names:
                if name not in ALERTS:
                    raise ConfigError(
                        f'{key} must name alerts, got {name!r}; known: {", ".join(ALERTS)}'
                    )
        for kind in ('q', 'gap', 'feature', 'gradient'):
            warn, halt = getattr(self, f'{kind}_warn'), getattr(self, f'{kind}_halt')
            if halt < warn:
                raise ConfigError(f'{kind}_halt must be >= {kind}_warn {warn:g}, got {halt:g}')


def _names(text: str) -> Tuple[str, ...]:
    return tuple(name.strip() for name in text.split(',') if name.strip())
