"""Nothing in the source unpickles, evaluates or asks a shell; no name from a message is a path."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / 'src' / 'av_td3_ros'
FILES = sorted(SOURCE.rglob('*.py'))
FORBIDDEN_MODULES = {'pickle', 'cPickle', 'dill', 'cloudpickle', 'shelve', 'marshal', 'joblib'}
FORBIDDEN_CALLS = {'eval', 'exec', 'compile', '__import__', 'os.system', 'os.popen'}
FORBIDDEN_LOADERS = {'Loader', 'UnsafeLoader', 'FullLoader', 'CLoader'}


def faults(tree):
    """Yield what must not be in a source file."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names]
            names += [node.module or ''] if isinstance(node, ast.ImportFrom) else []
            yield from (n for n in names if n.split('.')[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {key.arg: ast.unparse(key.value) for key in node.keywords}
            if name in FORBIDDEN_CALLS:
                yield name
            if name == 'torch.load':
                if given.get('weights_only') != 'True':
                    yield 'torch.load without weights_only=True'
            if name in ('np.load', 'numpy.load') and given.get('allow_pickle') != 'False':
                yield 'np.load without allow_pickle=False'
            if name in ('yaml.unsafe_load', 'yaml.full_load', 'yaml.unsafe_load_all'):
                yield name
            if name in ('yaml.load', 'yaml.load_all'):
                loader = given.get('Loader') or (
                    ast.unparse(node.args[1]) if node.args[1:] else ''
                )
                if not loader or loader.split('.')[-1] in FORBIDDEN_LOADERS:
                    yield f'yaml.load with {loader or "no loader"}'
            if given.get('shell') not in (None, 'False'):
                yield f'{name} with a shell'


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_runs_what_it_reads(path):
    assert list(faults(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    'text',
    [
        'import pickle',
        'from pickle import loads',
        'import torch\ntorch.load(path)',
        'torch.load(path, weights_only=False)',
        'np.load(path)',
        'np.load(path, allow_pickle=True)',
        'yaml.load(text)',
        'yaml.load(text, yaml.Loader)',
        'yaml.load(text, Loader=yaml.UnsafeLoader)',
        'yaml.unsafe_load(text)',
        'eval(text)',
        'exec(text)',
        'os.system(text)',
        'subprocess.run(text, shell=True)',
    ],
)
def test_what_is_forbidden_is_found(text):
    assert list(faults(ast.parse(text)))


@pytest.mark.parametrize(
    'text',
    ['torch.load(p, weights_only=True)', 'yaml.safe_load(t)', 'body.eval()', 're.compile(t)'],
)
def test_what_is_harmless_is_not(text):
    assert list(faults(ast.parse(text))) == []


def test_the_loader_of_presets_makes_plain_values_alone():
    import yaml

    from av_td3_ros import presets

    assert issubclass(presets._Loader, yaml.SafeLoader)
    with pytest.raises(yaml.YAMLError):
        yaml.load('!!python/object/apply:os.getcwd []', presets._Loader)


def opens_files(tree):
    """Yield the calls of a source file that reach the file system."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name == 'Path' and not node.args:  # that of nav_msgs
                continue
            if name in ('open', 'Path', 'os.open', 'os.path.join') or name.split('.')[-1] in (
                'read_text',
                'write_text',
                'read_bytes',
                'write_bytes',
                'mkdir',
                'unlink',
            ):
                yield ast.unparse(node)


@pytest.mark.parametrize(
    'name', [f'{node}_node' for node in ('perception', 'policy', 'episode_manager', 'simulator')]
)
def test_nodes_that_take_foreign_messages_open_no_file_themselves(name):
    assert list(opens_files(ast.parse((SOURCE / 'nodes' / f'{name}.py').read_text()))) == []


def test_translators_of_messages_open_no_file():
    for name in ('convert', 'bounds', 'world_messages', 'images'):
        path = SOURCE / 'bridge' / f'{name}.py'
        assert list(opens_files(ast.parse(path.read_text()))) == [], name
