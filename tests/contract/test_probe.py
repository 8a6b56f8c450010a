"""Whether Vapi signs as the stack expects: seen when Vapi sends something, and said to be unknown when it does not."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from devkit import development
from devkit.vapi_sender_fake import proof
from switchboard.errors import SignatureRefused
from switchboard.signatures import Secret, verify
from tests import connecting
from tests.connecting import STACK, World

ARRIVED = "verified: a message that Vapi has signed itself has arrived"


@pytest.fixture
def world() -> Iterator[World]:
    with connecting.world() as made:
        made._client("dynamodb").create_table(
            TableName=f"{STACK}-calls",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        )
        made.vapi.tell = Stack(made).told
        # A control URL on loopback is one of Vapi's only for the stack on this machine.
        made.parameters |= {"Stage": "local", "VapiApiUrl": made.vapi.url, "TwilioApiUrl": made.twilio.url}
        yield made


class Stack:
    """Takes what Vapi sends, as the functions do: what verifies leaves a session, what does not leaves a line."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.logs = world._client("logs")
        self.group = f"/aws/lambda/{STACK}-vapi-webhook"
        self.logs.create_log_group(logGroupName=self.group)
        self.logs.create_log_stream(logGroupName=self.group, logStreamName="s")

    def told(self, call: dict[str, Any]) -> None:
        """A call begins, and Vapi tells the server of its assistant."""
        server = self.world.vapi.account.objects["assistant"][call["assistantId"]]["server"]
        credential = self.world.vapi.account.objects["credential"][server["credentialId"]]
        now = time.time()
        headers = proof(credential["authenticationPlan"], b"{}", round(now), "msg_1")
        secret = Secret("s", self.world.secrets["vapi-webhook"])
        try:
            verify(self.world.known.scheme, headers, b"{}", [secret], now=now, tolerance=300)
        except SignatureRefused as refused:
            line = json.dumps({"message": "signature refused", "reason": refused.reason})
            event = {"timestamp": int(now * 1000) + 1000, "message": line}
            self.logs.put_log_events(logGroupName=self.group, logStreamName="s", logEvents=[event])
            return
        item = {"pk": {"S": f"CALL#{call['id']}"}, "sk": {"S": "META"}}
        self.world._client("dynamodb").put_item(TableName=f"{STACK}-calls", Item=item)


def test_a_message_that_vapi_has_signed_is_seen_to_arrive(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.connect(probing=True) == 0
    assert ARRIVED in capsys.readouterr().out.splitlines()


def test_a_credential_that_was_made_by_hand_is_seen_to_sign(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    plan = {"type": "hmac", "secretKey": development.VAPI_WEBHOOK_SECRET, "algorithm": "sha256"}
    id = world.vapi.account.add("credential", {"provider": "custom-credential", "authenticationPlan": plan})
    world.vapi.account.credentials_offered = False

    assert world.connect(probing=True, credential_id=id) == 0
    assert ARRIVED in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"secretKey": "another"}, "the signature was made with another secret"),
        ({"signatureHeader": "x-other"}, "the signature's header is missing or empty"),
        ({"signatureEncoding": "base64"}, "the signature is not of the form that the scheme has"),
    ],
)
def test_a_credential_that_was_made_wrong_is_refused_and_the_refusal_explained(
    world: World, capsys: pytest.CaptureFixture[str], change: dict[str, str], told: str
) -> None:
    plan = {"type": "hmac", "secretKey": development.VAPI_WEBHOOK_SECRET, "algorithm": "sha256"} | change
    id = world.vapi.account.add("credential", {"provider": "custom-credential", "authenticationPlan": plan})
    world.vapi.account.credentials_offered = False

    assert world.connect(probing=True, credential_id=id) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("FAILED: a message was refused meanwhile. Refused because ")
    assert told in last


def test_an_old_refusal_proves_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    line = json.dumps({"message": "signature refused", "reason": "signature_mismatch"})
    event = {"timestamp": int(time.time() * 1000) - 60_000, "message": line}
    group = f"/aws/lambda/{STACK}-vapi-webhook"
    world._client("logs").put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])
    world.vapi.tell = lambda call: None

    assert world.connect(probing=True) == 0
    assert "note: nothing of Vapi's has arrived yet" in capsys.readouterr().out


def test_the_call_of_nobodys_is_ended(world: World) -> None:
    world.connect(probing=True)
    [call] = world.vapi.calls.values()

    assert call["status"] == "ended"


def test_it_may_send_its_message_only_when_the_call_is_ended(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    tell, change = world.vapi.tell, world.vapi._change
    world.vapi.tell = lambda call: None

    def ending(call: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        tell(call)
        return change(call, changes)

    world.vapi._change = ending  # type: ignore[method-assign]  # a test's own end of a call
    world.connect(probing=True)

    assert ARRIVED in capsys.readouterr().out.splitlines()


def test_where_vapi_makes_no_such_call_that_is_said(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.vapi.fail("call", "refuse")

    assert world.connect(probing=True) == 0
    assert "note: Vapi's own signature was not tried: Vapi answered 400 to POST /call" in capsys.readouterr().out


def test_it_is_tried_when_it_may_sign_anew_and_not_each_time(world: World) -> None:
    world.connect(probing=True)
    world.connect(probing=True)
    calls = len(world.vapi.calls)
    world.secrets["vapi-webhook"], world.secret_id = "another-secret-of-our-own", "second"
    world.connect(probing=True)

    assert (calls, len(world.vapi.calls)) == (1, 2)
