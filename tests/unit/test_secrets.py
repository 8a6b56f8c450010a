"""Secrets from SSM: several at once, cached, stale rather than missing, re-read when a signature fails."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from switchboard.errors import SignatureRefused, Unavailable
from switchboard.secrets import PUBLIC_BASE_URL, VAPI_API_KEY, VAPI_WEBHOOK, Secrets
from switchboard.signatures import Secret
from tests.conftest import NOW, Clock

PATH = "/switchboard/test"


def listed(*secrets: str, **fields: Any) -> str:
    return json.dumps([{"id": f"id-{secret}", "secret": secret, **fields} for secret in secrets])


class Ssm:
    """SSM as far as it is used: parameters by name, and the requests that were made for them."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = dict(values)
        self.requests: list[dict[str, Any]] = []
        self.down: Exception | None = None

    def get_parameters(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        if self.down:
            raise self.down
        names = [name for name in request["Names"] if name.rpartition("/")[2] in self.values]
        return {"Parameters": [{"Name": name, "Value": self.values[name.rpartition("/")[2]]} for name in names]}


OUTAGE = ConnectTimeoutError(endpoint_url="https://ssm")


@pytest.fixture
def ssm() -> Ssm:
    return Ssm({VAPI_WEBHOOK: listed("one"), PUBLIC_BASE_URL: "https://voice.example.com"})


@pytest.fixture
def secrets(ssm: Ssm, clock: Clock) -> Secrets:
    return Secrets(PATH, (VAPI_WEBHOOK, VAPI_API_KEY, PUBLIC_BASE_URL), ssm, clock)


def values(secrets: Secrets) -> list[str]:
    return [secret.value for secret in secrets.active(VAPI_WEBHOOK)]


def test_all_parameters_are_read_in_one_request_and_decrypted(ssm: Ssm, secrets: Secrets) -> None:
    assert secrets.active(VAPI_WEBHOOK) == [Secret("id-one", "one")]
    assert secrets.text(PUBLIC_BASE_URL) == "https://voice.example.com"
    assert ssm.requests == [
        {
            "Names": [f"{PATH}/vapi-webhook", f"{PATH}/vapi-api-key", f"{PATH}/public-base-url"],
            "WithDecryption": True,
        }
    ]


def test_what_is_not_set_is_empty(secrets: Secrets) -> None:
    assert secrets.active(VAPI_API_KEY) == []
    assert secrets.first(VAPI_API_KEY) == ""
    assert secrets.text("no-such-parameter") == ""


def test_requests_of_our_own_carry_the_newest_valid_secret(ssm: Ssm, secrets: Secrets) -> None:
    ssm.values[VAPI_API_KEY] = listed("old", "new")

    assert secrets.first(VAPI_API_KEY) == "new"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        "5",
        '"plain"',
        "a secret pasted without its list",
        '{"id":"a","secret":"b"}',
        "[1]",
        '["b"]',
        "[null]",
        '[{"id":"a"}]',
        '[{"secret":"b"}]',
        '[{"id":"a","secret":""}]',
        '[{"id":"a","secret":null}]',
        '[{"id":"a","secret":"b","not_after":"soon"}]',
        '[{"id":"a","secret":"b","not_after":[1]}]',
        '[{"id":"good","secret":"b"},{"id":"a"}]',
        '[{"id":"a","secret":"b","not_after":NaN}]',
        f'[{{"id":"a","secret":"b","not_after":{"9" * 400}}}]',
    ],
)
def test_a_parameter_that_somebody_typed_wrong_is_as_good_as_none(ssm: Ssm, secrets: Secrets, text: str) -> None:
    ssm.values[VAPI_WEBHOOK] = text

    assert secrets.active(VAPI_WEBHOOK) == []


@pytest.mark.parametrize(
    ("not_after", "valid"),
    [(NOW + 1, True), (NOW, False), (NOW - 1, False), (None, True), (0, True), (str(int(NOW) + 1), True)],
)
def test_a_secret_is_valid_until_its_time_is_over(ssm: Ssm, secrets: Secrets, not_after: Any, valid: bool) -> None:
    ssm.values[VAPI_WEBHOOK] = listed("one", not_after=not_after)

    assert values(secrets) == (["one"] if valid else [])


def test_a_secret_ends_on_time_although_it_is_cached(ssm: Ssm, secrets: Secrets, clock: Clock) -> None:
    ssm.values[VAPI_WEBHOOK] = json.dumps(
        [{"id": "a", "secret": "old", "not_after": NOW + 10}, {"id": "b", "secret": "new"}]
    )
    assert values(secrets) == ["old", "new"]

    clock.advance(10)

    assert values(secrets) == ["new"]
    assert len(ssm.requests) == 1


# The cache


def test_values_are_used_for_five_minutes_without_asking(ssm: Ssm, secrets: Secrets, clock: Clock) -> None:
    assert values(secrets) == ["one"]
    ssm.values[VAPI_WEBHOOK] = listed("two")

    clock.advance(299.9)
    assert values(secrets) == ["one"]
    assert len(ssm.requests) == 1

    clock.advance(0.1)
    assert values(secrets) == ["two"]
    assert len(ssm.requests) == 2


def test_a_parameter_that_was_deleted_is_gone_after_the_next_read(ssm: Ssm, secrets: Secrets, clock: Clock) -> None:
    assert values(secrets) == ["one"]
    del ssm.values[VAPI_WEBHOOK]

    clock.advance(300)

    assert values(secrets) == []


def test_reading_ahead_saves_the_first_caller_the_wait(ssm: Ssm, secrets: Secrets) -> None:
    secrets.warm()
    assert len(ssm.requests) == 1

    assert values(secrets) == ["one"]
    assert len(ssm.requests) == 1


def test_a_failure_while_reading_ahead_is_met_on_the_request(ssm: Ssm, secrets: Secrets) -> None:
    ssm.down = OUTAGE
    secrets.warm()

    with pytest.raises(Unavailable, match="ConnectTimeoutError"):
        secrets.active(VAPI_WEBHOOK)

    ssm.down = None
    assert values(secrets) == ["one"]


def test_every_kind_of_failure_is_an_outage_without_content(ssm: Ssm, secrets: Secrets) -> None:
    ssm.down = ClientError({"Error": {"Code": "ThrottlingException", "Message": "private"}}, "GetParameters")

    with pytest.raises(Unavailable) as error:
        secrets.text(PUBLIC_BASE_URL)

    assert str(error.value) == "secrets: ThrottlingException"


def test_while_ssm_is_down_old_values_serve_and_it_is_asked_once_a_minute(
    ssm: Ssm, secrets: Secrets, clock: Clock
) -> None:
    assert values(secrets) == ["one"]
    ssm.down = OUTAGE
    clock.advance(300)

    assert values(secrets) == ["one"]
    assert len(ssm.requests) == 2
    clock.advance(59.9)
    assert values(secrets) == ["one"]
    assert len(ssm.requests) == 2
    clock.advance(0.1)
    assert values(secrets) == ["one"]
    assert len(ssm.requests) == 3


def test_old_values_serve_for_a_day_and_not_longer(ssm: Ssm, secrets: Secrets, clock: Clock) -> None:
    assert values(secrets) == ["one"]
    ssm.down = OUTAGE

    clock.advance(24 * 3600)
    assert values(secrets) == ["one"]

    clock.advance(60)
    for _ in range(3):
        with pytest.raises(Unavailable):
            secrets.active(VAPI_WEBHOOK)
        clock.advance(1)


def test_values_that_are_a_day_and_a_second_old_are_not_believed(ssm: Ssm, secrets: Secrets, clock: Clock) -> None:
    assert values(secrets) == ["one"]
    ssm.down = OUTAGE
    clock.advance(24 * 3600 + 1)

    with pytest.raises(Unavailable):
        secrets.active(VAPI_WEBHOOK)


def test_when_ssm_is_back_its_values_are_used(ssm: Ssm, secrets: Secrets, clock: Clock) -> None:
    assert values(secrets) == ["one"]
    ssm.down = OUTAGE
    clock.advance(2 * 24 * 3600)
    with pytest.raises(Unavailable):
        secrets.active(VAPI_WEBHOOK)

    ssm.down = None
    ssm.values[VAPI_WEBHOOK] = listed("two")
    clock.advance(60)

    assert values(secrets) == ["two"]


# A signature that fails may mean that the secret is new


def verified(secrets: Secrets, by: str, reason: str = "signature_mismatch") -> str:
    """Run a check that only the secret `by` passes."""

    def check() -> str:
        if by not in values(secrets):
            raise SignatureRefused(reason)
        return by

    return secrets.checked(check)


def test_a_check_that_passes_asks_for_nothing_more(ssm: Ssm, secrets: Secrets, clock: Clock) -> None:
    assert verified(secrets, "one") == "one"
    clock.advance(100)
    assert verified(secrets, "one") == "one"

    assert len(ssm.requests) == 1


@pytest.mark.parametrize("reason", ["signature_mismatch", "no_secret"])
def test_a_rotated_secret_is_found_as_soon_as_it_is_used(ssm: Ssm, secrets: Secrets, clock: Clock, reason: str) -> None:
    assert values(secrets) == ["one"]
    ssm.values[VAPI_WEBHOOK] = listed("one", "two")
    clock.advance(60)

    assert verified(secrets, "two", reason) == "two"
    assert len(ssm.requests) == 2


@pytest.mark.parametrize(
    "reason",
    [
        "signature_missing",
        "signature_malformed",
        "signature_prefix",
        "timestamp_missing",
        "timestamp_stale",
        "timestamp_future",
        "message_id_malformed",
    ],
)
def test_what_no_secret_could_mend_is_refused_without_asking(
    ssm: Ssm, secrets: Secrets, clock: Clock, reason: str
) -> None:
    assert values(secrets) == ["one"]
    ssm.values[VAPI_WEBHOOK] = listed("two")
    clock.advance(60)

    with pytest.raises(SignatureRefused, match=reason):
        verified(secrets, "two", reason)
    assert len(ssm.requests) == 1


@pytest.mark.parametrize("reason", ["signature_mismatch", "timestamp_stale"])
def test_a_check_is_not_repeated_with_the_same_secrets(secrets: Secrets, reason: str) -> None:
    assert values(secrets) == ["one"]
    checks = 0

    def check() -> str:
        nonlocal checks
        checks += 1
        raise SignatureRefused(reason)

    with pytest.raises(SignatureRefused):
        secrets.checked(check)
    assert checks == 1


def test_forged_requests_cause_one_read_a_minute_however_many_come(ssm: Ssm, secrets: Secrets, clock: Clock) -> None:
    assert values(secrets) == ["one"]
    for _ in range(180):
        clock.advance(1)
        with pytest.raises(SignatureRefused):
            verified(secrets, "forged")

    assert len(ssm.requests) == 1 + 3


def test_forged_requests_cause_no_read_right_after_an_ordinary_one(ssm: Ssm, secrets: Secrets, clock: Clock) -> None:
    assert values(secrets) == ["one"]
    clock.advance(59.9)

    with pytest.raises(SignatureRefused):
        verified(secrets, "forged")
    assert len(ssm.requests) == 1


def test_a_forged_request_while_ssm_is_down_is_refused_and_not_an_outage(
    ssm: Ssm, secrets: Secrets, clock: Clock
) -> None:
    assert values(secrets) == ["one"]
    ssm.down = OUTAGE
    clock.advance(60)

    with pytest.raises(SignatureRefused):
        verified(secrets, "forged")
    assert len(ssm.requests) == 2
    assert values(secrets) == ["one"]


def test_after_a_long_sleep_nothing_of_before_is_trusted_whatever_the_clock_says(
    ssm: Ssm, secrets: Secrets, clock: Clock
) -> None:
    assert values(secrets) == ["one"]
    ssm.values[VAPI_WEBHOOK] = listed("two")
    clock.advance(-3600)
    secrets.forget()

    assert values(secrets) == ["two"]


def test_what_was_forgotten_does_not_serve_while_ssm_is_down(ssm: Ssm, secrets: Secrets) -> None:
    assert values(secrets) == ["one"]
    secrets.forget()
    ssm.down = OUTAGE

    with pytest.raises(Unavailable):
        secrets.active(VAPI_WEBHOOK)
