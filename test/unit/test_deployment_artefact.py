"""The file of an exported policy: whole it is read back, and any damage is refused by name."""

import json
import pickle

from hypothesis import given, settings, strategies as st
import numpy as np
import pytest
import safetensors.numpy

from av_td3_ros.config import SimulatorConfig
from av_td3_ros.deployment import artefact as files
from av_td3_ros.deployment.description import (
    ArtefactError,
    check_observation,
    describe,
    parse,
    TrainingCamera,
)
from av_td3_ros.driving import preprocess
from av_td3_ros.datatypes import Pose, VehicleState
from av_td3_ros.learning_config import NetworkConfig
from av_td3_ros.task_config import ObservationConfig
from exported import lively, packed, run_config

CONFIG = run_config()
POLICY = lively(CONFIG)
DATA = packed(CONFIG, POLICY, training={'run': 'a test'})


def refusal(data):
    with pytest.raises(ArtefactError) as refused:
        files.unpack(data)
    text = str(refused.value)
    assert '\n' not in text and len(text) < 700
    return text


def headed(head):
    """Return a file with a header and nothing behind it."""
    return len(head).to_bytes(8, 'little') + head


def resealed(change):
    """Return an artefact with another description and a hash that fits."""
    found = files.unpack(DATA)
    raw = json.loads(json.dumps(found.description.raw))
    change(raw)
    return files.pack(raw, found.weights, found.onnx, found.probe)


def test_a_whole_artefact_is_read_back_to_the_bit(tmp_path):
    path = tmp_path / 'policy.avtd3'
    files.write(path, DATA)
    found = files.read(path)
    assert found.path == path and path.read_bytes() == DATA
    assert found.description.version == 7 and found.description.observation == CONFIG.observation
    assert found.description.spec == CONFIG.observation.spec()
    assert found.description.network == CONFIG.trainer.learner.network
    assert found.description.raw['training'] == {'run': 'a test'}
    assert found.description.camera == TrainingCamera(64, 48)
    state = POLICY.state_dict()
    assert set(found.weights) == set(state)
    for name, array in found.weights.items():
        assert np.array_equal(array, state[name].numpy()), name


def test_any_reader_of_safetensors_opens_it(tmp_path):
    path = tmp_path / 'policy.avtd3'
    files.write(path, DATA)
    with safetensors.safe_open(path, 'numpy') as file:
        assert json.loads(file.metadata()['av_td3'])['version'] == 7
        assert {'onnx', 'actor.layers.4.weight', 'probe.action'} <= set(file.keys())


def test_the_same_contents_make_the_same_bytes():
    assert packed(CONFIG, POLICY, training={'run': 'a test'}) == DATA


@settings(max_examples=300)
@given(st.integers(0, len(DATA) - 1), st.integers(0, 7))
def test_every_flipped_bit_is_found(place, bit):
    damaged = bytearray(DATA)
    damaged[place] ^= 1 << bit
    refusal(bytes(damaged))


def test_every_flipped_byte_of_the_description_is_found():
    for place in range(0, 8 + int.from_bytes(DATA[:8], 'little'), 7):
        damaged = bytearray(DATA)
        damaged[place] ^= 1
        refusal(bytes(damaged))


@settings(max_examples=100)
@given(st.integers(0, len(DATA) - 1))
def test_every_cut_is_found(size):
    text = refusal(DATA[:size])
    if size > 9:
        assert f'got {size}: it was cut short' in text and 'artefact must have ' in text


def test_what_was_appended_is_found():
    assert 'the file was damaged or changed' in refusal(DATA + b'\0')


@pytest.mark.parametrize(
    'data, text',
    [
        (b'', 'got an empty file'),
        (b'PK\x03\x04 a zip file', 'that `av-td3 export` wrote, got one that begins with'),
        (pickle.dumps({'a': 1}), 'that `av-td3 export` wrote, got one that begins with'),
        (b'\xff' * 64, 'that `av-td3 export` wrote, got one that begins with'),
        (headed(b'{}'), 'must have the description of an exported policy'),
        (headed(b'{[[[[[[[['), 'description of an exported policy'),
        (
            safetensors.numpy.save({'a': np.zeros(3, np.float32)}),
            'checkpoints and weights alone have none: use `av-td3 export`',
        ),
        (
            safetensors.numpy.save({'a': np.zeros(3, np.float32)}, {'av_td3': '[1]'}),
            'must have the description of an exported policy',
        ),
        (
            safetensors.numpy.save({'a': np.zeros(3)}, {'av_td3': '{"format": 1, "sha256": "x"}'}),
            'hash must be 64 digits, got x',
        ),
        (headed(b'{"a":{"data_offsets":[0,1e999]}}'), 'description of an exported policy'),
    ],
)
def test_what_is_no_artefact_is_refused(data, text):
    assert text in refusal(data)


def test_deep_json_is_refused():
    assert 'description of an exported' in refusal(headed(b'{"a":' + b'[' * 100_000))


@pytest.mark.parametrize(
    'change, text',
    [
        (lambda raw: raw.update(format=2), 'artefact must be of format 1, got 2; export the run'),
        (lambda raw: raw.pop('camera'), "unreadable: KeyError('camera')"),
        (lambda raw: raw.update(version='x'), 'description of the artefact is unreadable'),
        (lambda raw: raw['camera'].update(fov_deg=0.0), 'fov_deg must be 1 to 179 deg, got 0.0'),
        (lambda raw: raw['camera'].update(roll=1.0), "unknown key 'roll'"),
        (lambda raw: raw['network'].update(encoder='vgg'), 'encoder must be one of'),
        (lambda raw: raw['action'].reverse(), "action of the artefact must be ['steering',"),
        (
            lambda raw: raw['observation']['image'].update(shape=[4, 84, 84]),
            'image of the artefact must be [4, 36, 36], got [4, 84, 84]',
        ),
        (
            lambda raw: raw['observation']['vector'][0].update(name='yaw'),
            'vector of the artefact must be',
        ),
        (
            lambda raw: raw['observation']['vector'][0].update(scale=30.0),
            'scales of the vector of the artefact must be [10.0',
        ),
        (lambda raw: raw['observation']['settings'].pop('crop_top'), "KeyError('crop_top')"),
        (
            lambda raw: raw['observation']['settings'].update(height=10**6),
            'height must be 36 to 512 px, got 1000000',
        ),
        (
            lambda raw: (
                raw['observation']['settings'].update(height=40),
                raw['observation']['image'].update(shape=[4, 40, 36]),
            ),
            'probe of the artefact must be',
        ),
    ],
)
def test_another_description_is_refused(change, text):
    assert text in refusal(resealed(change))


def places(value, path=()):
    """Yield the way to every value of JSON data."""
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else ()
    for key, inner in enumerate(value) if isinstance(value, list) else pairs:
        yield from places(inner, (*path, key))


ODD = (
    None,
    True,
    -1,
    10**400,
    1e308,
    float('nan'),
    '',
    '\n',
    'x' * 10_000,
    [],
    {},
    [[]],
    {'a': 1},
)


@pytest.mark.parametrize('odd', ODD, ids=range(len(ODD)))
def test_no_odd_value_anywhere_escapes(odd):
    text = json.dumps(files.unpack(DATA).description.raw)
    refused = 0
    for path in places(json.loads(text)):
        changed = raw = json.loads(text)
        for key in path[:-1]:
            changed = changed[key]
        changed[path[-1]] = odd
        try:
            found = parse(raw)
        except ArtefactError as error:
            refused += 1
            assert '\n' not in str(error) and len(str(error)) < 1000
        else:  # what is not read, or a value that is allowed
            assert 0 <= found.version < 2**64 and found.spec == CONFIG.observation.spec()
    assert refused > 50


def test_a_missing_part_is_refused():
    found = files.unpack(DATA)
    tensors = {**found.weights, 'onnx': np.frombuffer(found.onnx, np.uint8)}
    text = json.dumps({**found.description.raw, 'sha256': files.NO_HASH})
    data = safetensors.numpy.save(tensors, {'av_td3': text})
    digits = files.hashlib.sha256(data).hexdigest()
    assert "KeyError('probe.image')" in refusal(
        data.replace(files.NO_HASH.encode(), digits.encode(), 1)
    )


def test_files_that_cannot_be_read_or_written_are_named(tmp_path, monkeypatch):
    for path, reason in ((tmp_path / 'none', 'No such file'), (tmp_path, 'Is a directory')):
        with pytest.raises(ArtefactError, match=f'readable file, got {path}: {reason}'):
            files.read(path)
    with pytest.raises(ArtefactError, match='artefact must be written to .*No such file'):
        files.write(tmp_path / 'no' / 'folder', DATA)
    files.write(tmp_path / 'large', DATA)
    monkeypatch.setattr(files, 'MAX_BYTES', len(DATA) - 1)
    with pytest.raises(ArtefactError, match=f'at most {len(DATA) - 1} bytes, got {len(DATA)}'):
        files.read(tmp_path / 'large')


def test_a_file_is_named_in_its_refusal(tmp_path):
    path = tmp_path / 'short'
    files.write(path, DATA[:1000])
    with pytest.raises(ArtefactError, match=f'{path}: artefact must have .* cut short'):
        files.read(path)


def test_the_scales_are_those_that_the_vehicle_state_is_divided_by():
    config = ObservationConfig(lateral_deviation=False, heading_error=False, waypoints=0)
    raw = describe(1, config, TrainingCamera(), NetworkConfig(), {})
    scales = {entry['name']: entry['scale'] for entry in raw['observation']['vector']}
    state = VehicleState(Pose(0.0, 0.0), speed=6.0, yaw_rate=0.3)
    vector, _ = preprocess.state_vector(config, state, 0.25, None)
    told = (('speed', 6.0), ('yaw_rate', 0.3), ('last_steering', 0.25))
    expected = np.asarray([value / scales[name] for name, value in told], np.float32)
    assert np.array_equal(vector, expected)


def test_every_entry_of_every_observation_is_described():
    config = ObservationConfig(command=True, waypoints=3)
    raw = describe(1, config, TrainingCamera(), NetworkConfig(), {})
    entries = raw['observation']['vector']
    assert [entry['name'] for entry in entries] == list(config.spec().vector)
    assert {entry['name']: (entry['scale'], entry['unit']) for entry in entries}.items() >= {
        'command_left': (1.0, ''),
        'waypoint_2_y': (6.0, 'm'),
        'lateral_deviation': (2.0, 'm'),
    }.items()
    assert parse(raw).observation == config


def test_the_camera_is_that_of_the_simulator():
    simulator = SimulatorConfig(image_width=800, image_height=600, fov_deg=90.0, camera_x=1.0)
    camera = TrainingCamera.of(simulator)
    assert (camera.width, camera.height, camera.x, camera.z) == (800, 600, 1.0, 1.5)
    assert camera.focal_length == pytest.approx(400.0)
    assert camera.period == 0.05


def test_another_preprocessing_is_refused_setting_by_setting():
    trained = ObservationConfig()
    check_observation(trained, ObservationConfig())
    with pytest.raises(ArtefactError) as refused:
        check_observation(trained, ObservationConfig(crop_top=0.2, waypoint_spacing=5.0))
    assert 'observation.crop_top 0.35, got 0.2, observation.waypoint_spacing 2.0, got 5.0' in str(
        refused.value
    )
