"""
What an alert does to a run: written down, shown, and, where it must, the end or the way back.

A healthy checkpoint is one that was saved with no figure beyond a limit to halt. A halted run
keeps its sick state beside the run's checkpoints, in ``halted/``, so that the newest checkpoint
stays a healthy one.
"""

from typing import Any, Dict, List, Mapping, Set, Tuple

from av_td3_ros.learning_config import HealthConfig, LearnerConfig
from av_td3_ros.run_folder import RunFolder
from av_td3_ros.td3.health import Alert, CLEARED, HALT, Monitor, ROLLBACK, WARN

HALTED = 'halted'


class Guard:
    """The monitor of one run, and its account in the run folder."""

    def __init__(self, config: HealthConfig, learner: LearnerConfig, run: RunFolder) -> None:
        """Begin with no alert; ``cause`` is the sentence of the one that stopped learning last."""
        self.monitor = Monitor(config, learner)
        self.halted = self.cause = ''
        self.alerts: Tuple[Alert, ...] = ()  # replaced as a whole: other threads read it
        self.rollbacks = 0
        self._run = run
        self._moment = (0, 0)
        self._shown: Set[str] = set()
        self._was_healthy = True
        self._unwritten: List[Dict[str, Any]] = []  # a full disk kept them from alerts.csv

    @property
    def healthy(self) -> bool:
        """Whether a checkpoint of now would be one to go back to."""
        return not self.halted and not self.monitor.suspicious and self._was_healthy

    @property
    def may_save(self) -> bool:
        """Whether a checkpoint may be due: of a sick learner only where nobody would go back."""
        return self.healthy or not self.halted and self.monitor.config.on_halt == WARN

    def record(self, env_step: int, updates: int, metrics: Mapping[str, float]) -> bool:
        """
        Judge a record of the learner.

        :returns: whether the learner must go back to a healthy checkpoint.
        """
        self._moment, self._was_healthy = (env_step, updates), True
        back = self._take(self.monitor.record(metrics))
        self._show()
        return back

    def episode(self, env_step: int, updates: int, row: Mapping[str, Any]) -> bool:
        """Judge a finished episode; likewise."""
        self._moment = (env_step, updates)
        back = self._take(self.monitor.episode(row))
        self._show()
        return back

    def failed(self, env_step: int, updates: int, what: str) -> bool:
        """Take an update that went wrong; likewise."""
        self._moment = (env_step, updates)
        back = self._take(self.monitor.failed(what))
        self._show()
        return back

    def went_back(self) -> None:
        """Take that the learner is that of a healthy checkpoint again."""
        self.rollbacks += 1
        self._write(self.monitor.forget())
        self._show()

    def stop(self, why: str) -> None:
        """End the run."""
        self.halted = self.halted or why

    def state(self) -> Dict[str, Any]:
        """Return what a resumed run must know, as JSON data."""
        return {**self.monitor.history.state(), 'rollbacks': self.rollbacks}

    def load_state(self, state: Mapping[str, Any], env_step: int, healthy: bool = True) -> None:
        """
        Go on with what :meth:`state` returned; alerts that stood then are judged anew.

        :param env_step: from which the run goes on. :param healthy: whether the learner was so; of
            one that was not, the next record tells.
        """
        self._was_healthy = healthy
        self.monitor.history.load_state(state)
        self.rollbacks = int(state['rollbacks'])
        for row in self._run.standing_alerts():
            stood_until = max(env_step, int(float(row['env_step'])))
            self._run.add_alert({**row, 'env_step': stood_until, 'state': CLEARED})

    def _take(self, changes: List[Alert]) -> bool:
        spent = self.rollbacks >= self.monitor.config.rollbacks
        changes = [
            change._replace(action=HALT) if change.action == ROLLBACK and spent else change
            for change in changes
        ]
        self._write(changes)
        for change in changes:
            if change.stops:
                self.cause = change.text
            if change.stops and change.action == HALT:
                tried = f' (after {self.rollbacks} roll-backs)' if self.rollbacks else ''
                self.stop(f'{change.text}{tried}')
        return not self.halted and any(change.stops for change in changes)

    def _write(self, changes: List[Alert]) -> None:
        env_step, updates = self._moment
        moment = {'env_step': env_step, 'updates': updates}
        self._unwritten += [{**moment, **change._asdict()} for change in changes]
        while self._unwritten and self._run.add_alert(self._unwritten[0]):
            del self._unwritten[0]  # in their order: the next record tries again
        self.alerts = tuple(self.monitor.active.values())

    def _show(self) -> None:
        self._shown |= {*self.monitor.readings, *(alert.name for alert in self.alerts)}
        levels = dict.fromkeys(self._shown, 0.0)
        levels.update({alert.name: 2.0 if alert.stops else 1.0 for alert in self.alerts})
        events = {f'health/{name}': level for name, level in levels.items()}
        values = {f'health_value/{name}': x for name, x in self.monitor.readings.items()}
        self._run.add_metrics({**events, **values}, self._moment[0])
