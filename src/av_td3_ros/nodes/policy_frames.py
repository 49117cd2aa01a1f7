"""Which frames of a simulation have had their command: each gets one, whoever gives it."""

NANOSECONDS = 1_000_000_000


class Frames:
    """
    The frames of ``/clock`` in lock-step; without it, or before the first of them, none is
    counted. In real time ``/clock`` is nothing to go by: it may be that of a recording.

    In lock-step a frame gets one command: a second one would be taken for the next frame's, and
    from then on every command would come one tick late.
    """

    def __init__(self, lock_step: bool, period: float) -> None:
        """
        Begin before the first frame.

        :param lock_step: whether a simulation waits for every command.
        :param period: of a frame, s.
        """
        self._lock_step = lock_step
        self.newest = -1
        self.newest_at = 0.0
        self.running = True
        self._seen = False
        self._observed_at = 0.0
        self._commanded = -1
        self.set_period(period)

    @property
    def counted(self) -> bool:
        """Whether commands are counted against frames."""
        return self._lock_step and self.newest >= 0

    @property
    def begun(self) -> bool:
        """Whether there is a car to command: a frame was counted, or an observation seen."""
        return self.counted or self._seen

    @property
    def needs_command(self) -> bool:
        """
        Whether the car waits for one: a frame without its command, or, where none are counted, any
        time after the first observation: before, the car has not been driven.
        """
        if not self.running:
            return False
        if self.counted:
            return self.newest > self._commanded + self._half_tick
        return self._seen

    def silence(self, now: float) -> float:
        """Return the seconds that the car has waited for an observation."""
        if not self.needs_command:
            return 0.0
        since = max(self._observed_at, self.newest_at) if self.counted else self._observed_at
        return now - since

    def start(self, now: float) -> None:
        """Count silence from here on."""
        self._observed_at = now

    def observed(self, now: float) -> None:
        """Take note of an observation."""
        self._observed_at, self._seen = now, True

    def run(self, running: bool, now: float) -> None:
        """
        Take note of whether the world runs; in lock-step a pause is no silence.

        In real time nobody's word stops the watch: it may be that of another simulation.
        """
        if running and not self.running:
            self._observed_at = now
        self.running = running or not self._lock_step

    def set_period(self, period: float) -> None:
        """Set the time of a frame, s."""
        self._tick = int(period * NANOSECONDS)
        self._half_tick = self._tick // 2

    def clock(self, stamp: int, now: float) -> None:
        """Take the newest frame's stamp, ns, at a steady time, s."""
        # Another simulation; a clock that goes back bit by bit is one, too, and must not leave the
        # car without commands until it has caught up.
        if stamp < max(self.newest, self._commanded) - NANOSECONDS:
            self._commanded = -1
        self.newest, self.newest_at = stamp, now

    def answered(self, stamp: int) -> bool:
        """
        Whether a frame must not be commanded (again).

        The watchdog may have braked for it, or the simulation have gone on without a command: a
        late one would be taken for the next frame's. One from far ahead of the clock is no frame,
        and would have all before it taken for answered.
        """
        if not self.counted:
            return False
        return (
            stamp <= self._commanded + self._half_tick
            or stamp < self.newest - self._half_tick
            or stamp > self.newest + NANOSECONDS
        )

    def command(self, stamp: int) -> None:
        """Take note of the command for a frame, by its stamp, ns."""
        self._commanded = stamp

    def spend(self) -> None:
        """
        Take note of a command that nobody asked for: one too many is the next frame's, but for a
        world that is paused.
        """
        waits = not self.running or self.newest > self._commanded + self._half_tick
        self._commanded = self.newest if waits else self.newest + self._tick
