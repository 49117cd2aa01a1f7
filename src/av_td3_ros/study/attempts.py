"""
Training that explodes rather than dies, and attempts to make it do so by settings alone.

The system that is to be reproduced lost its actor's encoder: its gradient norm grew to 7e6 and its
features to 7e12, the actor's loss fell to -7.6e6, while the gradient of the actor's MLP stayed at
1e-4. A saturated actor passes no gradient on, so that one cannot have come by the action. It is
what follows where the actor's loss reaches the critics' input: -Q(f(s), a(f(s))) falls without end
by making f larger. This learner cuts the critics' features off from the actor's loss, so no
setting can do that; fault ``climbed_features`` puts it back.
"""

from typing import Any, Callable, Dict, List, NamedTuple, Tuple

import torch
from torch import Tensor

from av_td3_ros import presets
from av_td3_ros.study.cures import Configuration, SICK, with_cures
from av_td3_ros.td3.agent import TD3


class Attempt(NamedTuple):
    """``reason``: why it might. ``changes``: on top of ``diverging``. ``fault``: of ``FAULTS``."""

    reason: str
    changes: Dict[str, Any]
    fault: str = ''


_LEARNER = 'trainer.learner.'
_RATES = tuple(f'{_LEARNER}optimiser.{part}_lr' for part in ('encoder', 'critic', 'actor'))
NO_CLIP = {f'{_LEARNER}optimiser.clip': 'none'}
FAR = {f'{_LEARNER}discount': 0.99, f'{_LEARNER}tau': 0.05}
CLIMBED = 'climbed_features'
EXPLODING = 'exploding'
ATTEMPTS: Dict[str, Attempt] = {
    EXPLODING: Attempt(
        "The actor's loss raises Q through the features that the critic is given, too, with steps "
        'that let every layer of the encoder grow.',
        {f'{_LEARNER}optimiser.encoder_lr': 0.001},
        CLIMBED,
    ),
    'attempt_climbed_features': Attempt('The same, with the small steps.', {}, CLIMBED),
    'attempt_climbed_features_far': Attempt(
        'The same, with values that look 100 steps ahead and targets that follow fast.',
        FAR,
        CLIMBED,
    ),
    'attempt_no_clip': Attempt('Nothing bounds a gradient.', NO_CLIP),
    'attempt_far_values': Attempt(
        'Bootstrapped values feed on themselves: they look 100 steps ahead, targets follow fast.',
        {**NO_CLIP, **FAR},
    ),
    'attempt_huge_steps': Attempt(
        'Steps so large that Adam throws the features from one end to the other.',
        {**NO_CLIP, **{key: 0.01 for key in _RATES}},
    ),
    'attempt_huge_rewards': Attempt(
        'Rewards times 400 make Q, and squared errors of it, that much larger.',
        {**NO_CLIP, **FAR, f'{_LEARNER}reward_scale': 400.0},
    ),
    'attempt_one_critic': Attempt(
        'A single critic, without smoothing, overestimates what the actor then climbs.',
        {
            **NO_CLIP,
            **FAR,
            f'{_LEARNER}target.critics': 1,
            f'{_LEARNER}target.noise': 0.0,
            f'{_LEARNER}policy_delay': 1,
        },
    ),
    'attempt_held_slope': Attempt(
        'A small pre-tanh penalty keeps the actor from dying first, so that all else may grow.',
        {**NO_CLIP, **FAR, f'{_LEARNER}pre_tanh_penalty': 0.001},
    ),
}


def configurations(cures: bool = False, others: bool = False) -> List[Configuration]:
    """
    Return the exploding configuration.

    :param cures: also the same with each cure alone.
    :param others: also the other attempts.
    """
    found = []
    for name, attempt in ATTEMPTS.items():
        if name == EXPLODING or others:
            found.append(_configuration(name, attempt))
        if name == EXPLODING and cures:
            found += with_cures(found[0], f'{EXPLODING}_with')
    return found


def _configuration(name: str, attempt: Attempt) -> Configuration:
    sick = presets.load(SICK)
    return Configuration(
        name,
        name.removeprefix('attempt_').replace('_', ' '),
        'attempt',
        attempt.reason,
        {**sick, **attempt.changes},
        {key: (sick[key], value) for key, value in attempt.changes.items() if sick[key] != value},
        SICK,
        attempt.fault,
    )


def climb_through_features(agent: TD3) -> None:
    """
    Let the actor's loss see the critics' value at the actor's own features, gradient and all.

    :param agent: of an actor with an encoder of its own, features of the same size.
    """
    encode, own = agent._encode, []  # there is no other way in, and there should be none

    def spoiled(encoder: Any, pixels: Tensor) -> Tuple[Tensor, Tensor]:
        # Asked for without a gradient, the critics' features are those of the actor's loss.
        if encoder is agent.critic_encoder and not torch.is_grad_enabled() and own:
            return own.pop()
        found = encode(encoder, pixels)
        if encoder is agent.policy.encoder:
            own[:] = [found]
        return found

    agent._encode = spoiled


# What is done to a learner before its first update, by name.
FAULTS: Dict[str, Callable[[TD3], None]] = {CLIMBED: climb_through_features}
