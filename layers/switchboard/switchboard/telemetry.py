"""What leaves a function besides its answer: log lines of allow-listed fields, and metrics. All names are here.

Phone numbers, words, arguments, URLs and secrets are in no field of the allow-list, so they cannot reach a log.
"""

import time
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit, single_metric

FIELDS = frozenset(
    {
        "attempt",
        "call_id",
        "call_sid",
        "code",
        "count",
        "delivery",
        "lane",
        "message_type",
        "milliseconds",
        "reason",
        "state",
        "status",
        "tool",
        "tool_call",
    }
)


class Count(StrEnum):
    """Every metric, in the namespace of the template."""

    WEBHOOK_RECEIVED = "WebhookReceived"
    SIGNATURE_REFUSED = "SignatureRefused"
    MESSAGE_REFUSED = "MessageRefused"
    MESSAGE_IGNORED = "MessageIgnored"
    HANG = "Hang"
    FALSE_TRIGGER = "FalseTrigger"
    UNAVAILABLE = "Unavailable"
    TOOL_ACCEPTED = "ToolAccepted"
    TOOL_SUCCEEDED = "ToolSucceeded"
    TOOL_FAILED = "ToolFailed"
    TOOL_UNKNOWN = "ToolUnknown"
    TOOL_EXPIRED = "ToolExpired"
    TOOL_CONFLICT = "ToolConflict"
    TOOL_MISSING = "ToolMissing"
    TOOL_REPEATED = "ToolRepeated"
    TOOL_REPLACED = "ToolReplaced"
    DELIVERED = "Delivered"
    DELIVERY_DROPPED = "DeliveryDropped"
    DELIVERY_UNDELIVERABLE = "DeliveryUndeliverable"
    INBOUND_ANSWERED = "InboundAnswered"
    INBOUND_APOLOGY = "InboundApology"
    FALLBACK_ANSWERED = "FallbackAnswered"  # written by functions/voice_fallback itself, which has no layer
    INBOUND_LADDER = "InboundLadder"
    QUEUE_ENTERED = "QueueEntered"
    QUEUE_LEFT = "QueueLeft"
    SLOT_TAKEN = "SlotTaken"
    SLOT_FREED = "SlotFreed"
    ACTIVE_CALLS = "ActiveCalls"
    TRANSFER_STARTED = "TransferStarted"
    TRANSFER_ENDED = "TransferEnded"
    VOICEMAIL_LEFT = "VoicemailLeft"
    CALL_PLACED = "CallPlaced"
    CALL_NOT_PLACED = "CallNotPlaced"
    RECONCILED = "Reconciled"


NAMESPACE = "Switchboard"  # the template's alarms read it

logger = Logger()
metrics = Metrics(namespace=NAMESPACE)


def log(event: str, /, **fields: Any) -> None:
    """Write one line about what happened. A field that is not allowed is left out, and its name is said instead."""
    logger.info(event, stacklevel=3, extra=_allowed(fields))


class Seldom:
    """Lets through one line a second, so that a flood of bad requests cannot become a flood of paid log lines."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = float("-inf")

    def log(self, event: str, /, **fields: Any) -> None:
        """Write the line, unless one was written less than a second ago. Metrics count what is left out."""
        now = self._clock()
        if now - self._last >= 1:
            self._last = now
            logger.info(event, stacklevel=3, extra=_allowed(fields))


def warn(event: str, /, **fields: Any) -> None:
    """Write one line about what should not have happened."""
    logger.warning(event, stacklevel=3, extra=_allowed(fields))


def _allowed(fields: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in fields.items() if name in FIELDS}
    if refused := sorted(fields.keys() - FIELDS):
        kept["left_out"] = refused
    return kept


def count(what: Count, reason: str = "") -> None:
    """Count one. With a `reason`, the same metric is also counted per reason."""
    metrics.add_metric(name=what, unit=MetricUnit.Count, value=1)
    if reason:
        with single_metric(name=what, unit=MetricUnit.Count, value=1, namespace=NAMESPACE) as metric:
            metric.add_dimension(name="reason", value=reason)


def gauge(what: Count, value: int) -> None:
    """Say how many there are now, of what is not counted one by one."""
    metrics.add_metric(name=what, unit=MetricUnit.Count, value=value)


def measured[**P, R](handler: Callable[P, R]) -> Callable[P, R]:
    """Write the metrics of an invocation when it ends, however it ends."""

    @wraps(handler)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        finally:
            if metrics.metric_set:
                metrics.flush_metrics()

    return wrapper
