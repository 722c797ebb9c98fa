"""Waits for what another thread or process does. Only what hangs takes all of the time."""

import time
from collections.abc import Callable

PATIENCE = 240
"""Seconds: two cores that other tests use beside may take four times as long as two free ones."""


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until a condition holds; fail where it takes longer than this."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
