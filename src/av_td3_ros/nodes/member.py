"""One process of a graph: its parameter file, its log, its beginning and its end."""

from pathlib import Path
import signal
import subprocess
import sys
from typing import Any, Dict, Optional, Sequence, TextIO

import yaml

from av_td3_ros import graph
from av_td3_ros.options import nested, to_flat


class Member:
    """One process of the graph."""

    def __init__(
        self,
        spec: graph.NodeSpec,
        params: Path,
        log: Path,
        environment: Dict[str, str],
        arguments: Sequence[str] = (),
    ) -> None:
        """
        :param params: parameter file. :param log: what the process prints goes here.
        :param arguments: further arguments after ``--ros-args``, such as remappings.
        """
        self._arguments = list(arguments)
        self.spec = spec
        self.restarts = 0
        self._params = params
        self._log = log
        self._environment = environment
        self._output: Optional[TextIO] = None
        self.process: Optional[subprocess.Popen] = None

    def write_parameters(self, config: Any) -> None:
        """Write the parameter file that the process reads at its start."""
        values = {'/**': {'ros__parameters': {'autostart': True, **nested(to_flat(config))}}}
        self._params.write_text(yaml.safe_dump(values))

    def spawn(self) -> None:
        """
        Start the process, in a session of its own so that Ctrl-C reaches the supervisor alone.
        """
        self._output = self._log.open('a')
        self.process = subprocess.Popen(
            [
                sys.executable,
                '-m',
                self.spec.module,
                '--ros-args',
                '--params-file',
                str(self._params),
                '-r',
                f'__ns:=/{graph.NAMESPACE}',
                '--disable-external-lib-logs',
                *graph.enclave(self.spec.name),
                *self._arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
        )

    def alive(self) -> bool:
        """Return whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def terminate(self, timeout: float) -> None:
        """Ask the process to end; insist after the timeout (s)."""
        if self.process is None:
            return
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._output.close()

    def last_error(self) -> str:
        """Return the last error that the process logged, without its prefix."""
        lines = self._log.read_text(errors='replace').splitlines()
        for line in reversed(lines):
            if '[ERROR]' in line or '[FATAL]' in line:
                return line.split(': ', 1)[-1]
        return next((line for line in reversed(lines) if line.strip()), 'no output')
