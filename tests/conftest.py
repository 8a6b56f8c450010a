"""What all suites share: a clock that stands still until it is told to move, and settings as the template makes them."""

import os
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import pytest
from botocore.loaders import create_loader

from devkit import development
from switchboard import telemetry
from switchboard.settings import Settings

NOW = 1_800_000_000.0

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "STAGE": "prod",
        "TABLE_NAME": "switchboard-calls",
        "LIVE_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/switchboard-live",
        "AFTER_CALL_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/123456789012/switchboard-after-call",
        "PARAMETER_PATH": "/switchboard/switchboard",
        "VAPI_API_URL": "https://api.vapi.ai",
        "TWILIO_API_URL": "https://api.twilio.com",
        "SIGNATURE_SCHEME": "vapi-hmac",
        "SIGNATURE_TOLERANCE": "300",
        "ASSISTANT_ID": "",
        "FALLBACK_ASSISTANT_ID": development.ASSISTANT_ID,
        "PHONE_NUMBER_ID": development.PHONE_NUMBER_ID,
        "CONTROL_AUTHENTICATION": "true",
        "STORE_TRANSCRIPTS": "true",
        "TRANSCRIPT_HOURS": "24",
        "RETENTION_HOURS": "24",
        "VOICE_BUDGET_SECONDS": "8",
        "VOICE_WAY": "bypass",
        "VAPI_INBOUND_URL": "https://api.vapi.ai/twilio/inbound_call",
        "LADDER": "queue,human,apology",
        "QUEUE_MINUTES": "10",
        "MAX_CALLS": "10",
        "MAX_CALL_MINUTES": "30",
        "CALLER_HOURLY_CALLS": "20",
        "DAILY_CALLS": "1000",
        "WEB_CALLS": "true",
        "POWERTOOLS_SERVICE_NAME": "switchboard",
        "POWERTOOLS_METRICS_NAMESPACE": "Switchboard",
        "APOLOGY": "We are sorry, we cannot take your call right now.",
    }
)


# With `pytest -n`, and only then, pytest-xdist is asked for.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """The processes of `-n auto`, unless xdist's own variable says how many."""
    from tests import distribution

    return None if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") else distribution.processes()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share the tests out between the processes."""
    from tests import distribution

    config.option.loadscopereorder = False
    return distribution.Distribution(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests in the order in which they are to be shared out; in one process they stay in that of their files."""
    if hasattr(config, "workerinput"):
        from tests import distribution

        items.sort(key=lambda item: distribution.place(item.nodeid))


class Clock:
    """Epoch seconds that only a test moves."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@pytest.fixture(scope="session", autouse=True)
def services_read_once() -> Iterator[None]:
    """Every session of botocore reads its descriptions of services anew: nearly all that a test's own client costs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", cache(create_loader))
        yield


@pytest.fixture
def clock() -> Clock:
    """A clock that stands at a round moment."""
    return Clock()


@pytest.fixture
def settings() -> Settings:
    """What a stack with the template's defaults reads from its environment."""
    return Settings.from_env(ENVIRONMENT)


@pytest.fixture(autouse=True)
def no_metrics_left() -> Iterator[None]:
    """A function writes its metrics when an invocation ends; a test that calls below the handler leaves them behind."""
    yield
    telemetry.metrics.clear_metrics()
