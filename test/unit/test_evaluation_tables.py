"""Files of an evaluation that is done again."""

from av_td3_ros.evaluation.figures import Result
from av_td3_ros.evaluation.tables import write


def test_an_evaluation_without_others_leaves_none_of_an_earlier_one(tmp_path):
    policy, other = (Result(name, 'in-process', 0) for name in ('a', 'expert'))
    write(tmp_path, [policy, other])
    assert (tmp_path / 'others.csv').exists()
    write(tmp_path, [policy])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {'evaluation.json', 'evaluation.csv', 'evaluation.tex', 'trajectories.csv'}
