"""Run folders for tests, written by the writer of real ones."""

from typing import Any, Dict

import numpy as np

from av_td3_ros.config import build_run
from av_td3_ros.datatypes import ObsSpec, Outcome
from av_td3_ros.learning_config import ReplayConfig
from av_td3_ros.run_folder import RunFolder
from av_td3_ros.td3.replay import ReplayBuffer

LENGTH = 100
SPEC = ObsSpec(2, 36, 36, ('speed',))


def made(path, steps=10_000, seed=0, bad=None, settings=None) -> Any:
    """
    Write the folder of a run that goes well: Q grows, and its error less than that.

    :param bad: values of the last tenth of the records, by metric.
    """
    run = RunFolder(path)
    run.write_config(build_run({'trainer.seed': seed, **(settings or {})}, 'a test'))
    for step in range(LENGTH, steps + 1, LENGTH):
        run.add_episode(episode(step, steps, seed))
        if step > 1000:
            record = metrics(step, steps)
            if step > 0.9 * steps:
                record.update(bad or {})
            row = {'env_step': step, 'updates': step - 1000, 'seconds': 0.05 * step}
            run.add_record({**row, **record})
    run.write_summary({'env_steps': steps, 'arithmetic': 'fp32', 'threads': 1})
    run.close()
    return path


def metrics(step: int, steps: int) -> Dict[str, Any]:
    """Return a healthy record."""
    size = 10.0 * step / steps
    return {
        'critic_loss': 0.1 * size,
        'q_replay_mean': size,
        'q_replay_max': 2.0 * size,
        'td_error': 0.1 * size**0.5,
        'feature_l2': 20.0,
        'feature_l2_seen': 8.0,
        'actor_feature_l2_seen': '',  # one encoder for both
        'gradient_norm_predictor_clipped': '',
        'tanh_saturation': 0.3,
        'q_policy_mean': size if step % 200 else '',
        'q_policy_max': 2.0 * size if step % 200 else '',
        'gradient_norm_encoder': 2.0,
        'gradient_norm_critic_total': 4.0,
        'gradient_norm_critic_total_clipped': 4.0,
        'gradient_norm_actor_total_clipped': 0.5 if step % 200 else '',
    }


def episode(step: int, steps: int, seed: int = 0) -> Dict[str, Any]:
    """Return an episode that ended at a step."""
    share = step / steps
    return {
        'env_step': step,
        'episode_id': step // LENGTH,
        'outcome': 'terminated',
        'reason': 'goal' if share > 0.5 else 'lane_exit',
        'length': LENGTH,
        'episode_return': 100.0 * share + seed,
        'route_completion': share,
        'route_length': 120.0,
        'mean_speed': 8.0 * share,
        'mean_lateral_deviation': 0.5,
        'trail': tuple((2.0 * place, 0.01 * place**2) for place in range(20)),
        'reward_progress': 120.0 * share,
        'reward_lateral_deviation': -20.0 * share + seed,
    }


def evaluation(mean: float, **more: Any) -> Dict[str, Any]:
    """Return what evaluation.json holds."""
    interval = {'mean': mean, 'low': mean - 0.05, 'high': mean + 0.03}
    return {
        'version': 2,
        'policy': 'td3',
        'episodes': 20,
        'vehicles': 0,
        'camera': 'live',
        'env_step': 10_000,
        'metrics': {'route_completion': interval, 'collision_rate': {**interval, 'mean': 0.0}},
        'others': [],
        **more,
    }


def replay(path, steps=10_000, episodes=6, storage='memory') -> None:
    """Save the last episodes of a run that :func:`made` wrote, black at first, white at last."""
    config = ReplayConfig(capacity=2000, storage=storage)
    buffer = ReplayBuffer(SPEC, config, 1, 0.9, 0, folder=path / 'replay')
    vector = np.zeros(1, np.float32)
    for back in reversed(range(episodes)):
        buffer.begin(np.zeros(SPEC.frame_shape, np.uint8), vector)
        reward = episode(steps - back * LENGTH, steps)['episode_return'] / LENGTH
        for step in range(1, LENGTH + 1):
            outcome = Outcome.TERMINATED if step == LENGTH else Outcome.CONTINUES
            frame = np.full(SPEC.frame_shape, 255 * step // LENGTH, np.uint8)
            buffer.add(np.zeros(2, np.float32), reward, outcome, frame, vector)
    buffer.save(path / 'replay')
