"""`switchboard simulate`: play a call script against the running stack, and print the call as a timeline."""

import argparse
import random
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from devkit import facts, workers
from devkit.errors import UserError
from devkit.evidence import SETTLE_SECONDS, collect, everything
from devkit.player import Played, Player
from devkit.script import Script, load
from devkit.timeline import Moment, Promise, render, table
from devkit.transfer_call import Telephone, TransferPlayer
from devkit.transfer_evidence import promises
from devkit.wire import Backend, Doors, Network
from switchboard.errors import SettingsError
from switchboard.signatures import PRESETS
from switchboard.toolcalls import State

REORDER_JITTER = (0.0, 0.4)  # seconds; without any, nothing would overtake anything
KILLED_SETTLE_SECONDS = (
    90.0  # a tool call that no worker comes back to is closed within its deadline, 60 s, and a sweep
)
LOOK_SECONDS = 0.1


@contextmanager
def player(
    script: Script, stack: Mapping[str, Any], network: Network | None = None, scheme: str = "vapi-hmac"
) -> Iterator[Player]:
    """A player for the stack with these facts (`.local/stack.json`)."""
    backend = Backend(stack["api_url"], stack["host"], scheme=PRESETS[scheme])
    doors = Doors(stack["vapi_url"], stack["twilio_url"])
    telephone = Telephone(stack["twilio_url"])
    try:
        if script.transferred:
            yield TransferPlayer(script, backend, doors, telephone, network)
        else:
            yield Player(script, backend, doors, network)
    finally:
        for one in (backend, doors, telephone):
            one.close()


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("script", type=Path, help="a call script; the format is in devkit/calls/README.md")
    parser.add_argument(
        "--duplicate", action="store_true", help="deliver every message twice, tool calls at the same time"
    )
    parser.add_argument("--reorder", action="store_true", help="let messages overtake each other")
    parser.add_argument("--jitter", metavar="MIN-MAX", type=jitter, help="milliseconds that each message is under way")
    parser.add_argument("--drop", action="store_true", help="lose requests and answers; Vapi sends again")
    parser.add_argument("--replay", action="store_true", help="send every message once more when the call is over")
    parser.add_argument("--skew", metavar="MS", type=int, default=0, help="how far Vapi's clock is ahead of ours")
    parser.add_argument("--kill-worker", action="store_true", help="SIGKILL a worker while a background tool runs")
    parser.add_argument("--base-url", metavar="URL", help="another backend on this machine, like http://127.0.0.1:3000")
    parser.add_argument(
        "--scheme", choices=PRESETS, default="vapi-hmac", help="how messages are signed (default vapi-hmac)"
    )


def jitter(text: str) -> tuple[float, float]:
    """Read `100-800`, milliseconds, as seconds."""
    low, dash, high = text.partition("-")
    if not (dash and low.isdecimal() and high.isdecimal() and int(low) <= int(high)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of milliseconds like 100-800")
    return int(low) / 1000, int(high) / 1000


def network(args: argparse.Namespace) -> Network:
    """The network that the options ask for."""
    return Network(
        duplicate=args.duplicate,
        reorder=args.reorder,
        jitter=args.jitter or (REORDER_JITTER if args.reorder else (0, 0)),
        drop=args.drop,
        replay=args.replay,
        skew=args.skew / 1000,
    )


def run(args: argparse.Namespace) -> int:
    """Play the script; 1 if something should have gone otherwise."""
    script = load(args.script)
    stack = facts.running()
    if args.base_url:
        facts.require_loopback(args.base_url)
        if script.transferred:
            raise UserError("a call that is transferred is carried by the local stack's Twilio, so without --base-url")
        if args.kill_worker:
            raise UserError("--kill-worker is for the local stack: another backend's workers are not ours to kill")
        stack = stack | {"api_url": args.base_url, "host": httpx.URL(args.base_url).netloc.decode()}
    saboteur = Saboteur(stack) if args.kill_worker else None
    way = network(args)
    judge = Judge(stack) if (way.faulty or saboteur) and not args.base_url else None
    try:
        with player(script, stack, way, args.scheme) as one:
            if saboteur:
                saboteur.start()
            played = one.play()
    except SettingsError as error:
        raise UserError(f"cannot sign as {args.scheme}: {error}") from error
    except httpx.ConnectError as error:
        raise UserError(f"the local stack does not answer ({error}): start it with `make up`") from error
    finally:
        killed = saboteur.stop() if saboteur else []
    sys.stdout.write(render([*played.moments, *killed], played.started) + "\n")
    unmet = list(played.unmet)
    if saboteur and not killed:
        unmet.append("no worker was killed: no background tool ran long enough")
    if judge:
        made = judge.promises(played, KILLED_SETTLE_SECONDS if saboteur else SETTLE_SECONDS)
        sys.stdout.write(f"\n{table(made)}\n")
        unmet += [promise.promised for promise in made if not promise.ok and promise.seen not in unmet]
    sys.stdout.write(f"\n{_verdict(unmet)}\n")
    return 1 if unmet else 0


class Judge:
    """Holds the promises of the example agent against the table of the local stack, which may have a past."""

    def __init__(self, stack: Mapping[str, Any]) -> None:
        self._dynamodb = facts.client("dynamodb", stack["api_url"])
        self._table = stack["outputs"]["TableName"]
        self._before = everything(self._dynamodb, self._table)

    def promises(self, played: Played, seconds: float) -> list[Promise]:
        """What was promised about a call, when nothing of it is unfinished or so many seconds are over."""
        return promises(collect(played, self._dynamodb, self._table, before=self._before, seconds=seconds))


class Saboteur:
    """Kills the workers of a lane of the local stack, once for every tool call that it sees running there."""

    def __init__(self, stack: Mapping[str, Any]) -> None:
        self._dynamodb = facts.client("dynamodb", stack["api_url"])
        self._table, self._port = stack["outputs"]["TableName"], int(stack["port"])
        self._over = threading.Event()
        self._seen: set[tuple[str, str]] = set()
        self._moments: list[Moment] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Begin to watch; calls from before are left alone. `UserError` where processes cannot be told apart."""
        workers.running(self._port)
        self._seen.update(self._running())
        self._thread.start()

    def stop(self) -> list[Moment]:
        """What was killed, and when."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        return self._moments

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            for call, lane in self._running() - self._seen:
                self._seen.add((call, lane))
                # At some moment of the second that the example's tools take, before their effect or after it. Not while a
                # result is being said: nobody knows then whether it was heard, so it is not said again, and a promise of
                # the script would be broken by what is meant.
                self._over.wait(random.uniform(0, 0.7))  # noqa: S311 - the moment is no secret
                # All of the lane: which of them runs the tool cannot be seen from outside.
                function = workers.OF_LANE[lane]
                for one in workers.running(self._port, (function,)):
                    if workers.kill([one]):
                        what = f"{function} killed, process {one.pid}"
                        self._moments.append(Moment(time.time(), "worker", what))

    def _running(self) -> set[tuple[str, str]]:
        found = self._dynamodb.scan(
            TableName=self._table,
            ConsistentRead=True,
            FilterExpression="#state = :running AND lane <> :inline",
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={":running": {"S": State.RUNNING.value}, ":inline": {"S": "inline"}},
        )
        return {(item["pk"]["S"] + item["sk"]["S"], item["lane"]["S"]) for item in found["Items"]}


def _verdict(unmet: Sequence[str]) -> str:
    return "Everything went as the script says." if not unmet else f"{len(unmet)} not as it should be, marked ✗ above."
