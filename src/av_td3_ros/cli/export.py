"""``av-td3 export``: a trained policy as one file that drives without torch."""

import argparse
import json
from pathlib import Path
from typing import Any

from av_td3_ros.cli import common
from av_td3_ros.cli.sources import halted_by
from av_td3_ros.options import ConfigError
from av_td3_ros.run_folder import written_config


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        'export',
        help='make one file of a trained policy, to drive without torch',
        description='Write the policy of a run as one file: weights, ONNX graph, what it must be '
        'shown, where it comes from, and a hash. It is proved to act as the policy does before it '
        'is written. docs/design/deployment.md says what is in it.',
    )
    parser.add_argument(
        'source',
        metavar='RUN',
        help='run folder, whose newest checkpoint is taken; a checkpoint folder; or an exported '
        'file, which is checked and described',
    )
    parser.add_argument(
        '-o', '--output', metavar='FILE', help='where to write (default RUN/policy.avtd3)'
    )
    parser.add_argument(
        '--onnx',
        metavar='FILE',
        help='write the ONNX graph alone, too, for a stack that runs ONNX itself',
    )
    parser.add_argument(
        '--config',
        metavar='FILE',
        help='what the run was trained with (default config.yaml of the run)',
    )
    parser.add_argument(
        '--set',
        metavar='KEY=VALUE',
        action='append',
        default=[],
        dest='assignments',
        help='one setting of that; the camera is simulator.image_width, image_height, fov_deg, '
        'camera_x and camera_z: say here what it was on CARLA',
    )
    parser.set_defaults(run=run, preset=None, map=None, observation=None)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from av_td3_ros.deployment import artefact as files

    source = Path(options.source)
    if source.is_file():
        if options.output or options.config or options.assignments:
            raise ConfigError(
                f'RUN must be a run or checkpoint folder to export, got the file {source}; leave '
                '-o, --config and --set out to have it described'
            )
        found = files.read(source)
        _write_graph(options, found)
        print(json.dumps(found.description.raw, indent=2))
        return 0
    from av_td3_ros.deployment.export import export
    from av_td3_ros.td3 import checkpoint

    checkpoint.find(source)  # where there is none, that is the first thing to know
    options.config = options.config or written_config(source)
    if options.config is None:
        raise ConfigError(
            f'{source} must hold config.yaml, which tells what its policy was shown, got none; '
            'give the settings of the run with --config FILE'
        )
    target = Path(options.output) if options.output else default_target(source)
    if target.is_dir() or not target.parent.is_dir():
        raise ConfigError(
            f'artefact must be written to a file in a folder that is there, got {target}; choose '
            'another with -o'
        )
    data, difference = export(source, common.load_config(options))
    found = files.unpack(data, target)
    files.write(target, data)
    _write_graph(options, found)
    training = found.description.raw['training']
    print(f'{target}: version {found.description.version} of {training["run"]}')
    print(
        f'{training["env_steps"]} steps, {training["updates"]} updates, map {training["map"]}, '
        f'{len(data) / 2**20:.1f} MiB, sha256 {found.sha256}'
    )
    print(f'proved: ONNX Runtime and torch act as the policy does, within {difference:.1g}')
    alert = halted_by(source)
    if alert:
        print(f'note: this run was halted: {alert}')
    print(f'drive it: av-td3 evaluate {target}')
    return 0


def default_target(source: Path) -> Path:
    """Return where the artefact of a run goes; that of one checkpoint is named after it."""
    from av_td3_ros.deployment.artefact import SUFFIX
    from av_td3_ros.td3 import checkpoint

    if not (source / checkpoint.INFO).is_file():
        return source / f'policy{SUFFIX}'
    # Beside the checkpoints: old ones are removed while a run goes on.
    source = source.resolve()
    return source.parent.parent / f'policy_{source.name}{SUFFIX}'


def _write_graph(options: argparse.Namespace, found: Any) -> None:
    from av_td3_ros.deployment import artefact as files

    if options.onnx:
        files.write(Path(options.onnx), found.onnx)
