"""Secrets are changed over while requests come in: no genuine one is refused, and an old secret ends when it should."""

import base64
import itertools
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ConnectTimeoutError

from devkit import development
from devkit import secrets as keeper
from switchboard import line, signatures, webhook
from switchboard.errors import Refused
from switchboard.secrets import PUBLIC_BASE_URL, TWILIO_AUTH_TOKEN, VAPI_WEBHOOK, Secrets
from switchboard.settings import Settings
from tests.integration.conftest import BASE_URL, CALL_SID, Aws, House, message

NEW = "the-new-one"
ENVIRONMENTS = 8
REQUESTS = 1000
# Seconds, as promised: until everybody has learned a new secret, between two reads that a forged request may cause,
# that a known secret serves while SSM is down, that an old one is kept.
FRESH, FORCED, STALE, KEEP = 300, 60, 24 * 3600, 24 * 3600

# Sends one request, signed by a secret, to one execution environment; the status of its answer.
type Door = Callable[[House, Secrets, str], int]


def vapi(house: House, environment: Secrets, secret: str) -> int:
    """A message of Vapi that is only counted."""
    body = json.dumps({"message": message("hang", house.clock)})
    headers = signatures.sign(house.settings.scheme, body.encode(), secret, timestamp=int(house.clock()))
    event = {"rawPath": "/webhook/vapi", "headers": headers, "body": body}
    return int(webhook.respond(house.desk._replace(secrets=environment), event)["statusCode"])


def twilio(house: House, environment: Secrets, token: str) -> int:
    """A request of Twilio, as far as it is taken in."""
    fields = [("CallSid", CALL_SID), ("AccountSid", development.TWILIO_ACCOUNT_SID), ("CallStatus", "ringing")]
    signature = signatures.sign_twilio(f"{BASE_URL}/voice/status", fields, token)
    event = {
        "rawPath": "/voice/status",
        "headers": {"x-twilio-signature": signature},
        "body": base64.b64encode(urlencode(fields).encode()).decode(),
        "isBase64Encoded": True,
    }
    try:
        line.take_in(line.Line(house.settings, environment), event)
    except Refused as refused:
        return int(line.refuse(refused)["statusCode"])
    return 204


DOORS = [
    pytest.param(vapi, VAPI_WEBHOOK, development.VAPI_WEBHOOK_SECRET, id="vapi"),
    pytest.param(twilio, TWILIO_AUTH_TOKEN, development.TWILIO_AUTH_TOKEN, id="twilio"),
]


class Failing:
    """SSM that can be made not to answer."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.down = False
        self.requests = 0

    def get_parameters(self, **request: Any) -> Any:
        """Answer, or do not."""
        self.requests += 1
        if self.down:
            raise ConnectTimeoutError(endpoint_url="https://ssm")
        return self._client.get_parameters(**request)


def environment(house: House, client: Any, name: str = VAPI_WEBHOOK) -> Secrets:
    """A new execution environment, that reads its secrets as it starts."""
    made = Secrets(house.settings.parameter_path, (name, PUBLIC_BASE_URL), client, house.clock)
    made.warm()
    return made


def environments(house: House, name: str) -> list[Secrets]:
    """Several that were started at different moments, so that their caches are of any age."""
    made = []
    for _ in range(ENVIRONMENTS):
        made.append(environment(house, house.aws.ssm, name))
        house.clock.advance(FRESH / ENVIRONMENTS)
    return made


def rotate(house: House, name: str, value: str = NEW) -> None:
    """What `switchboard secrets rotate` does."""
    now = datetime.fromtimestamp(house.clock(), UTC)
    keeper.rotate(house.aws.ssm, stack(house.settings), name, value, keep_hours=KEEP / 3600, now=now)


def stack(settings: Settings) -> str:
    """The stack's name."""
    return settings.parameter_path.rpartition("/")[2]


@pytest.fixture(autouse=True)
def silent(capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand refusals print a thousand metrics, which nobody wants to see."""


@pytest.mark.parametrize(("door", "name", "old"), DOORS)
@pytest.mark.parametrize("flooded", [False, True], ids=["quiet", "flooded"])
def test_a_rotation_under_load_refuses_nothing_genuine(
    house: House, door: Door, name: str, old: str, flooded: bool
) -> None:
    """The order that `rotate` prints: store, wait for 5 minutes, change the sender over, and the old one ends."""
    chance = random.Random(3)
    pool = environments(house, name)
    stored = house.clock() + 200
    # When which secret is in use. Between the last two, retries and other assistants still come with the old one.
    phases = [(stored, [old]), (stored + FRESH, [old]), (stored + 1200, [old, NEW]), (stored + KEEP + 3600, [NEW])]
    step = [200 / 100, FRESH / 300, 900 / 400, (KEEP + 2400) / 200]
    refused: list[tuple[float, str]] = []
    sent = 0
    for number, (end, used) in enumerate(phases):
        if number == 1:
            rotate(house, name)
        while house.clock() < end - 1e-6:
            if flooded:
                door(house, chance.choice(pool), "forged")
            secret = chance.choice(used)
            if door(house, chance.choice(pool), secret) >= 400:
                refused.append((house.clock() - stored, "new" if secret == NEW else "old"))
            sent += 1
            house.clock.advance(step[number])

    assert sent == REQUESTS
    assert refused == []
    assert {door(house, one, old) for one in pool} <= {401, 403}


@pytest.mark.parametrize(("door", "name", "old"), DOORS)
def test_a_new_secret_is_taken_after_a_minute_although_nobody_waited(
    house: House, door: Door, name: str, old: str
) -> None:
    pool = environments(house, name)
    rotate(house, name)
    house.clock.advance(FORCED)

    assert [door(house, one, NEW) < 400 for one in pool] == [True] * ENVIRONMENTS
    assert [door(house, one, old) < 400 for one in pool] == [True] * ENVIRONMENTS


@pytest.mark.parametrize(("door", "name", "old"), DOORS)
def test_an_old_secret_ends_at_its_time_everywhere_at_once(house: House, door: Door, name: str, old: str) -> None:
    rotate(house, name)
    pool = environments(house, name)
    house.clock.advance(KEEP - FRESH - 1)
    assert all(door(house, one, old) < 400 for one in pool)

    house.clock.advance(1)
    assert all(door(house, one, old) in (401, 403) for one in pool)
    assert all(door(house, one, NEW) < 400 for one in pool)


@pytest.mark.parametrize(("door", "name", "old"), DOORS)
def test_a_secret_that_is_replaced_outright_is_refused_after_five_minutes_at_most(
    house: House, door: Door, name: str, old: str
) -> None:
    pool = environments(house, name)
    removed = house.clock()
    keeper.put(house.aws.ssm, stack(house.settings), name, NEW, now=datetime.fromtimestamp(removed, UTC))
    still = {one: removed for one in pool}
    while house.clock() < removed + FRESH:
        for one in pool:
            if door(house, one, old) < 400:
                still[one] = house.clock()
        house.clock.advance(FRESH / 20)

    assert all(last - removed < FRESH for last in still.values())
    assert len(set(still.values())) > 1  # each environment as its own cache ends
    assert all(door(house, one, old) in (401, 403) for one in pool)
    assert all(door(house, one, NEW) < 400 for one in pool)


def test_while_ssm_is_down_known_secrets_serve_for_a_day_and_then_it_is_an_outage(house: House) -> None:
    ssm = Failing(house.aws.ssm)
    one = environment(house, ssm)
    ssm.down = True
    began = house.clock()
    answers = set()
    while house.clock() <= began + STALE:
        answers.add(vapi(house, one, development.VAPI_WEBHOOK_SECRET))
        house.clock.advance(600)
    assert answers == {200}

    house.clock.advance(1)
    assert vapi(house, one, development.VAPI_WEBHOOK_SECRET) == 503
    ssm.down = False
    assert vapi(house, one, development.VAPI_WEBHOOK_SECRET) == 200


def test_an_environment_that_starts_while_ssm_is_down_says_so_and_recovers(house: House) -> None:
    ssm = Failing(house.aws.ssm)
    ssm.down = True
    one = environment(house, ssm)

    assert vapi(house, one, development.VAPI_WEBHOOK_SECRET) == 503
    ssm.down = False
    assert vapi(house, one, development.VAPI_WEBHOOK_SECRET) == 200


def test_a_secret_that_ends_while_ssm_is_down_ends_all_the_same(house: House) -> None:
    rotate(house, VAPI_WEBHOOK)
    ssm = Failing(house.aws.ssm)
    house.clock.advance(KEEP - 60)
    one = environment(house, ssm)
    ssm.down = True
    assert vapi(house, one, development.VAPI_WEBHOOK_SECRET) == 200

    house.clock.advance(60)
    assert vapi(house, one, development.VAPI_WEBHOOK_SECRET) == 401
    assert vapi(house, one, NEW) == 200


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
def test_a_flood_of_forged_requests_causes_one_read_a_minute_at_most(house: House, down: bool) -> None:
    ssm = Failing(house.aws.ssm)
    one = environment(house, ssm)
    ssm.down = down
    ssm.requests = 0
    reads: list[float] = []
    for _ in range(REQUESTS):
        before = ssm.requests
        assert vapi(house, one, "forged") == 401
        reads += [house.clock()] * (ssm.requests - before)
        house.clock.advance(1)

    assert REQUESTS / FORCED - 1 <= len(reads) <= REQUESTS / FORCED
    assert all(later - earlier >= FORCED for earlier, later in itertools.pairwise(reads))
    assert vapi(house, one, development.VAPI_WEBHOOK_SECRET) == 200


def test_what_is_refused_for_its_form_causes_no_read_but_the_usual_one(house: House, aws: Aws) -> None:
    one = environment(house, aws.ssm)
    aws.wire.take()
    for _ in range(100):
        event = {"rawPath": "/webhook/vapi", "headers": {"x-signature": "0" * 64}, "body": "{}"}
        assert webhook.respond(house.desk._replace(secrets=one), event)["statusCode"] == 401
        house.clock.advance(2.9)

    assert aws.wire.take() == []
