"""One execution environment that stays warm: it is handed events one by one, and what it uses is read in between."""

import os
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from tests.benchmarks.rig.artefacts import Artefact
from tests.benchmarks.rig.runtime import LONGEST, Failed, Reading, Runtime, Watch

END = object()


class Environment:
    """A built function under the runtime client. A context manager; inside it the function is ready."""

    def __init__(self, runtime: Runtime, artefact: Artefact, env: dict[str, str], longest: float = LONGEST) -> None:
        self.artefact = artefact
        self.invocations = 0
        self.init = Reading()
        """What it had used when it was ready."""
        self._events: SimpleQueue[Any] = SimpleQueue()
        self._answers: SimpleQueue[Any] = SimpleQueue()
        self._ready = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._pid = self._log = 0
        self._failure: Failed | None = None
        watch = Watch(self._began, self._answers.put, longest)
        self._thread = threading.Thread(target=self._play, args=(runtime, env, watch), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure:
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.put(END)
        self._thread.join()

    def invoke(self, event: Any) -> Any:
        """Its answer to one event; `Failed` for whatever is none."""
        with self._one_at_a_time:
            if self._failure:
                raise self._failure
            self.invocations += 1
            self._ready.clear()
            self._events.put(event)
            answer = self._answers.get()
        if isinstance(answer, Failed):
            raise answer
        return answer

    def reading(self) -> Reading:
        """What it has used when it is done with the last event."""
        self._ready.wait()
        return Reading.of(self._pid)

    def logged(self, since: int = 0) -> bytes:
        """What it has written, from that byte on."""
        self._ready.wait()
        return os.pread(self._log, os.fstat(self._log).st_size - since, since)

    def _began(self, pid: int, log: int) -> None:
        self._pid, self._log = pid, log

    def _play(self, runtime: Runtime, env: dict[str, str], watch: Watch) -> None:
        try:
            runtime.play(self.artefact, self._asked(), env, count=False, watch=watch)
        except Failed as failed:
            self._failure = failed
            self._answers.put(failed)
        finally:
            self._ready.set()

    def _asked(self) -> Iterator[Any]:
        self.init = Reading.of(self._pid)
        while True:
            self._ready.set()
            event = self._events.get()
            if event is END:
                return
            yield event
