"""The fake Twilio's phone numbers, held against Twilio's own library, which is made from the published specification."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from twilio.base.exceptions import TwilioRestException  # type: ignore[import-untyped]  # it has no types
from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped]  # it has no types
from twilio.http.response import Response  # type: ignore[import-untyped]  # it has no types
from twilio.rest import Client  # type: ignore[import-untyped]  # it has no types
from twilio.rest.api.v2010.account.incoming_phone_number import IncomingPhoneNumberContext  # type: ignore[import-untyped]  # it has no types

from devkit import development
from devkit.twilio_fake import TwilioFake
from devkit.twilio_numbers import FIELDS, Account, TwilioNumbers
from devkit.twilio_numbers_fake import UPDATE, Unknown

NUMBER = "+15550100199"
ACCOUNT, TOKEN = development.TWILIO_ACCOUNT_SID, development.TWILIO_AUTH_TOKEN
KEY_SID, KEY_SECRET = "SK" + "5e" * 16, "of-the-key"


class Redirected(TwilioHttpClient):  # type: ignore[misc]  # as above
    """The library's own client, sent to the fake."""

    def __init__(self, url: str) -> None:
        super().__init__(timeout=5)
        self._url = url

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        return super().request(method, url.replace("https://api.twilio.com", self._url), *args, **kwargs)


@pytest.fixture
def twilio() -> Iterator[TwilioFake]:
    with TwilioFake(keys={KEY_SID: KEY_SECRET}) as fake:
        yield fake


@pytest.fixture
def library(twilio: TwilioFake) -> Client:
    client: Any = Client
    made: Client = client(ACCOUNT, TOKEN, http_client=Redirected(twilio.url))
    return made


@pytest.fixture
def ours(twilio: TwilioFake) -> Iterator[TwilioNumbers]:
    client = TwilioNumbers(twilio.url, Account(ACCOUNT, ACCOUNT, TOKEN), local=True)
    yield client
    client.close()


def test_an_update_takes_the_published_fields_and_no_others() -> None:
    parameters = set(inspect.signature(IncomingPhoneNumberContext.update).parameters) - {"self"}

    assert {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower() for name in UPDATE} == parameters
    assert set(FIELDS.values()) <= UPDATE


def test_the_library_lists_fetches_and_updates(twilio: TwilioFake, library: Client) -> None:
    sid = twilio.numbers.add(NUMBER, voice_url="https://old.example.com")
    twilio.numbers.add("+15550100111")
    [found] = library.incoming_phone_numbers.list(phone_number=NUMBER)
    changed = library.incoming_phone_numbers(sid).update(voice_url="https://new.example.com", voice_method="GET")

    assert (found.sid, found.voice_url, found.voice_method) == (sid, "https://old.example.com", "POST")
    assert (changed.voice_url, changed.voice_method) == ("https://new.example.com", "GET")
    assert library.incoming_phone_numbers(sid).fetch().voice_url == "https://new.example.com"


def test_the_library_turns_over_the_pages(twilio: TwilioFake, library: Client) -> None:
    sids = [twilio.numbers.add(f"+155501001{place:02}") for place in range(7)]

    assert [one.sid for one in library.incoming_phone_numbers.list(page_size=3)] == sids


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"voice_url": "not a url"}, 21502),
        ({"voice_method": "PUT"}, 21403),
        ({"voice_application_sid": "AC" + "a" * 32}, 20001),
    ],
)
def test_a_value_that_is_none_is_refused(
    twilio: TwilioFake, library: Client, fields: dict[str, str], code: int
) -> None:
    sid = twilio.numbers.add(NUMBER)

    with pytest.raises(TwilioRestException) as refused:
        library.incoming_phone_numbers(sid).update(**fields)
    assert refused.value.code == code


def test_an_application_and_a_trunk_exclude_each_other_and_an_empty_text_takes_one_away(
    twilio: TwilioFake, ours: TwilioNumbers
) -> None:
    sid = twilio.numbers.add(NUMBER, trunk_sid="TK" + "a" * 32)
    ours.update(sid, {"voice_application_sid": "AP" + "a" * 32})
    number = dict(twilio.numbers.numbers[sid])
    ours.update(sid, {"voice_application_sid": ""})

    assert (number["voice_application_sid"], number["trunk_sid"]) == ("AP" + "a" * 32, None)
    assert twilio.numbers.numbers[sid]["voice_application_sid"] == ""


def test_a_form_of_another_type_or_with_other_fields_is_refused(twilio: TwilioFake) -> None:
    sid = twilio.numbers.add(NUMBER)
    url = f"{twilio.url}/2010-04-01/Accounts/{ACCOUNT}/IncomingPhoneNumbers/{sid}.json"
    as_json = httpx.post(url, json={"VoiceUrl": "https://a.example.com"}, auth=(ACCOUNT, TOKEN))
    unknown = httpx.post(url, data={"voice_url": "https://a.example.com"}, auth=(ACCOUNT, TOKEN))

    assert (as_json.status_code, unknown.status_code) == (400, 400)
    assert twilio.numbers.numbers[sid]["voice_url"] == ""


@pytest.mark.parametrize(
    ("user", "password", "status"),
    [(ACCOUNT, TOKEN, 200), (KEY_SID, KEY_SECRET, 200), (ACCOUNT, "wrong", 401), (KEY_SID, TOKEN, 401), ("", "", 401)],
)
def test_the_account_and_its_keys_may_ask(twilio: TwilioFake, user: str, password: str, status: int) -> None:
    url = f"{twilio.url}/2010-04-01/Accounts/{ACCOUNT}/IncomingPhoneNumbers.json"

    assert httpx.get(url, auth=(user, password)).status_code == status
    other = url.replace(ACCOUNT, "AC" + "0" * 32)
    assert httpx.get(other, auth=(user, password)).status_code == 401


def test_our_client_finds_the_number_and_none_that_only_contains_it(twilio: TwilioFake, ours: TwilioNumbers) -> None:
    twilio.numbers.add(NUMBER + "0")
    sid = twilio.numbers.add(NUMBER)
    found = ours.find(NUMBER)

    assert found
    assert found["sid"] == sid
    assert ours.find(NUMBER[:-1]) is None
    assert ours.listed() == [NUMBER + "0", NUMBER]


def test_another_company_reaches_only_numbers_of_the_account(twilio: TwilioFake) -> None:
    twilio.numbers.add(NUMBER)

    for account, basic, number in (
        (ACCOUNT, (ACCOUNT, "wrong"), NUMBER),
        ("AC" + "0" * 32, (ACCOUNT, TOKEN), NUMBER),
        (ACCOUNT, (ACCOUNT, TOKEN), "+15550100100"),
    ):
        with pytest.raises(Unknown):
            twilio.numbers.overwrite(account, basic, number, "https://vapi.example.com/in", sms=False)


def test_a_failure_has_a_known_way() -> None:
    with pytest.raises(ValueError, match="cannot fail"):
        TwilioFake().fail("POST", "politely")
