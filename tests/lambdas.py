"""Lambda, as far as cold starts go: environments that work on one invocation at a time, are started when none is free, and
stay for a while. Time is a clock's: whoever waits for an answer waits for the start too.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import botocore.session
from botocore.model import Shape
from botocore.validate import ParamValidator

from switchboard import waking
from tests.conftest import Clock

START = 1.2  # seconds of a cold start
WARM = 0.002  # seconds of an invocation that does nothing
KEPT = 300.0  # seconds that an environment is kept for the next one; AWS promises none


@cache
def _invoke() -> Shape:
    shape = botocore.session.get_session().get_service_model("lambda").operation_model("Invoke").input_shape
    assert shape
    return shape


class Invocation(NamedTuple):
    """What was run where, and whether it had to wait for a start."""

    function: str
    what: str
    cold: bool


@dataclass
class Environment:
    """`free` is the moment from which it can take the next invocation."""

    free: float


class Lambdas:
    """All functions of one stack, by name. None of them runs yet."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ran: list[Invocation] = []
        self.woken: Counter[str] = Counter()
        self.environments: dict[str, list[Environment]] = defaultdict(list)

    def run[T](self, function: str, what: str, body: Callable[[], T]) -> T:
        """An invocation whose caller waits, from now on; `body` may let the clock go on."""
        environment, self._clock.now = self._begin(function, what)
        try:
            return body()
        finally:
            environment.free = self._clock.now

    def invoke(self, **request: Any) -> dict[str, Any]:
        """Lambda's `Invoke` as a function calls it, with what botocore would let through."""
        report = ParamValidator().validate(request, _invoke())
        assert not report.has_errors(), report.generate_report()
        assert (request["InvocationType"], request["Payload"]) == ("Event", waking.PAYLOAD)
        environment, started = self._begin(request["FunctionName"], "wake")
        environment.free = started + WARM
        self.woken[request["FunctionName"]] += 1
        return {"StatusCode": 202}

    def cold(self, *whats: str) -> list[Invocation]:
        """Those that had to wait for a start."""
        return [one for one in self.ran if one.cold and one.what in whats]

    def _begin(self, function: str, what: str) -> tuple[Environment, float]:
        """The environment that takes an invocation, busy from now on, and when its code begins."""
        now = self._clock()
        known = self.environments[function]
        free = next((one for one in known if one.free <= now < one.free + KEPT), None)
        self.ran.append(Invocation(function, what, cold=free is None))
        taken = free or Environment(now)
        if free is None:
            known.append(taken)
        taken.free = float("inf")
        return taken, now if free else now + START
