"""
Write what is generated from the code: ``config/*.param.yaml`` and the tables of the docs.

Run it after changing a config class or the topic table; a test compares.
"""

import ast
from pathlib import Path
from typing import Any, Dict, List, Tuple, Type

from av_td3_ros import graph, learning_config, presets
from av_td3_ros.config import RunConfig
from av_td3_ros.driving.reward import TERMS
from av_td3_ros.options import limits, options
from av_td3_ros.task_config import OBSERVATIONS

ROOT = Path(__file__).resolve().parent.parent


def parameter_file(node: graph.NodeSpec) -> str:
    """Return the YAML of one node with every default and its meaning."""
    lines = [
        f'# Defaults of the {node.name} node; written by tools/write_tables.py.',
        '/**:',
        '  ros__parameters:',
    ]
    groups: List[str] = []
    for item in options(_config(node)):
        *path, leaf = item.key.split('.')
        common = 0
        while common < min(len(path), len(groups)) and path[common] == groups[common]:
            common += 1
        for depth in range(common, len(path)):
            lines.append(f'{"  " * (depth + 2)}{path[depth]}:')
        groups = path
        note = ', '.join(part for part in (item.doc, limits(item)) if part)
        lines.append(f'{"  " * (len(path) + 2)}{leaf}: {_yaml(item.default)}  # {note}')
    return '\n'.join(lines) + '\n'


def parameter_table(node: graph.NodeSpec) -> str:
    """Return the Markdown table of one node's parameters."""
    rows = ['| parameter | default | range | meaning |', '|---|---|---|---|']
    for item in options(_config(node)):
        meaning = _cell(item.doc)
        rows.append(f'| `{item.key}` | `{_yaml(item.default)}` | {limits(item)} | {meaning} |')
    return '\n'.join(rows)


def parameters_page() -> str:
    """Return the page of all parameters."""
    parts = [
        '# Parameters\n\nWritten by `tools/write_tables.py` from `src/av_td3_ros/config.py`. '
        'On the command '
        'line: `av-td3 train --set trainer.learner.batch_size=64`; what several nodes share '
        '(`role_name`, `observation.*`) is set without a section. Launch files '
        'of training and evaluation take the same in a file, `config:=`, that of a deployment a '
        'ROS parameter file, `params:=`.\n'
    ]
    for node in graph.GRAPHS['training']:
        parts.append(
            f'## '
            f'{node.name}\n\n{(_config(node).__doc__ or "").strip()}\n\n{parameter_table(node)}\n'
        )
    return '\n'.join(parts)


def presets_page() -> str:
    """Return the page of the presets, and of the parts that they are made of."""
    lines = [
        '# Presets\n',
        'Written by `tools/write_tables.py` from `config/presets/*.yaml`, whose comments say '
        'where the values come from. `av-td3 presets` lists them, `av-td3 presets diff A B` '
        'compares two, `av-td3 train --preset NAME` and `ros2 launch av_td3_ros '
        'training.launch.py preset:=NAME` train with one. A file of your own in the same form '
        f'does as well; what it leaves out is as in `{presets.DEFAULT}`. A preset leaves the '
        'machine and the run alone: steps, seed, device, precision, storage of the replay.\n',
        '| preset | what |',
        '|---|---|',
        *(f'| `{name}` | {presets.description(name)} |' for name in presets.names()),
        f'\n## Values\n\nKeys are below `{presets.PREFIX[:-1]}`. **Bold**: not as in '
        f'`{presets.DEFAULT}`.\n',
        preset_table(),
        '\n## Observations\n\nWhat the policy sees is no part of a preset; it has names of its '
        'own: `av-td3 train --observation NAME`, `observation:=NAME` for `ros2 launch`. Keys '
        'are below `observation`.\n',
        observation_table(),
    ]
    for kind, key in (('encoders', 'learner.network.encoder'), ('targets', 'learner.target.kind')):
        lines.append(f'\n## {kind.capitalize()}\n\nChosen by `{presets.PREFIX}{key}`.\n')
        lines.append(part_table(kind))
    return '\n'.join(lines) + '\n'


def preset_table() -> str:
    """Return the Markdown table of all values of all presets."""
    names = presets.names()
    values = {name: presets.load(name) for name in names}
    usual = values[presets.DEFAULT]
    rows = [f'| key | {" | ".join(names)} | meaning |', f'|{"---|" * (len(names) + 2)}']
    for key, item in presets.keys().items():
        full = f'{presets.PREFIX}{key}'
        cells = []
        for name in names:
            text = presets.text(values[name][full])
            cells.append(text if values[name][full] == usual[full] else f'**{text}**')
        meaning = _cell(f'{item.doc} [{item.unit}]' if item.unit else item.doc)
        rows.append(f'| `{key}` | {" | ".join(cells)} | {meaning} |')
    return '\n'.join(rows)


def part_table(kind: str) -> str:
    """Return the Markdown table of the modules in ``td3/<kind>``, by their first lines."""
    rows = ['| name | what |', '|---|---|']
    for name in learning_config.parts(kind):
        source = (ROOT / 'src' / 'av_td3_ros' / 'td3' / kind / f'{name}.py').read_text()
        said = ast.get_docstring(ast.parse(source)) or ''
        rows.append(f'| `{name}` | {_cell(said.partition(chr(10))[0])} |')
    return '\n'.join(rows)


def observation_table() -> str:
    """Return the Markdown table of the named observations."""
    rows = ['| name | what the policy sees | sets |', '|---|---|---|']
    for name, preset in OBSERVATIONS.items():
        values = ', '.join(f'{key}: {_yaml(value)}' for key, value in preset.values.items())
        rows.append(f'| `{name}` | {preset.description} | {values} |')
    return '\n'.join(rows)


def term_description(name: str) -> Tuple[str, str]:
    """Return what a reward term says about itself: its first paragraph, and its source."""
    parts = [' '.join(part.split()) for part in (TERMS[name].__doc__ or '').split('\n\n')]
    return parts[0], parts[-1].partition('Source: ')[2]


def term_bounds(name: str) -> Tuple[float, float]:
    """Return the bounds that a reward term states at the end of its first paragraph."""
    low, high = term_description(name)[0].rpartition('[')[2].rstrip('].').split(',')
    return float(low), float(high)


def reward_table() -> str:
    """Return the Markdown table of the reward terms."""
    rows = ['| term | weight | what, and its bounds | source |', '|---|---|---|---|']
    weights = RunConfig().episode_manager.reward
    for name in TERMS:
        what, source = term_description(name)
        rows.append(f'| `{name}` | {getattr(weights, name):g} | {_cell(what)} | {source} |')
    return '\n'.join(rows)


def topic_table() -> str:
    """Return the Markdown table of the topics."""
    from av_td3_ros.bridge.topics import TOPICS

    rows = ['| topic | type | QoS | rate | what |', '|---|---|---|---|---|']
    for topic in TOPICS.values():
        package = topic.type.__module__.split('.')[0]
        name = topic.name.replace('{role_name}', '<role_name>')
        rows.append(
            f'| `{name}` | {package}/{topic.type.__name__} | {topic.qos} | {topic.rate} | '
            f'{topic.purpose} |'
        )
    return '\n'.join(rows)


def replace_section(text: str, name: str, body: str) -> str:
    """Replace what stands between ``<!-- name -->`` and ``<!-- /name -->``."""
    head, _, rest = text.partition(f'<!-- {name} -->')
    _, _, tail = rest.partition(f'<!-- /{name} -->')
    return f'{head}<!-- {name} -->\n{body}\n<!-- /{name} -->{tail}'


def files() -> Dict[Path, str]:
    """Return every generated file with its text."""
    made = {ROOT / 'config' / node.file: parameter_file(node) for node in graph.GRAPHS['training']}
    made[ROOT / 'docs' / 'parameters.md'] = parameters_page()
    made[ROOT / 'docs' / 'presets.md'] = presets_page()
    task = ROOT / 'docs' / 'design' / 'task.md'
    made[task] = replace_section(task.read_text(), 'reward', reward_table())
    topics = ROOT / 'docs' / 'topics.md'
    made[topics] = replace_section(topics.read_text(), 'topics', topic_table())
    return made


def main() -> None:
    """Write everything."""
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _config(node: graph.NodeSpec) -> Type[Any]:
    return type(getattr(RunConfig(), node.name))


def _cell(text: str) -> str:
    """Return text that does not end a table's cell."""
    return text.replace('|', '\\|')


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return f'{value:.1f}'
    if isinstance(value, float):
        text = f'{value:g}'
        return text.replace('e-', '.0e-') if 'e-' in text and '.' not in text else text
    return f"'{value}'" if isinstance(value, str) else str(value)


if __name__ == '__main__':
    main()
