"""Where a result is really sent to: real sockets, and a trap on loopback that every name and address leads into."""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Self

import httpx
import pytest

from devkit import corpus_requests, corpus_values
from switchboard import toolcalls, webhook
from switchboard.delivery import Speaker, deliver
from switchboard.errors import NotDone
from switchboard.store import Key
from switchboard.toolcalls import Delivery
from switchboard.vapi import Vapi
from tests.integration.conftest import House, message, tool_call
from tests.memory import Memory

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"


class Trap:
    """Listens on loopback, and counts who connects; whether they speak TLS or HTTP is all the same to it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.2)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.port: int = self._listener.getsockname()[1]
        self.hits: list[bytes] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                caller, _ = self._listener.accept()
            except TimeoutError:
                continue
            with caller:
                caller.settimeout(1)
                self.hits.append(caller.recv(4096))
                caller.sendall(ANSWER)


@pytest.fixture
def trap(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trap]:
    """A trap, and a resolver that leads everybody into it."""
    with Trap() as made:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", made.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_fields: found)
        yield made


def urls() -> list[tuple[str, str]]:
    """Every control URL of the corpus, with its call."""
    entries = corpus_requests.load("control_urls")
    return [(corpus_values.text(entry["url"]), entry.get("call", corpus_requests.CALL)) for entry in entries]


def test_whoever_simply_follows_the_urls_is_caught(trap: Trap) -> None:
    """The trap works: a client without the rule falls into it."""
    with httpx.Client(timeout=1, trust_env=False) as client:
        for url, _ in urls():
            try:
                client.post(url, json={})
            except (httpx.HTTPError, httpx.InvalidURL, UnicodeError):
                continue

    assert len(trap.hits) > len(urls()) / 3


def test_no_control_url_leads_a_result_into_the_trap(house: House, trap: Trap) -> None:
    assert not house.settings.local
    # The table is a quick one: this is about five writes for each URL.
    store = Memory()
    speaker = Speaker(store, Vapi(house.settings.vapi_url), lambda: "public-key", house.settings.local)
    house = house._replace(
        store=store, desk=house.desk._replace(store=store), live=house.live._replace(store=store, speaker=speaker)
    )
    told: Counter[str] = Counter()
    for number, (url, call_id) in enumerate(urls()):
        body = message("tool-calls", house.clock, toolCallList=[tool_call("search", {"what": url[:50]}, f"t{number}")])
        body["call"] |= {"id": call_id, "monitor": {"controlUrl": url}}
        assert webhook.respond(house.desk, house.event(body))["statusCode"] == 200
        told[worked_off(house, call_id, f"t{number}")] += 1

    assert trap.hits == []
    # The good ones were sent, and stopped at the address that their names led to; without a call id nothing is taken.
    good = sum(bool(entry["expect"]) for entry in corpus_requests.load("control_urls"))
    assert told["undeliverable"] == good
    assert told["dropped"] == told.total() - good - told["not taken"] > 150


def worked_off(house: House, call_id: str, tool_call_id: str) -> str:
    """Run the tool and deliver its result until there is nothing left to try; what became of it."""
    house.run(house.live)
    key = Key(f"CALL#{call_id}", f"TOOL#{tool_call_id}")
    while (row := toolcalls.load(house.store, key)) and row.delivery is Delivery.PENDING:
        deliver(house.live.speaker, row, house.clock())
    return str(row.delivery) if row else "not taken"


@pytest.mark.parametrize(
    "url", ["https://a.vapi.ai/c-1/control", "http://a.vapi.ai/c-1/control", "https://[::1]/c-1/control"]
)
def test_a_name_that_leads_to_this_machine_is_not_connected_to(trap: Trap, url: str) -> None:
    with pytest.raises(NotDone, match="address_not_public"):
        Vapi("https://api.vapi.ai").speak(url, {})

    assert trap.hits == []


def test_the_owners_own_host_and_a_simulator_are_spoken_to(trap: Trap) -> None:
    Vapi("http://vapi.internal").speak("http://vapi.internal/c-1/control", {})
    Vapi("https://api.vapi.ai", local=True).speak(f"http://127.0.0.1:{trap.port}/c-1/control", {})
    with pytest.raises(NotDone, match="address_not_public"):
        Vapi("https://api.vapi.ai").speak(f"http://127.0.0.1:{trap.port}/c-1/control", {})
    with pytest.raises(NotDone, match="address_not_public"):
        Vapi("https://api.vapi.ai", local=True).speak("http://a.vapi.ai/c-1/control", {})

    assert [hit.split(b"\r\n")[0] for hit in trap.hits] == [b"POST /c-1/control HTTP/1.1"] * 2
