"""SnapStart's hooks: nothing of before counts afterwards, and a rehearsal leaves no trace."""

import gc
import random
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import pytest

from switchboard import aws, phone, rehearsals, routes, signatures, snapshots, telemetry, trust, webhook
from switchboard.callbacks import Attendant, respond
from switchboard.desk import Agent, Desk
from switchboard.phone import Exchange
from switchboard.queue import Queue
from switchboard.rehearsals import Failed
from switchboard.secrets import TWILIO_AUTH_TOKEN, VAPI_WEBHOOK, Secrets
from switchboard.settings import Settings
from switchboard.snapshots import Rehearsal
from switchboard.store import Store
from switchboard.tools import Toolbox
from tests.conftest import ENVIRONMENT, Clock


class Hooks:
    """`snapshot_restore_py`, which only Lambda's runtime has; the contract tests use the real one."""

    def __init__(self) -> None:
        self.before: list[Callable[[], None]] = []
        self.after: list[Callable[[], None]] = []

    def register_before_snapshot(self, func: Callable[..., None], *args: Any) -> None:
        self.before.append(lambda: func(*args))

    def register_after_restore(self, func: Callable[..., None], *args: Any) -> None:
        self.after.append(lambda: func(*args))


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Hooks:
    """A start from a snapshot."""
    made, module = Hooks(), ModuleType("snapshot_restore_py")
    module.__dict__.update(
        register_before_snapshot=made.register_before_snapshot, register_after_restore=made.register_after_restore
    )
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", module)
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    return made


class Ssm:
    """One parameter, and how often it was read."""

    def __init__(self) -> None:
        self.reads = 0

    def get_parameters(self, **request: Any) -> dict[str, Any]:
        self.reads += 1
        return {"Parameters": [{"Name": "/test/public-base-url", "Value": f"https://{self.reads}.example"}]}


@pytest.fixture
def ssm() -> Ssm:
    return Ssm()


@pytest.fixture
def secrets(ssm: Ssm, clock: Clock) -> Secrets:
    return Secrets("/test", ("public-base-url",), ssm, clock)


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """That AWS's clients were told to forget."""
    found: list[str] = []
    monkeypatch.setattr(aws, "forget", lambda: found.append("aws"))
    return found


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    """What a test has frozen can be collected again."""
    yield
    gc.unfreeze()


@pytest.mark.parametrize("kind", ["on-demand", "provisioned-concurrency", ""])
def test_an_ordinary_start_warms_at_once_and_rehearses_nothing(
    monkeypatch: pytest.MonkeyPatch, secrets: Secrets, kind: str
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", kind)
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)
    done: list[str] = []

    snapshots.ready(secrets, lambda: done.append("one"), lambda: done.append("two"), rehearsal=rehearsal({}))

    assert done == ["one", "two"]


def test_a_snapshot_is_taken_cold_and_each_start_from_it_warms(
    hooks: Hooks, secrets: Secrets, forgotten: list[str]
) -> None:
    done: list[str] = []
    snapshots.ready(secrets, lambda: done.append("one"), lambda: done.append("two"))
    for hook in hooks.before:
        hook()
    cold = list(done)
    for hook in hooks.after:
        hook()

    assert cold == []
    assert done == ["one", "two"]
    assert forgotten == ["aws", "aws"]


@pytest.mark.parametrize("side", ["before", "after"])
def test_secrets_are_forgotten_on_both_sides_of_a_snapshot(hooks: Hooks, ssm: Ssm, secrets: Secrets, side: str) -> None:
    snapshots.ready(secrets)
    secrets.warm()
    for hook in getattr(hooks, side):
        hook()

    assert secrets.text("public-base-url") == "https://2.example"


def test_after_a_start_warming_reads_what_is_valid_then(hooks: Hooks, ssm: Ssm, secrets: Secrets) -> None:
    snapshots.ready(secrets, secrets.warm)
    secrets.warm()
    for hook in hooks.after:
        hook()

    assert ssm.reads == 2
    assert secrets.text("public-base-url") == "https://2.example"


def test_two_starts_from_one_snapshot_do_not_draw_the_same(hooks: Hooks, secrets: Secrets) -> None:
    snapshots.ready(secrets)
    taken = random.getstate()
    drawn = []
    for _ in range(2):
        random.setstate(taken)
        for hook in hooks.after:
            hook()
        drawn.append(random.random())

    assert drawn[0] != drawn[1]


def test_openssl_is_given_new_randomness_after_each_start(
    hooks: Hooks, secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its own state is part of the snapshot: two handshakes from it would otherwise begin with the same keys.
    added: list[tuple[bytes, float]] = []
    monkeypatch.setattr(ssl, "RAND_add", lambda data, entropy: added.append((data, entropy)))
    snapshots.ready(secrets)
    for hook in hooks.after * 2:
        hook()

    assert [(len(data), entropy) for data, entropy in added] == [(32, 32)] * 2
    assert added[0] != added[1]


def test_whom_we_trust_is_read_before_the_snapshot(hooks: Hooks, secrets: Secrets) -> None:
    trust.context.cache_clear()
    snapshots.ready(secrets)
    for hook in hooks.before:
        hook()

    assert trust.context.cache_info().currsize == 1


def test_what_is_there_at_the_snapshot_is_left_out_of_collections(hooks: Hooks, secrets: Secrets) -> None:
    snapshots.ready(secrets)
    for hook in hooks.before:
        hook()

    assert gc.get_freeze_count() > 1000


def test_a_step_that_fails_is_not_hidden(hooks: Hooks, secrets: Secrets) -> None:
    def broken() -> None:
        raise RuntimeError("not warm")

    snapshots.ready(secrets, broken)

    with pytest.raises(RuntimeError, match="not warm"):
        hooks.after[0]()


# Rehearsals


def rehearsal(answer: Mapping[str, Any]) -> Rehearsal:
    return Rehearsal(lambda desk, event: answer, Desk._make([None] * len(Desk._fields)), "/webhook/vapi")


class Untouchable:
    """Whatever is asked of it fails the test: the real AWS, Vapi and Twilio."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a rehearsal has reached for {name}")


def nobody(*_: object) -> Any:
    raise AssertionError("a rehearsal has asked the agent")


REAL = Untouchable()
QUEUE, STORE, AGENT = Queue("", REAL), Store("", REAL), Agent(Toolbox(), nobody, nobody)
SETTINGS: dict[str, dict[str, str]] = {
    "as the template has them": {},
    "closed to others": {"ALLOWED_ORG_IDS": "org-1,org-2", "ALLOWED_ASSISTANT_IDS": "a-1"}
    | {"TWILIO_ACCOUNT_SIDS": "AC" + "d0" * 16},
    **{f"scheme {name}": {"SIGNATURE_SCHEME": name} for name in signatures.PRESETS},
    **{f"way {way}": {"VOICE_WAY": way, "SIP_URI": "sip:a@sip.vapi.ai"} for way in ("sip", "redirect")},
}


def desk_of(name: str, settings: Settings) -> Rehearsal:
    webhooks = Secrets("", (VAPI_WEBHOOK,), REAL)
    phones = Secrets("", (TWILIO_AUTH_TOKEN,), REAL)
    client: Any = REAL
    match name:
        case "webhook":
            return Rehearsal(webhook.respond, Desk(settings, webhooks, STORE, QUEUE, QUEUE, AGENT), "/webhook/vapi")
        case "phone":
            made = Exchange(settings, phones, STORE, QUEUE, client, AGENT)
            return Rehearsal(phone.answer_call, made, routes.DEQUEUED)
        case _:
            return Rehearsal(respond, Attendant(settings, phones, STORE, QUEUE, client), routes.MUSIC)


@pytest.mark.parametrize("name", ["webhook", "phone", "callbacks"])
@pytest.mark.parametrize("changed", SETTINGS.values(), ids=SETTINGS)
def test_a_rehearsal_is_answered_and_reaches_nobody(
    name: str, changed: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    rehearsals.play(desk_of(name, Settings.from_env({**ENVIRONMENT, **changed})))
    shown = capsys.readouterr()

    assert (shown.out, shown.err) == ("", "")
    assert not telemetry.metrics.metric_set


def test_a_function_that_does_not_answer_is_not_published(hooks: Hooks, secrets: Secrets, settings: Settings) -> None:
    snapshots.ready(secrets, rehearsal=rehearsal({"statusCode": 503})._replace(desk=desk_of("webhook", settings).desk))

    with pytest.raises(Failed, match=r"^/webhook/vapi is answered 503$"):
        hooks.before[0]()
