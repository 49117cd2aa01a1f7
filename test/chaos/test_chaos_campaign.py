"""
The fault campaign in small: it harms a real graph, and each promise that it judges can be broken.
"""

from chaos_campaign import Campaign, in_turn, main, Row, table, write
from chaos_faults import FAULTS
import pytest

from av_td3_ros.nodes import shared_memory

GOOD = Row('kill policy', 0, 'SIGKILL', 'recovered', 2.0, 3, 1, True, 0.4, 6.0, '', '', '', '')


def test_a_graph_survives_a_fault_of_every_sort(tmp_path):
    segments = shared_memory.snapshot()
    with Campaign(tmp_path) as campaign:
        for fault in ('kill policy', 'flip messages', 'NaN weights', 'torn checkpoint'):
            row = campaign.harm(fault, 0)
            assert row.what and row.ended == 'recovered' and not row.is_failure, row
    assert not shared_memory.snapshot() - segments


@pytest.mark.parametrize(
    'broken',
    [
        {'uncommanded': '0.20 m/s gained without throttle'},
        {'out_of_bounds': 'throttle nan'},
        {'torn': 'no whole checkpoint'},
        {'ended': 'stuck'},
        {'ended': 'stopped'},
        {'lost_steps': 1001},
    ],
)
def test_every_promise_can_be_broken(broken):
    assert not GOOD.is_failure and GOOD._replace(**broken).is_failure
    assert not GOOD._replace(ended='stopped', reason='the disk is full').is_failure


def test_the_table_counts_by_fault(tmp_path):
    rows = [GOOD, GOOD._replace(seconds=4.0, lost_steps=9), GOOD._replace(fault='flood')]
    assert '| kill policy | 2 | 2 | 3.0 (4.0) | 9 | 0.40 | 0 | 0 | 0 |' in table(rows)
    write(tmp_path / 'new', rows)
    assert (tmp_path / 'new' / 'chaos.csv').read_text().count('\n') == 4
    assert list(in_turn(['a', 'b'], 2)) == [('a', 0), ('b', 0), ('a', 1), ('b', 1)]


@pytest.mark.parametrize(
    'arguments, text',
    [
        (['--fault', 'earthquake'], f'fault must be one of {", ".join(FAULTS)}; got earthquake'),
        (['--times', '0'], 'times must be at least 1, got 0'),
    ],
)
def test_bad_options_end_with_a_line(capsys, arguments, text):
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2 and text in capsys.readouterr().err
