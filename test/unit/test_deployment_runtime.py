"""An exported policy drives as the trained one does, with either engine, and never by NaN."""

from dataclasses import replace
import subprocess
import sys

import numpy as np
import pytest
import torch

from av_td3_ros.config import PolicyConfig
from av_td3_ros.datatypes import SpecError
from av_td3_ros.deployment import artefact as files
from av_td3_ros.deployment.description import ArtefactError
from av_td3_ros.deployment.driver import load_driver
from av_td3_ros.deployment.runtime import ENGINES, make_engine, OutputError, Runtime, TOLERANCE
from av_td3_ros.learning_config import parts
from av_td3_ros.options import ConfigError
from exported import dark, lively, observations, packed, run_config, without_vector

CONFIG = run_config()
POLICY = lively(CONFIG)
DATA = packed(CONFIG, POLICY)
ARTEFACT = files.unpack(DATA)
NETWORK = 'trainer__learner__network__'


@pytest.fixture
def path(tmp_path):
    """Return the file of the small policy."""
    files.write(tmp_path / 'policy.avtd3', DATA)
    return tmp_path / 'policy.avtd3'


def trained(policy, image, vector):
    """Return the action of the policy itself."""
    return policy.act(torch.tensor(image)[None], torch.tensor(vector)[None])[0].numpy()


def compare(config, seen):
    """Compare both engines with the policy, and return by how much its actions vary."""
    policy = lively(config)
    artefact = files.unpack(packed(config, policy))
    runtimes = [Runtime(artefact, engine) for engine in ENGINES]
    actions = []
    for image, vector in seen:
        actions.append(trained(policy, image, vector))
        for runtime in runtimes:
            action = runtime.act(image, vector)
            assert np.abs(np.subtract(action, actions[-1])).max() <= TOLERANCE, runtime.engine
    return float(np.ptp(actions, axis=0).max())


@pytest.mark.parametrize('name', parts('encoders'))
def test_every_encoder_drives_as_the_trained_policy(name):
    config = run_config(**{NETWORK + 'encoder': name, NETWORK + 'feature_size': 32})
    assert compare(config, observations(config.observation.spec(), 20)) > 0.01


@pytest.mark.parametrize(
    'pixels, head',
    [('unit', 'none'), ('symmetric', 'relu'), ('centred', 'layer_norm_elu')],
)
def test_every_range_of_pixels_and_every_head_is_in_the_graph(pixels, head):
    config = run_config(**{NETWORK + 'pixels': pixels, NETWORK + 'feature_head': head})
    assert compare(config, observations(config.observation.spec(), 5)) > 1e-3


def test_an_empty_vector_and_the_full_size():
    for config in (without_vector(CONFIG), run_config(observation__height=84)):
        assert compare(config, observations(config.observation.spec(), 5)) > 1e-3


def test_averages_of_a_batch_norm_are_those_of_the_training():
    config = run_config(**{NETWORK + 'encoder': 'nature_batch_norm'})
    policy = lively(config)
    for name, value in policy.state_dict().items():
        if name.endswith('running_mean'):
            value.uniform_(-0.5, 0.5)
        elif name.endswith('running_var'):
            value.uniform_(0.2, 3.0)
    runtime = Runtime(files.unpack(packed(config, policy)))
    for image, vector in observations(config.observation.spec(), 5):
        difference = np.subtract(runtime.act(image, vector), trained(policy, image, vector))
        assert np.abs(difference).max() <= TOLERANCE


def test_on_the_frames_of_a_drive():
    pytest.importorskip('carla')
    from av_td3_ros.sim.env import DrivingEnv

    env = DrivingEnv(CONFIG)
    try:
        seen = [env.reset(seed=3)]
        for step in range(60):
            seen.append(env.step((0.3 * np.sin(step / 5.0), 0.6))[0])
    finally:
        env.close()
    assert len({obs.image.tobytes() for obs in seen}) > 40
    assert compare(CONFIG, seen) > 1e-3


def test_arrays_of_a_message_are_read_only_and_serve():
    image, vector = next(observations(ARTEFACT.description.spec, 1))
    frozen = np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape)
    for engine in ENGINES:
        runtime = Runtime(ARTEFACT, engine)
        assert runtime.act(frozen, np.frombuffer(vector.tobytes(), np.float32)) == runtime.act(
            image, vector
        )


@pytest.mark.parametrize(
    'change, text',
    [
        (lambda i, v: (i[1:], v), 'image must be (4, 36, 36) uint8, got (3, 36, 36) uint8'),
        (lambda i, v: (i.astype(np.float32), v), 'got (4, 36, 36) float32'),
        (lambda i, v: (i, v[:-1]), 'observation vector must be (25,) float32, got (24,) float32'),
        (lambda i, v: (i, v.astype(np.float64)), 'got (25,) float64'),
        (lambda i, v: (i, np.full_like(v, np.nan)), 'finite and in [-1, 1], got speed nan'),
        (lambda i, v: (i, np.where(v == v[1], -np.inf, v)), 'got yaw_rate -inf'),
        (lambda i, v: (i, np.where(v == v[2], 1.5, v).astype(v.dtype)), 'last_steering 1.5'),
    ],
)
@pytest.mark.parametrize('engine', ENGINES)
def test_an_observation_of_another_kind_is_refused(engine, change, text):
    image, vector = change(*next(observations(ARTEFACT.description.spec, 1)))
    with pytest.raises(SpecError) as refused:
        Runtime(ARTEFACT, engine).act(image, np.asarray(vector, vector.dtype))
    assert text in str(refused.value)


def overflowing():
    """Return an artefact that acts well in the dark at rest and overflows where it moves."""
    policy = lively(CONFIG)
    first, second = policy.actor.layers[0].weight.data, policy.actor.layers[2].weight.data
    first[:, -CONFIG.observation.spec().vector_size] = 3e38
    second[:] = 10.0
    at_rest = dark(CONFIG)
    action = trained(policy, at_rest.image[0], at_rest.vector[0])
    return files.unpack(packed(CONFIG, policy, probe=dark(CONFIG, action)))


def test_an_action_that_is_not_finite_is_refused():
    runtime = Runtime(overflowing())
    probe = dark(CONFIG)
    assert np.isfinite(runtime.act(probe.image[0], probe.vector[0])).all()
    moving = probe.vector[0].copy()
    moving[0] = 0.9
    with pytest.raises(OutputError, match='action of the policy must be finite, got .* the tanh'):
        runtime.act(probe.image[0], moving)
    assert issubclass(OutputError, SpecError)  # on which the policy node brakes


def test_weights_that_must_not_drive_are_refused_by_torch():
    with pytest.raises(ArtefactError, match='weights of the artefact cannot drive: actions on a'):
        Runtime(overflowing(), 'torch')


def test_a_graph_that_acts_otherwise_than_the_policy_is_refused(tmp_path):
    other = files.unpack(packed(CONFIG, POLICY, graph_of=lively(CONFIG, seed=5)))
    with pytest.raises(ArtefactError, match='engine onnx must act as at the export, within 0.00'):
        Runtime(other)
    Runtime(other, 'torch')


def test_a_graph_that_is_none_or_of_another_form_is_refused():
    with pytest.raises(ArtefactError, match='graph of the artefact must run on ONNX Runtime'):
        Runtime(files.unpack(packed(CONFIG, POLICY, graph_of=b'no graph')))
    smaller = run_config(observation__stack=2)
    graph = files.unpack(packed(smaller, lively(smaller))).onnx
    with pytest.raises(ArtefactError, match='graph of the artefact must have .*, got .*2, 36, 36'):
        Runtime(files.unpack(packed(CONFIG, POLICY, graph_of=graph)))


def test_an_engine_that_is_none_or_without_threads_is_refused():
    with pytest.raises(ArtefactError, match="engine must be one of onnx, torch, got 'tensorrt'"):
        make_engine(ARTEFACT, 'tensorrt')
    with pytest.raises(ArtefactError, match='threads of the engine must be >= 1, got 0'):
        make_engine(ARTEFACT, 'onnx', 0)


def test_torch_runs_on_as_many_threads_as_it_is_told():
    torch.set_num_threads(3)
    make_engine(ARTEFACT, 'torch', 2)
    assert torch.get_num_threads() == 2
    Runtime(ARTEFACT, 'torch')
    assert torch.get_num_threads() == 1


def in_a_process(code, *arguments):
    """Run code where nothing was imported yet."""
    done = subprocess.run(
        [sys.executable, '-c', code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_onnx_runtime_drives_without_torch(path):
    code = (
        'import sys\n'
        'from av_td3_ros.config import PolicyConfig\n'
        'from av_td3_ros.deployment.driver import load_driver\n'
        'from av_td3_ros.deployment.runtime import Runtime\n'
        'runtime = Runtime.load(sys.argv[1])\n'
        'probe = runtime.artefact.probe\n'
        'print(*runtime.act(probe.image[4], probe.vector[4]))\n'
        'driver, version = load_driver(PolicyConfig(\n'
        '    artefact=sys.argv[1], observation=runtime.artefact.description.observation))\n'
        'assert version == 7 and driver.ready\n'
        'loaded = [name for name in sys.modules if name.split(".")[0] in ("torch", "onnx")]\n'
        'assert not loaded, loaded\n'
    )
    action = [float(value) for value in in_a_process(code, path).split()]
    assert np.abs(np.subtract(action, ARTEFACT.probe.action[4])).max() <= TOLERANCE


@pytest.mark.parametrize('engine, package', [('onnx', 'onnxruntime'), ('torch', 'torch')])
def test_a_missing_engine_is_named(path, engine, package):
    code = (
        'import sys\n'
        f'sys.modules[{package!r}] = None\n'
        'from av_td3_ros.deployment.runtime import Runtime\n'
        'try:\n'
        f'    Runtime.load(sys.argv[1], {engine!r})\n'
        'except ValueError as error:\n'
        '    print(error)\n'
    )
    text = in_a_process(code, path)
    other = 'torch' if engine == 'onnx' else 'onnx'
    assert text.startswith(f'engine {engine} must have {package}, got ')
    assert text.endswith(f'pip install {package}, or take engine {other}')


def test_the_policy_node_is_refused_what_it_cannot_drive_with(path):
    fitting = replace(CONFIG.policy, artefact=str(path))
    assert load_driver(fitting)[1] == 7
    for engine in ENGINES:
        assert load_driver(replace(fitting, engine=engine))[0].engine == engine
    cropped = replace(CONFIG.observation, crop_top=0.1)
    with pytest.raises(ArtefactError, match='shown observation.crop_top 0.35, got 0.1; set what'):
        load_driver(replace(fitting, observation=cropped))
    with pytest.raises(ConfigError, match='one policy must be named, got checkpoint a and arte'):
        load_driver(replace(fitting, checkpoint='a'))


@pytest.mark.parametrize('count', [1, 2])
def test_a_policy_of_torch_takes_the_threads_that_it_is_given(count):
    load_driver(PolicyConfig(engine_threads=count))
    assert torch.get_num_threads() == count
