"""
Write what is generated from the code: ``config/*.param.yaml`` and the tables of the docs.

Run it after changing a config class or the topic table; a test compares.
"""

from pathlib import Path
from typing import Any, Dict, List, Type

from av_td3_ros import graph
from av_td3_ros.config import RunConfig
from av_td3_ros.options import limits, options

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
        rows.append(f'| `{item.key}` | `{_yaml(item.default)}` | {limits(item)} | {item.doc} |')
    return '\n'.join(rows)


def parameters_page() -> str:
    """Return the page of all parameters."""
    parts = [
        '# Parameters\n\nWritten by `tools/write_tables.py` from `src/av_td3_ros/config.py`. '
        'On the command '
        'line: `av-td3 train --set trainer.learner.batch_size=64`; what several nodes share '
        '(`role_name`, `observation.*`) is set without a section.\n'
    ]
    for node in graph.GRAPHS['training']:
        parts.append(
            f'## '
            f'{node.name}\n\n{(_config(node).__doc__ or "").strip()}\n\n{parameter_table(node)}\n'
        )
    return '\n'.join(parts)


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
    readme = ROOT / 'README.md'
    if readme.exists():
        made[readme] = replace_section(readme.read_text(), 'topics', topic_table())
    return made


def main() -> None:
    """Write everything."""
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _config(node: graph.NodeSpec) -> Type[Any]:
    return type(getattr(RunConfig(), node.name))


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
