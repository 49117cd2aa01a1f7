"""Files of an evaluation that is done again, and how its figures are told."""

import pytest

from av_td3_ros.evaluation.figures import Result
from av_td3_ros.evaluation.tables import number, text, write


def test_an_evaluation_without_others_leaves_none_of_an_earlier_one(tmp_path):
    policy, other = (Result(name, 'in-process', 0) for name in ('a', 'expert'))
    write(tmp_path, [policy, other])
    assert (tmp_path / 'others.csv').exists()
    write(tmp_path, [policy])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {'evaluation.json', 'evaluation.csv', 'evaluation.tex', 'trajectories.csv'}


@pytest.mark.parametrize(
    'value, shown',
    [
        (0.0, '0'),
        (0.5, '0.5'),
        (12.34, '12.3'),
        (999.4, '999'),
        (999.6, '1000'),
        (-999.6, '-1000'),
        (12345.6, '12346'),
        (0.000123, '0.000123'),
        (0.0000123, '0.000012'),
        (1e-9, '0'),
    ],
)
def test_no_figure_has_an_exponent(value, shown):
    """LaTeX would set it as a product."""
    assert number(value) == shown


def test_the_table_says_what_its_intervals_are():
    head = text([Result('a', 'in-process', 0)]).splitlines()[0]
    assert head.split('  ')[0] == 'mean [95 % interval]' and head.endswith('a')
