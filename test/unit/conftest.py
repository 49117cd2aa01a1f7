"""Fixtures that several unit tests share."""

import sys

import pytest

from av_td3_ros.cli.main import main


@pytest.fixture(autouse=True)
def torch_as_it_was():
    """
    One thread of torch, as networks this small lose by more, and one seed; threads as before.

    A test that does not need torch does not wait for it.
    """
    torch = sys.modules.get('torch')
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


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
    """Run a command that must be refused in one line, and return that."""

    def check(*arguments):
        assert main([str(argument) for argument in arguments]) == 2
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
