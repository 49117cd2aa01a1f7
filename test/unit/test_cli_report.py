"""``av-td3 report``: where the page goes, what is told, what is refused."""

import pytest

pytest.importorskip('jinja2')
pytest.importorskip('matplotlib')

from av_td3_ros.cli.main import main  # noqa: E402
from made_runs import made  # noqa: E402


def test_the_page_goes_into_the_run_folder(tmp_path, capsys):
    path = made(tmp_path / 'run', 1000)
    assert main(['report', str(path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f'report: {path / "report.html"}'
    assert (path / 'report.html').read_text().startswith('<!DOCTYPE html>')


def test_what_is_missing_is_told_and_the_rest_is_shown(tmp_path, capsys):
    path = made(tmp_path / 'run', 1000)
    (path / 'config.yaml').unlink()
    output = tmp_path / 'new' / 'page.html'
    assert main(['report', str(path), '--output', str(output)]) == 0
    assert 'run: There is no config.yaml that can be read.' in capsys.readouterr().out
    assert '<svg' in output.read_text()


def test_one_path_that_is_no_run_refuses_all(tmp_path, capsys):
    path, output = made(tmp_path / 'run', 1000), tmp_path / 'page.html'
    arguments = ['report', str(path), str(tmp_path / 'typo'), '--output', str(output)]
    assert main(arguments) == 2
    assert 'a run folder must be given, got' in capsys.readouterr().err
    assert not output.exists()


def test_a_page_that_cannot_be_written_is_refused(tmp_path, capsys):
    path = made(tmp_path / 'run', 100)
    assert main(['report', str(path), '--output', '/proc/no/page.html']) == 2
    assert capsys.readouterr().err.startswith('av-td3: ')
