"""The study of failure: one run per configuration and seed, and what they show side by side."""

import json
from pathlib import Path
import shutil
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

import numpy as np

from av_td3_ros.config import build_run
from av_td3_ros.report import runs
from av_td3_ros.run_folder import RunFolder
from av_td3_ros.study.attempts import FAULTS
from av_td3_ros.study.cures import Configuration, SICK, WELL
from av_td3_ros.study.jobs import Job, result, Tell
from av_td3_ros.study.symptoms import find, Finding, halting, LARGEST_REWARD, SYMPTOMS
from av_td3_ros.td3 import checkpoint
from av_td3_ros.td3.health_guard import HALTED
from av_td3_ros.td3.trainer import Trainer
from av_td3_ros.train import train

SEEDED = ('simulator', 'policy', 'episode_manager', 'trainer')
# Symptoms are to unfold, at a fine scale; how many runs share a machine must change nothing.
STUDIED = {
    'trainer.health.on_halt': 'warn',
    'trainer.log_every': 25,
    'trainer.threads': 1,
    'trainer.precision': 'fp32',
}


class Told(NamedTuple):
    """What one finished run shows."""

    seed: int
    findings: List[Finding]
    facts: Dict[str, Any]


class Row(NamedTuple):
    """A configuration and what its runs show, one for each seed that is over."""

    configuration: Configuration
    told: List[Told]


def jobs(
    configurations: Sequence[Configuration],
    seeds: Sequence[int],
    steps: int,
    folder: Path,
    settings: Mapping[str, Any],
) -> List[Job]:
    """
    Return a job for each configuration and seed, the seeds of all configurations in turn.

    :param settings: of all runs, before those of the configuration.
    :raises ConfigError: where a setting does not fit.
    """
    found = []
    for seed in seeds:
        for item in configurations:
            name = f'{item.name}_seed{seed}'
            values = {
                **STUDIED,
                **item.values,
                **settings,
                **{f'{section}.seed': seed for section in SEEDED},
                'trainer.steps': steps,
                'trainer.checkpoint_every': max(steps, 10),
            }
            build_run(values, f'configuration {item.name}')
            facts = {'configuration': item.name, 'values': values, 'fault': item.fault}
            found.append(Job(name, folder / 'runs' / name, work, facts))
    return found


def work(folder: Path, facts: Dict[str, Any], tell: Tell) -> Dict[str, Any]:
    """Make one run."""
    values = {**facts['values'], 'trainer.run_dir': str(folder)}
    config = build_run(values, f'configuration {facts["configuration"]}')
    spoil = FAULTS.get(facts['fault'], lambda agent: None)
    seen = [0]
    run = RunFolder(folder)

    def look(trainer: Trainer) -> None:
        if not seen[0]:
            spoil(trainer.agent)
        seen[0] = trainer.env_steps

    trainer = train(config, run, look, lambda: tell(seen[0] / config.trainer.steps))
    run.write_summary({LARGEST_REWARD: _largest_reward(folder, trainer)})
    run.close()
    shutil.rmtree(folder / 'replay', ignore_errors=True)  # large, and never gone on with
    return {
        'env_steps': trainer.env_steps,
        'updates': trainer.updates,
        'halted': trainer.halted,
    }


def _largest_reward(folder: Path, trainer: Trainer) -> float:
    """Return r_max, which bounds Q, as the last checkpoint of a run holds it."""
    last = checkpoint.find(folder / HALTED if trainer.halted else folder)
    info = json.loads((last / checkpoint.INFO).read_text())
    return float(info['extra']['health'][LARGEST_REWARD])


def gather(
    configurations: Sequence[Configuration], seeds: Sequence[int], folder: Path
) -> List[Row]:
    """Return what the runs show that are over; a configuration without any is left out."""
    rows = []
    for item in configurations:
        told = []
        for seed in seeds:
            path = folder / 'runs' / f'{item.name}_seed{seed}'
            facts = result(path)
            if facts:
                told.append(Told(seed, find(runs.read(path)), facts))
        if told:
            rows.append(Row(item, told))
    return rows


def seeds(rows: Sequence[Row]) -> List[int]:
    """Return the seeds that any configuration tells of."""
    return sorted({told.seed for row in rows for told in row.told})


def shown(row: Row, symptom: str) -> List[Finding]:
    """Return the findings of a symptom, of the seeds in which it appears."""
    index = list(SYMPTOMS).index(symptom)
    return [told.findings[index] for told in row.told if told.findings[index].update is not None]


def first_update(row: Row, symptom: str) -> Optional[float]:
    """Return the median of the updates at which a symptom appears; None where it never does."""
    updates = [finding.update for finding in shown(row, symptom)]
    return float(np.median(updates)) if updates else None


def halts(row: Row) -> List[Finding]:
    """Return what would have ended each run that health would have ended."""
    endings = [halting(told.findings) for told in row.told]
    return [ending for ending in endings if ending is not None]


def cured(rows: Sequence[Row]) -> Dict[str, Dict[str, List[str]]]:
    """
    Return for each cure which symptoms of what it cures it removes, keeps and adds.

    A symptom counts where it appears in at least half of the seeds. ``recommended`` is all cures
    of ``diverging`` at once.
    """
    known = {row.configuration.name: _shows(row) for row in rows}
    told = {}
    for row in rows:
        item = row.configuration
        base = SICK if item.name == WELL else item.base
        if base in known and (item.kind == 'cure' or item.name == WELL):
            before, now = known[base], known[item.name]
            told[item.name] = {
                'removes': [name for name in before if name not in now],
                'keeps': [name for name in before if name in now],
                'adds': [name for name in now if name not in before],
            }
    return told


def _shows(row: Row) -> List[str]:
    return [name for name in SYMPTOMS if 2 * len(shown(row, name)) >= len(row.told)]
