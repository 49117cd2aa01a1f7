"""
The report: one HTML page that needs no network and no script.

The same runs give the same bytes: nothing of the moment or of the order of a set is in it.
"""

from importlib import resources
from pathlib import Path
from typing import Any, Dict, List, Sequence

import numpy as np

from av_td3_ros.options import ConfigError
from av_td3_ros.report import charts, frames, maps, series, tables
from av_td3_ros.report.runs import read_all, Run
from av_td3_ros.run_folder import replace_file

TEMPLATE = resources.files('av_td3_ros.report')


def write(paths: Sequence[Path], output: Path) -> List[Run]:
    """
    Write the report of runs.

    :param paths: run folders. :param output: the HTML file.
    :returns: the runs as they were read.
    :raises ConfigError: for a path that is no run folder or is given twice, or where the file
        cannot be written.
    """
    runs = read_all(paths)
    text = render(runs)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        replace_file(output, text)
    except OSError as error:
        raise ConfigError(
            f'the report must go to a file that can be written, got {output}: {error.strerror}; '
            'choose another with --output'
        ) from None
    return runs


def render(runs: Sequence[Run]) -> str:
    """Return the page of some runs."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((TEMPLATE / 'page.html').read_text(encoding='utf-8'))
    style = (TEMPLATE / 'page.css').read_text(encoding='utf-8')
    with np.errstate(all='ignore'):  # what is not finite, or nearly so, is left out
        return template.render(style=style, **_content(runs))


def _content(runs: Sequence[Run]) -> Dict[str, Any]:
    groups = series.groups(runs)
    return {
        'title': ', '.join(run.name for run in runs),
        'runs': runs,
        'headlines': [tables.headline(run) for run in runs],
        'groups': [
            (group, charts.VARIABLES[colour])
            for group, colour in zip(groups, charts.palette(len(groups)))
        ],
        'spread': len(groups) < len(runs),
        'overview': tables.overview(runs),
        'driving': charts.curves(charts.DRIVING, groups, series.STEPS),
        'over_time': charts.curves(charts.OVER_TIME, groups, series.MINUTES),
        'learning': charts.curves(charts.LEARNING, groups, series.STEPS),
        'not_finite': charts.not_finite(runs),
        'known': any(run.settings for run in runs),
        'health': [(run, charts.health(run), tables.raised(run)) for run in runs],
        'most_alerts': tables.ALERTS,
        'gates': tables.gate_rows(runs),
        'evaluated': [head for head, _ in tables.evaluated(runs)],
        'evaluation': tables.evaluation_rows(runs),
        'evaluation_notes': tables.evaluation_notes(runs),
        'places': maps.places(runs),
        'shares': charts.reward_shares(runs),
        'strips': [strip for run in runs for strip in frames.strips(run)],
        'settings': tables.setting_rows(runs),
        'environment': tables.environment_rows(runs),
    }
