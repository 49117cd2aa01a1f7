"""
Make training go wrong in known ways, in-process, and tell which alerts come and when.

    python tools/provoke_alerts.py CASE DIR [KEY=VALUE...]

The table of ``docs/results/health`` is made with it: JSON, the alerts with step and update, and
what ended the run.
"""

import csv
import json
from pathlib import Path
import sys
from typing import Any, Callable, Dict

from av_td3_ros import presets
from av_td3_ros.config import build_run, parse_assignment
from av_td3_ros.driving import preprocess
from av_td3_ros.driving.reward import Reward
from av_td3_ros.run_folder import RunFolder
from av_td3_ros.task_config import observation_preset
from av_td3_ros.td3.trainer import Trainer
from av_td3_ros.train import train

# Something goes wrong here: after warm-up, 100 updates and a first checkpoint; or where the policy
# drives well, and has something to lose.
MOMENT = 1400
LATER = {'flipped_reward': 10_000, 'flipped_batches': 10_000, 'frozen_camera': 20_000}
ALL = {'trainer.threads': 1, 'trainer.steps': 5000, 'trainer.checkpoint_every': 200}
LEARNING_RATES = {
    f'trainer.learner.optimiser.{group}_lr': 0.1 for group in ('encoder', 'critic', 'actor')
}
CASES: Dict[str, Dict[str, Any]] = {
    'recommended': {},
    'diverging': {**presets.load('diverging'), 'trainer.steps': 2000},
    'learning_rate': LEARNING_RATES,
    'nan': {'trainer.replay.prefetch': False, 'trainer.health.on_halt': 'rollback'},
    'flipped_reward': {'trainer.steps': 15_000},
    'flipped_batches': {'trainer.steps': 20_000},
    'flipped_from_the_start': {'trainer.steps': 10_000},
    'frozen_camera': {**observation_preset('camera'), 'trainer.steps': 30_000},
    'huge_reward': {},
}


def once_nan(trainer: Trainer) -> None:
    """Let one batch hold a reward that is not a number."""
    sample = trainer.replay.sample

    def poisoned(size: int) -> Any:
        trainer.replay.sample = sample
        batch = sample(size)
        batch.reward[0] = float('nan')
        return batch

    trainer.replay.sample = poisoned


def flipped_terms(trainer: Trainer) -> None:
    """Let every term of the reward have the other sign from now on: a bug in the reward itself."""
    score = Reward.score
    Reward.score = lambda self, step: {name: -x for name, x in score(self, step).items()}


def rewards_times(factor: float) -> Callable[[Trainer], None]:
    """Let every reward that the replay gets be multiplied from now on; episodes tell it right."""

    def spoil(trainer: Trainer) -> None:
        add = trainer.add
        trainer.add = lambda action, reward, *rest: add(action, factor * reward, *rest)

    return spoil


def frozen(trainer: Trainer) -> None:
    """Let the camera show one picture from now on."""
    look, kept = preprocess.grey_frame, []

    def once(image: Any, config: Any) -> Any:
        kept[:] = kept or [look(image, config)]
        return kept[0]

    preprocess.grey_frame = once


FAULTS = {
    'flipped_from_the_start': rewards_times(-1.0),
    'frozen_camera': frozen,
    'nan': once_nan,
    'flipped_reward': flipped_terms,
    'flipped_batches': rewards_times(-1.0),
    'huge_reward': rewards_times(1000.0),
}


def main() -> None:
    """Run one case."""
    case, folder, *assignments = sys.argv[1:]
    values = {**ALL, **CASES[case], 'trainer.run_dir': folder}
    values.update(parse_assignment(text) for text in assignments)
    moment = 0 if case.endswith('from_the_start') else LATER.get(case, MOMENT)
    spoiled = []

    def spoil(trainer: Trainer) -> None:
        if case in FAULTS and not spoiled and trainer.env_steps >= moment:
            FAULTS[case](trainer)
            spoiled.append({'env_step': trainer.env_steps, 'updates': trainer.updates})

    run = RunFolder(folder)
    trainer = train(build_run(values, 'the case'), run, spoil)
    run.close()
    path = Path(folder) / 'alerts.csv'
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    told = {
        'case': case,
        'spoiled': spoiled,
        'alerts': [
            '{state} {name} ({action}) step {env_step} update {updates}: {text}'.format(**row)
            for row in rows
        ],
        'env_steps': trainer.env_steps,
        'updates': trainer.updates,
        'rollbacks': trainer.rollbacks,
        'halted': trainer.halted,
    }
    print(json.dumps(told, indent=1))


if __name__ == '__main__':
    main()
