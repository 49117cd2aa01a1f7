"""Every metric that an update returns, explained once; there only where it was computed."""

from collections import deque
import time
from typing import Any, Deque, Dict, List, Mapping, Sequence, Tuple

# An action is on the flat of the tanh from here on: its slope is below 0.07.
SATURATED = 2.0


def metric_names(name: str, groups: Sequence[str]) -> Dict[str, str]:
    """
    Return what a step of an optimiser measures, with its meaning.

    :param name: of the optimiser.
    :param groups: names of its groups.
    """
    before = {
        **{f'gradient_norm_{group}': f'gradient norm of the {group}' for group in groups},
        f'gradient_norm_{name}_total': f'gradient norm of the whole {name} step',
    }
    moved = {f'weight_norm_{group}': f'norm of the weights of the {group}' for group in groups}
    for group in groups:
        moved[f'update_norm_{group}'] = f'norm of the change of the weights of the {group}'
    clipped = f'whether a limit bound the {name} step; in a record the share of such updates'
    return {**_before_and_after(before), **moved, f'clipped_{name}': clipped}


def _before_and_after(measured: Dict[str, str]) -> Dict[str, str]:
    names = {key: f'{meaning}, before the clip' for key, meaning in measured.items()}
    names.update({f'{key}_clipped': f'{meaning}, after it' for key, meaning in measured.items()})
    return names


# In every update.
CRITIC_METRICS: Dict[str, str] = {
    'critic_loss': 'loss of the critics, summed',
    'q_replay_mean': 'mean Q1 of replayed actions',
    'q_replay_min': 'smallest Q1 of replayed actions',
    'q_replay_max': 'largest Q1 of replayed actions',
    'q_replay_std': 'standard deviation of Q1 of replayed actions',
    'q_target_mean': 'mean target of the critics',
    'q_difference': 'mean |Q1 - Q2| of replayed actions; 0 with one critic',
    'td_error': 'mean |target - Q1|',
    'feature_l2': 'mean L2 norm of the image features, before their head bounds them',
    'feature_l2_seen': 'mean L2 norm of the image features as actor and critics see them',
    'feature_mean': 'mean image feature',
    'feature_std': 'standard deviation of each feature over the batch, averaged',
    **metric_names('critic', ('encoder', 'critic')),
}
# Where the actor was updated.
ACTOR_METRICS: Dict[str, str] = {
    'actor_loss': 'minus mean Q1 of policy actions, plus the pre-tanh penalty',
    'pre_tanh_penalty': 'what of the actor loss is the pre-tanh penalty',
    'q_policy_mean': 'mean Q1 of policy actions',
    'q_policy_min': 'smallest Q1 of policy actions',
    'q_policy_max': 'largest Q1 of policy actions',
    'q_policy_std': 'standard deviation of Q1 of policy actions',
    'tanh_saturation': f'share of actor outputs beyond {SATURATED:g} before the tanh',
    'action_std': 'standard deviation of each policy action over the batch, averaged',
    **metric_names('actor', ('actor',)),
}
# Only where features learn to predict, the actor has an encoder of its own, or values are clipped.
OPTIONAL_METRICS: Dict[str, str] = {
    'prediction_error': 'root of the mean squared error of what the features predict',
    'weight_norm_predictor': 'norm of the weights of the predictor',
    'update_norm_predictor': 'norm of the change of the weights of the predictor',
    'actor_feature_l2': "`feature_l2` of the actor's own encoder",
    'actor_feature_l2_seen': "`feature_l2_seen` of the actor's own encoder",
    'weight_norm_actor_encoder': "norm of the weights of the actor's own encoder",
    'update_norm_actor_encoder': "norm of the change of the weights of the actor's own encoder",
    **_before_and_after(
        {
            'gradient_norm_predictor': 'gradient norm of the predictor',
            'gradient_norm_actor_encoder': "gradient norm of the actor's own encoder",
            'gradient_max_critic': 'largest gradient entry of the whole critic step',
            'gradient_max_actor': 'largest gradient entry of the whole actor step',
        }
    ),
}
# Of the trainer, in every record.
RECORD_METRICS: Dict[str, str] = {
    'replay_age': 'mean age of the replayed transitions, in observations stored since',
    'update_ratio': 'updates per environment step since warm-up',
    'exploration_std': 'standard deviation of the exploration noise',
    'steps_per_second': 'environment steps per second, over the last seconds',
    'updates_per_second': 'updates per second, over the last seconds',
}
# Columns of metrics.csv.
COLUMNS = (*CRITIC_METRICS, *ACTOR_METRICS, *OPTIONAL_METRICS, *RECORD_METRICS)
REWARD = 'reward_'
SHARE_OF_UPDATES = 'clipped_'
RATE_WINDOW = 10.0


class Record:
    """What is known about the updates since the last record."""

    def __init__(self) -> None:
        """Begin with none."""
        self._newest: Dict[str, float] = {}
        self._shares: Dict[str, List[float]] = {}

    def add(self, metrics: Mapping[str, float]) -> None:
        """Take the metrics of an update."""
        self._newest.update(metrics)
        for name, value in metrics.items():
            if name.startswith(SHARE_OF_UPDATES):
                self._shares.setdefault(name, []).append(value)

    def take(self) -> Dict[str, float]:
        """Return the newest of each metric, of what is a share the mean, and begin anew."""
        shares = {name: sum(values) / len(values) for name, values in self._shares.items()}
        record = {**self._newest, **shares}
        self._newest, self._shares = {}, {}
        return record


def reward_shares(row: Mapping[str, Any]) -> Dict[str, float]:
    """
    Return the share of each reward term in the magnitude of all, [0, 1], by its name.

    :param row: of ``episodes.csv``, with the sum of each term as ``reward_<term>``.
    """
    sums = {
        key[len(REWARD) :]: abs(float(value))
        for key, value in row.items()
        if key.startswith(REWARD)
    }
    total = sum(sums.values())
    return {name: value / total for name, value in sums.items()} if total > 0.0 else {}


class Rate:
    """Events per second over a sliding window."""

    def __init__(self) -> None:
        self._total = 0
        self._marks: Deque[Tuple[float, int]] = deque()

    def count(self) -> None:
        """Count one event."""
        self._total += 1
        moment = time.monotonic()
        if not self._marks or moment - self._marks[-1][0] > 0.2:
            self._marks.append((moment, self._total))
            while moment - self._marks[0][0] > RATE_WINDOW:
                self._marks.popleft()

    def per_second(self) -> float:
        """Return the rate."""
        if not self._marks:
            return 0.0
        begun, total = self._marks[0]
        return (self._total - total) / max(time.monotonic() - begun, 1e-3)
