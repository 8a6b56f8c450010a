"""Doing changes one by one, each seen to be done before the next; and going on where an earlier run has stopped.

Nothing is repeated on faith: whoever got no answer looks at what there is, and asks again what is still to be done.
"""

import json
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from devkit import remembered
from devkit.differences import Change
from devkit.errors import UserError
from devkit.remembered import BEFORE
from devkit.rest import Failed
from devkit.there import Clients, There
from switchboard.secrets import CONNECTION

PAUSES = (1.0, 3.0, 10.0)  # seconds before what may help is tried again; then it is up to whoever is at the keyboard
MOST = 500  # changes of one run, before it must be going round in circles

type Difference = Callable[[There], Sequence[Change]]
type Say = Callable[[str], None]


class Scene(NamedTuple):
    """Where changes are done: the stack, the number, how to ask, and how to wait and to tell."""

    clients: Clients
    stack: str
    number: str
    say: Say
    sleep: Callable[[float], None] = time.sleep

    def read(self) -> There:
        """Everything that there is."""
        return patient(lambda: There.read(self.clients, self.stack, self.number), self.sleep)


def patient[T](ask: Callable[[], T], sleep: Callable[[float], None]) -> T:
    """Ask until there is an answer; `UserError` if there is none, or a refusal."""
    for pause in PAUSES:
        try:
            return ask()
        except Failed as failed:
            if failed.refused:
                raise UserError(str(failed)) from None
            sleep(max(pause, failed.pause))
    try:
        return ask()
    except Failed as failed:
        raise UserError(str(failed)) from None


def converge(scene: Scene, there: There, difference: Difference, *, leave_refused: bool = False) -> There:
    """Do what is different until nothing is, and return what there is then.

    With `leave_refused` what the other side does not want to do is told, and left as it is.
    """
    done: set[str] = set()
    left: set[str] = set()
    failures = 0
    for _ in range(MOST):
        change = next((one for one in difference(there) if _key(one) not in left), None)
        if change is None:
            return there
        key = _key(change)
        if key in done:
            if change.how == "create":
                raise UserError(f"{change.what} was made, and is not there: run the command again in a minute")
            scene.say(f"note: it was told so, and shows it otherwise: {change.lines()[0]}")
            left.add(key)
            continue
        try:
            do(scene.clients, scene.stack, change)
        except Failed as failed:
            if failed.refused and leave_refused:
                scene.say(f"note: {failed}; left as it is")
                left.add(key)
                continue
            if failed.refused or failures == len(PAUSES):
                raise UserError(f"{failed}; run the command again, it goes on where it has stopped") from None
            scene.say(f"{failed}; looking whether it was done")
            scene.sleep(max(failed.pause, PAUSES[failures]))
            failures += 1
        else:
            done.add(key)
            failures = 0
            for line in change.lines():
                scene.say(f"done  {line}")
        there = _after(scene, there, change, done=key in done)
    raise UserError("there is always something left to do; see what `switchboard plan` says")


def _after(scene: Scene, there: There, change: Change, *, done: bool) -> There:
    return patient(lambda: there.after(change, scene.clients, scene.stack, scene.number, done=done), scene.sleep)


def _key(change: Change) -> str:
    return json.dumps([change.how, change.kind, change.id, change.body, change.details], sort_keys=True, default=str)


def do(clients: Clients, stack: str, change: Change) -> None:
    """Do one change. Errors: `Failed`, after which it may have been done all the same."""
    match change.kind:
        case "before" if change.how == "delete":
            remembered.forget(clients.ssm, stack, BEFORE)
        case "before":
            remembered.write_before(clients.ssm, stack, change.body, new=change.how == "create")
        case "connection" if change.how == "delete":
            remembered.forget(clients.ssm, stack, CONNECTION)
        case "connection":
            remembered.write_connection(clients.ssm, stack, change.body)
        case "twilio":
            if clients.twilio:
                clients.twilio.update(change.id, change.body)
        case kind:
            match change.how:
                case "create":
                    clients.vapi.create(kind, change.body)
                case "update":
                    clients.vapi.update(kind, change.id, change.body)
                case "delete":
                    clients.vapi.delete(kind, change.id)
