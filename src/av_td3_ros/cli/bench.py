"""``av-td3 bench``: measure speed on this machine. Each benchmark is one module here."""

from typing import Any

from av_td3_ros.cli import (
    bench_deploy,
    bench_graph,
    bench_learner,
    bench_replay,
    bench_sim,
    bench_soak,
    bench_swap,
)

BENCHMARKS = (
    bench_graph,
    bench_deploy,
    bench_swap,
    bench_learner,
    bench_replay,
    bench_sim,
    bench_soak,
)


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser('bench', help='measure speed on this machine')
    parts = parser.add_subparsers(dest='what', required=True, metavar='WHAT')
    for module in BENCHMARKS:
        module.add_parser(parts)
