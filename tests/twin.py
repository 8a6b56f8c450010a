"""A whole backend in this process, on nothing but dictionaries and lists: for tests that play thousands of calls."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import httpx

from devkit import development
from switchboard import signatures
from switchboard.delivery import Speaker
from switchboard.desk import Agent, Desk
from switchboard.phone import Exchange
from switchboard.queue import Queue, Ticket
from switchboard.secrets import CONNECTION, PUBLIC_BASE_URL, Secrets
from switchboard.settings import Settings
from switchboard.vapi import Vapi
from switchboard.worker import Bench, work
from tests.conftest import Clock
from tests.memory import Memory
from tests.remote import mocked

BASE_URL = "https://voice.example.com"


class Line(Queue):
    """One queue: everything that was sent waits until it is taken, whatever its delay."""

    def __init__(self) -> None:
        self.sent: list[Ticket] = []
        self.waiting: list[Ticket] = []

    def send(self, ticket: Ticket, delay: int = 0) -> None:
        """Put a ticket at the end."""
        self.sent.append(ticket)
        self.waiting.append(ticket)

    def take(self) -> list[Ticket]:
        """All that waits."""
        taken, self.waiting = self.waiting, []
        return taken

    def hide(self, receipt: str, seconds: int) -> None:
        """Nothing is handed out twice here."""


def _line(bench: Bench) -> Line:
    assert isinstance(bench.queue, Line)
    return bench.queue


class Parameters:
    """The parameter store, as far as `Secrets` asks it."""

    def __init__(self, settings: Settings, base_url: str = BASE_URL) -> None:
        texts = {name: json.dumps([{"id": "dev", "secret": value}]) for name, value in development.SECRETS.items()}
        self.values = {f"{settings.parameter_path}/{name}": text for name, text in texts.items()}
        self.values[f"{settings.parameter_path}/{PUBLIC_BASE_URL}"] = base_url

    def get_parameters(self, Names: list[str], WithDecryption: bool) -> dict[str, Any]:
        """What boto3's client answers."""
        return {"Parameters": [{"Name": name, "Value": self.values[name]} for name in Names if name in self.values]}


class Twin(NamedTuple):
    """The backend, and ways to knock at its doors."""

    clock: Clock
    settings: Settings
    store: Memory
    desk: Desk
    exchange: Exchange
    live: Bench
    after: Bench

    def event(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """A webhook, signed now, as the HTTP API hands it over."""
        body = json.dumps({"message": message})
        at = int(self.clock() * 1000)
        headers = signatures.sign(self.settings.scheme, body.encode(), development.VAPI_WEBHOOK_SECRET, timestamp=at)
        return {"rawPath": "/webhook/vapi", "headers": headers, "body": body, "isBase64Encoded": False}

    def run(self, bench: Bench) -> int:
        """Work off what waits on a lane's queue now; returns how many tickets there were."""
        tickets = _line(bench).take()
        for ticket in tickets:
            work(bench, ticket, "receipt", lambda: 35.0)
        return len(tickets)

    def forget(self, bench: Bench) -> None:
        """Throw away what waits on a lane's queue."""
        _line(bench).take()

    def drain(self) -> None:
        """Work until both lanes are empty; `AssertionError` if they never are."""
        for _ in range(200):
            if not self.run(self.live) + self.run(self.after):
                return
        raise AssertionError("the queues never run empty")


def twin(
    agent: Agent,
    settings: Settings,
    clock: Clock,
    vapi: Callable[[httpx.Request], httpx.Response] = lambda _: httpx.Response(200, json={}),
) -> Twin:
    """A fresh backend; `vapi` is the other end of live call control and `POST /call`."""
    store, live, after = Memory(), Line(), Line()
    secrets = Secrets(
        settings.parameter_path, (*development.SECRETS, PUBLIC_BASE_URL, CONNECTION), Parameters(settings), clock
    )
    client = Vapi(settings.vapi_url, mocked(vapi))
    speaker = Speaker(store, client, lambda: "public-key", settings.local)
    return Twin(
        clock,
        settings,
        store,
        Desk(settings, secrets, store, live, after, agent, clock),
        Exchange(settings, secrets, store, live, client, agent, clock),
        Bench(agent, store, live, speaker, clock, sleep=clock.advance),
        Bench(agent, store, after, speaker, clock, sleep=clock.advance),
    )
