"""Where a live call can be spoken to: Vapi's hosts over https, and a simulator's loopback on a laptop only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchboard import control

CALL = "c0ffee00-0000-4000-8000-000000000001"
HOST = "phone-call-websocket.aws-us-west-2-backend-production1.vapi.ai"


@pytest.mark.parametrize("host", [HOST, "a.vapi.ai", "a-1.b-2.vapi.ai"])
@pytest.mark.parametrize("local", [True, False])
def test_a_control_url_of_vapi_is_kept_as_its_host_and_rebuilt(host: str, local: bool) -> None:
    url = f"https://{host}/{CALL}/control"

    assert control.host(url, CALL, local=local) == host
    assert control.url(host, CALL, local=local) == url


def test_angle_brackets_as_in_vapis_documentation_are_taken_off() -> None:
    assert control.host(f"<https://{HOST}/{CALL}/control>", CALL, local=False) == HOST


@pytest.mark.parametrize(
    "url",
    [
        "",
        "<>",
        f"http://{HOST}/{CALL}/control",
        f"wss://{HOST}/{CALL}/control",
        f"https://vapi.ai/{CALL}/control",
        f"https://.vapi.ai/{CALL}/control",
        f"https://a..vapi.ai/{CALL}/control",
        f"https://evilvapi.ai/{CALL}/control",
        f"https://a.vapi.ai.example.com/{CALL}/control",
        f"https://example.com/{CALL}/control",
        f"https://example.com#.vapi.ai/{CALL}/control",
        f"https://example.com?.vapi.ai/{CALL}/control",
        f"https://example.com/.vapi.ai/{CALL}/control",
        f"https://example.com\\.vapi.ai/{CALL}/control",
        f"https://a@b.vapi.ai/{CALL}/control",
        f"https://{HOST}:8443/{CALL}/control",
        f"https://{HOST.upper()}/{CALL}/control",
        f"https://a_b.vapi.ai/{CALL}/control",
        f"https://\u00e9.vapi.ai/{CALL}/control",
        f"https://aXvapi.ai/{CALL}/control",
        # Clients raise on names like these instead of not finding them.
        f"https://{'a' * 64}.vapi.ai/{CALL}/control",
        f"https://a.{'a' * 64}.vapi.ai/{CALL}/control",
        f"https://xn--.vapi.ai/{CALL}/control",
        f"https://a.xn--e1afmkfd.vapi.ai/{CALL}/control",
        f"https://{HOST}/{CALL}/listen",
        f"https://{HOST}/{CALL}/control/",
        f"https://{HOST}/{CALL}/control?a=1",
        f"https://{HOST}/{CALL}/control\n",
        f" https://{HOST}/{CALL}/control",
        f"<https://{HOST}/{CALL}/control",
        f"<https://{HOST}/{CALL}/controlX",
        f"https://{HOST}/{CALL}/control>",
        f"Xhttps://{HOST}/{CALL}/control>",
        f"<<https://{HOST}/{CALL}/control>>",
        f"https://{HOST}//control",
        f"https://{HOST}/x/{CALL}/control",
        f"https://{HOST}/other-call/control",
        f"https://{HOST}/{CALL}x/control",
        "https://169.254.169.254/latest/meta-data",
    ],
)
@pytest.mark.parametrize("local", [True, False])
def test_any_other_url_is_none(url: str, local: bool) -> None:
    assert control.host(url, CALL, local=local) == ""


@pytest.mark.parametrize("call_id", ["", "a/b", "a b", "a%2fb", "a\n", "é", "x" * 101])
def test_a_call_id_that_is_no_plain_word_has_no_control_url(call_id: str) -> None:
    assert control.host(f"https://{HOST}/{call_id}/control", call_id, local=False) == ""
    with pytest.raises(ValueError, match="live call control"):
        control.url(HOST, call_id, local=False)


def test_a_url_is_at_most_five_hundred_characters() -> None:
    path = f"/{CALL}/control"
    names = ("a" * 45 + ".") * 9
    host = "b" * (500 - len(f"https://.{names}vapi.ai{path}")) + f".{names}vapi.ai"

    assert len(f"https://{host}{path}") == 500
    assert control.host(f"https://{host}{path}", CALL, local=False) == host
    assert control.host(f"https://b{host}{path}", CALL, local=False) == ""


@pytest.mark.parametrize("host", ["127.0.0.1:80", "127.0.0.1:4567", "127.0.0.1:65535"])
def test_a_simulator_on_loopback_is_spoken_to_from_a_laptop_only(host: str) -> None:
    url = f"http://{host}/{CALL}/control"

    assert control.host(url, CALL, local=True) == host
    assert control.url(host, CALL, local=True) == url
    assert control.host(url, CALL, local=False) == ""
    with pytest.raises(ValueError, match="live call control"):
        control.url(host, CALL, local=False)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:8",
        "127.0.0.1:456789",
        "127.0.0.2:4567",
        "127x0.0.1:4567",
        "0.0.0.0:4567",
        "10.0.0.1:4567",
        "[::1]:4567",
        "localhost:4567",
        "127.0.0.1:4567@example.com",
        "127.0.0.1:\u0664\u0665",
    ],
)
def test_nothing_but_that_loopback_address_is_spoken_to_without_tls(host: str) -> None:
    assert control.host(f"http://{host}/{CALL}/control", CALL, local=True) == ""
    with pytest.raises(ValueError, match="live call control"):
        control.url(host, CALL, local=True)


@pytest.mark.parametrize(
    "url",
    [
        f"https://127.0.0.1:4567/{CALL}/control",
        f"http://127.0.0.1:4567/{CALL}/control/more",
        f"http://127.0.0.1:4567/{CALL}/control\n",
        f"xhttp://127.0.0.1:4567/{CALL}/control",
        f"http://127.0.0.1:4567/{CALL}/listen",
    ],
)
def test_a_simulators_control_url_has_one_exact_form_too(url: str) -> None:
    assert control.host(url, CALL, local=True) == ""


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.com",
        "a.vapi.ai/x?",
        "a.vapi.ai#",
        "a.vapi.ai:8443",
        "a@b.vapi.ai",
        f"a.vapi.ai/{CALL}/control?",
        f"example.com/?https://a.vapi.ai/{CALL}/control",
        f"127.0.0.1:4567/{CALL}/control?",
        f"example.com/?http://127.0.0.1:4567/{CALL}/control",
    ],
)
@pytest.mark.parametrize("local", [True, False])
def test_a_host_that_was_not_ours_is_not_made_a_url(host: str, local: bool) -> None:
    with pytest.raises(ValueError, match="live call control"):
        control.url(host, CALL, local=local)


@given(url=st.text() | st.from_regex(r"https?://[a-z.:@#?/0-9]{1,30}vapi\.ai/[a-z/]{1,9}/control"), local=st.booleans())
def test_whatever_a_message_says_the_host_is_vapis_or_none(url: str, local: bool) -> None:
    host = control.host(url, CALL, local=local)

    assert host == "" or host.endswith(".vapi.ai") or (local and host.startswith("127.0.0.1:"))
