"""Minutes of real training, on three seeds: `make test-learning`."""

import numpy as np
import pytest

pytest.importorskip('carla')
pytest.importorskip('panda3d')

from av_td3_ros.config import build_run  # noqa: E402
from av_td3_ros.run_folder import RunFolder  # noqa: E402
from av_td3_ros.train import train  # noqa: E402

STEPS, EPISODES, MARGIN = 10_000, 20, 30.0


@pytest.mark.learning
@pytest.mark.parametrize('seed', [0, 1, 2])
def test_the_last_twenty_episodes_beat_the_first_twenty(tmp_path, seed):
    values = {
        f'{section}.seed': seed
        for section in ('simulator', 'policy', 'episode_manager', 'trainer')
    }
    config = build_run(
        {
            **values,
            'trainer.steps': STEPS,
            'trainer.run_dir': str(tmp_path),
        }, 'test'
    )
    run = RunFolder(tmp_path)
    train(config, run)
    returns = [float(row['episode_return']) for row in run.read_episodes()]
    first, last = np.mean(returns[:EPISODES]), np.mean(returns[-EPISODES:])
    assert last > first + MARGIN, f'{first:.1f} to {last:.1f} in {len(returns)} episodes'
