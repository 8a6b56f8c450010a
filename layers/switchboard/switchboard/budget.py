"""A limit in seconds for code that we do not own, on the main thread.

A thread could not be stopped: it would run on inside somebody else's invocation. A timer signal stops the code where it
is, between two Python instructions or inside a blocking system call.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Overrun(BaseException):
    """Time is up. Not an `Exception`, so that a tool's own `except Exception` does not swallow it."""


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise `Overrun` inside the block after `seconds`. Only on the main thread.

    Blocks nest: an inner one never lasts longer than what is left of the outer one, which goes on when it ends.
    """
    armed = True

    def stop(_signal: int, _frame: FrameType | None) -> None:
        if armed:
            raise Overrun

    began = time.monotonic()
    outer = signal.getitimer(signal.ITIMER_REAL)[0]
    previous = signal.signal(signal.SIGALRM, stop)
    try:
        # A second shot follows, in case the first is swallowed by a bare `except:`.
        signal.setitimer(signal.ITIMER_REAL, max(min(seconds, outer or seconds), 0.001), 0.2)
        try:
            yield
        finally:
            armed = False
    finally:
        # Outside the inner block, so that a shot in its last moment cannot leave the timer running.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        if outer:
            signal.setitimer(signal.ITIMER_REAL, max(outer - (time.monotonic() - began), 0.001), 0.2)
