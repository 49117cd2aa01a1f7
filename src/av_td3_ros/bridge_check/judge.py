"""Facts in, findings out: every check, in the order of the table."""

from typing import Dict, List

from av_td3_ros.bridge_check import (
    judge_camera,
    judge_graph,
    judge_time,
    judge_vehicle,
    judge_world,
)
from av_td3_ros.bridge_check.facts import Facts
from av_td3_ros.bridge_check.finding import FAIL, Finding

GROUPS = {
    'graph': judge_graph.CHECKS,
    'time and lock-step': judge_time.CHECKS,
    'camera': judge_camera.CHECKS,
    'vehicle': judge_vehicle.CHECKS,
    'world': judge_world.CHECKS,
}


def judge(facts: Facts) -> Dict[str, List[Finding]]:
    """Return the findings by group."""
    return {
        group: [finding for check in checks.values() for finding in check(facts)]
        for group, checks in GROUPS.items()
    }


def failed(groups: Dict[str, List[Finding]]) -> List[str]:
    """Return the names of the checks that failed, each once, in order."""
    names = [f.check for findings in groups.values() for f in findings if f.state == FAIL]
    return list(dict.fromkeys(names))
