"""Fixtures that several unit tests share."""

import pytest

from av_td3_ros.cli.main import main


@pytest.fixture
def own(tmp_path):
    """Write a preset of one's own and return its path."""

    def write(text, name='own.yaml'):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def refused(capsys):
    def check(*arguments):
        assert main(list(arguments)) == 2
        out, err = capsys.readouterr()
        assert out == '' and err.startswith('av-td3: ') and err.count('\n') == 1
        return err

    return check


@pytest.fixture
def make(tmp_path):
    """Make trainers of one run folder; they are closed in the end."""
    from small_trainers import make_trainer

    made = []

    def trainer(**values):
        made.append(make_trainer(tmp_path, **values))
        return made[-1]

    yield trainer
    for trainer in made:
        trainer.close()
        trainer._run.close()
