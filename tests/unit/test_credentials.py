"""Keys that end: asked for in time, kept while they work, never taken from elsewhere than this machine."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.utils import ContainerMetadataFetcher

from switchboard import credentials
from switchboard.credentials import EARLY, PATIENCE, Container
from switchboard.errors import SettingsError
from switchboard.https import Lost, Unreached
from switchboard.signed import Keys, Unreachable
from tests.conftest import NOW, Clock

URL = "http://127.0.0.1:9001/2021-04-23/credentials"
HOUR = 3600


def answered(number: int, until: float, **changed: Any) -> bytes:
    end = datetime.fromtimestamp(until, UTC).isoformat().replace("+00:00", "Z")
    fields = {
        "AccessKeyId": f"AKID{number}",
        "SecretAccessKey": f"secret{number}",
        "Token": f"token{number}",
        "Expiration": end,
    }
    return json.dumps({name: value for name, value in (fields | changed).items() if value is not None}).encode()


def keys(number: int) -> Keys:
    return Keys(f"AKID{number}", f"secret{number}", f"token{number}")


class Endpoint:
    """Answers or fails in turn, and the last answer again and again."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []

    def __call__(self, url: str, token: str) -> bytes:
        self.asked.append((url, token))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def container(endpoint: Endpoint, clock: Clock) -> Container:
    return Container(URL, "proof", clock=clock, ask=endpoint)


def test_keys_are_asked_for_once_and_kept_until_shortly_before_their_end(clock: Clock) -> None:
    endpoint = Endpoint(answered(1, NOW + HOUR), answered(2, NOW + 2 * HOUR))
    made = container(endpoint, clock)
    first = made()
    clock.now = NOW + HOUR - EARLY - 1
    still = made()
    clock.now += 1
    then = made()

    assert (first, still, then) == (keys(1), keys(1), keys(2))
    assert endpoint.asked == [(URL, "proof")] * 2


def test_old_keys_serve_while_there_are_no_new_ones_and_those_are_asked_for_now_and_then(clock: Clock) -> None:
    endpoint = Endpoint(answered(1, NOW + HOUR), Unreached(), Lost("ReadTimeout"), answered(2, NOW + 2 * HOUR))
    made = container(endpoint, clock)
    made()
    clock.now = NOW + HOUR - EARLY
    served = [made(), made()]
    clock.now += PATIENCE - 1
    served.append(made())
    asked = len(endpoint.asked)
    clock.now += 1
    served.append(made())
    clock.now += PATIENCE

    assert served == [keys(1)] * 4
    assert asked == 2
    assert made() == keys(2)


def test_no_keys_are_used_after_their_end(clock: Clock) -> None:
    made = container(Endpoint(answered(1, NOW + HOUR), Unreached()), clock)
    made()
    clock.now = NOW + HOUR

    with pytest.raises(Unreachable) as raised:
        made()
    assert raised.value.kind == "CredentialRetrievalError"


def test_ended_keys_do_not_hold_up_the_next_attempt(clock: Clock) -> None:
    endpoint = Endpoint(Unreached(), answered(1, NOW + HOUR))
    made = container(endpoint, clock)
    with pytest.raises(Unreachable):
        made()

    assert made() == keys(1)


def test_what_is_forgotten_is_asked_for_again(clock: Clock) -> None:
    made = container(Endpoint(answered(1, NOW + HOUR), answered(2, NOW + HOUR)), clock)
    made()
    made.close()

    assert made() == keys(2)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        answered(1, NOW + HOUR, AccessKeyId=None),
        answered(1, NOW + HOUR, SecretAccessKey=None),
        answered(1, NOW + HOUR, Token=None),
        answered(1, NOW + HOUR, Expiration=None),
        answered(1, NOW + HOUR, Expiration="soon"),
        answered(1, NOW + HOUR, Expiration=7),
        answered(1, NOW + HOUR, AccessKeyId=""),
        answered(1, NOW + HOUR, Token=7),
        answered(1, NOW + HOUR, Token="two\r\nlines"),
        answered(1, NOW + HOUR, AccessKeyId="Ä"),
        answered(1, NOW),
    ],
)
def test_an_answer_without_keys_that_work_is_none(answer: bytes, clock: Clock) -> None:
    with pytest.raises(Unreachable):
        container(Endpoint(answer), clock)()


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/keys",
        "http://10.0.0.1/keys",
        "http://169.254.169.254/latest",
        "http://localhost.example.com/",
        "http://127.0.0.1@example.com/",
        "//127.0.0.1/",
        "",
    ],
)
def test_keys_come_from_nowhere_else(url: str) -> None:
    with pytest.raises(SettingsError):
        Container(url, "proof")


@pytest.mark.parametrize("host", [host for host in sorted(credentials.HOSTS) if ":" not in host])
def test_botocore_takes_them_from_the_same_places(host: str) -> None:
    asked: list[str] = []

    class Session:
        def send(self, request: Any) -> Any:
            asked.append(request.url)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ContainerMetadataFetcher(session=Session()).retrieve_full_uri(f"http://{host}:9001/keys")
    Container(f"http://{host}:9001/keys", "proof")

    assert asked == [f"http://{host}:9001/keys"]
