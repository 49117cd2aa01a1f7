"""Which frames of a simulation have had their command: each gets one, whoever gives it."""

NANOSECONDS = 1_000_000_000


class Frames:
    """
    The frames of ``/clock`` in lock-step; without it, or before the first of them, none is
    counted.

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
        self._commanded = -1
        self.set_period(period)

    @property
    def counted(self) -> bool:
        """Whether commands are counted against frames."""
        return self._lock_step and self.newest >= 0

    @property
    def waiting(self) -> bool:
        """Whether the newest frame has had no command yet."""
        return self.newest > self._commanded + self._half_tick

    def set_period(self, period: float) -> None:
        """Set the time of a frame, s."""
        self._half_tick = int(period * NANOSECONDS / 2)

    def clock(self, stamp: int, now: float) -> None:
        """Take the newest frame's stamp, ns, at a steady time, s."""
        if stamp < self.newest - NANOSECONDS:
            self._commanded = -1  # another simulation
        self.newest, self.newest_at = stamp, now

    def answered(self, stamp: int) -> bool:
        """
        Whether a frame must not be commanded (again).

        The watchdog may have braked for it, or the simulation have gone on without a command: a
        late one would be taken for the next frame's.
        """
        if not self.counted:
            return False
        return (
            stamp <= self._commanded + self._half_tick or stamp < self.newest - self._half_tick
        )

    def command(self, stamp: int) -> None:
        """Take note of the command for a frame, by its stamp, ns."""
        self._commanded = stamp
