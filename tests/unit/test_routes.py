"""The URLs that Twilio is given: absolute, encoded, and tried again by Twilio as their fragment says."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from switchboard import routes

BASE = "https://voice.example.com"


def test_a_url_carries_its_query_encoded_and_how_twilio_tries_again() -> None:
    url = urlsplit(routes.url(BASE, routes.STEP, after="a&b=c d#e", n=2))

    assert (url.scheme, url.netloc, url.path) == ("https", "voice.example.com", "/voice/step")
    assert dict(parse_qsl(url.query)) == {"after": "a&b=c d#e", "n": "2"}
    # The second try after a connection that was not made within 2 s, or after a 5xx; nothing is tried a fourth time.
    assert dict(parse_qsl(url.fragment)) == {"ct": "2000", "rc": "2", "rp": "ct,5xx"}


def test_without_a_query_there_is_no_question_mark() -> None:
    assert routes.url(BASE, routes.TUNE) == f"{BASE}/voice/tune#{routes.RETRIES}"


PATHS = [value for name, value in vars(routes).items() if name.isupper() and name != "RETRIES"]


@pytest.mark.parametrize("path", PATHS)
def test_every_path_is_one_of_its_own(path: str) -> None:
    assert path.startswith("/voice/")
    assert PATHS.count(path) == 1
