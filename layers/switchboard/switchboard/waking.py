"""Warm when the phone rings: the first word of a call wakes the functions that the call will need later.

An `Invoke` that nobody waits for (https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html) makes Lambda start a
function that does not run, and costs one that does run a millisecond. Whom to wake is the template's to say.
"""

import json
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate

from switchboard import aws
from switchboard.budget import Overrun, limit
from switchboard.errors import Unavailable
from switchboard.telemetry import warn

EVENT = {"switchboard": "wake"}
PAYLOAD = json.dumps(EVENT).encode()
SECONDS = 0.3  # for all of them: a caller may be waiting, and a call goes on without


class Waker:
    """Who is to be woken, by name or ARN, in this order; perhaps nobody."""

    def __init__(self, functions: Sequence[str], client: Any) -> None:
        self._functions = functions
        self._client = client

    def warm(self) -> None:
        """Connect while the function starts, if there is anybody to wake."""
        if self._functions:
            aws.connect(self._client)

    def wake(self) -> None:
        """Start them. Whatever goes wrong is one line in the log, and takes no longer than `SECONDS`."""
        if not self._functions:
            return
        try:
            with limit(SECONDS):
                for name in self._functions:
                    self._invoke(name)
        except (Exception, Overrun) as error:  # noqa: BLE001 - it is only for the sake of time, and an answer is due
            warn("functions not woken", code=type(error).__name__)

    def _invoke(self, name: str) -> None:
        try:
            with aws.available("lambda"):
                self._client.invoke(FunctionName=name, InvocationType="Event", Payload=PAYLOAD)
        except Unavailable as error:
            # The next one may be another matter.
            warn("function not woken", code=str(error))


def wakeable[**P, R](
    handler: Callable[Concatenate[dict[str, Any], P], R],
) -> Callable[Concatenate[dict[str, Any], P], R | None]:
    """Let an invocation end at once that was only to wake this function: what there was to do was done by loading it.

    No request from outside can look like one: the API and the queues wrap what they are given.
    """

    @wraps(handler)
    def wrapper(event: dict[str, Any], /, *args: P.args, **kwargs: P.kwargs) -> R | None:
        return None if event == EVENT else handler(event, *args, **kwargs)

    return wrapper
