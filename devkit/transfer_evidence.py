"""What was promised about a call that was moved from telephone to telephone, beside what was seen of it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from devkit import development, evidence
from devkit.evidence import Evidence, meanwhile, of_part, of_whole
from devkit.player import Played, Transfer
from devkit.server_messages import CANARY
from devkit.timeline import Promise
from switchboard import admission, routes, transfers
from switchboard.transfers import State

TOOL = "transfer_to_person"
SILENT_SECONDS = 5.0  # that a caller may hear nothing
UNANSWERED = {"no-answer": State.NO_ANSWER, "busy": State.BUSY, "failed": State.FAILED, "voicemail": State.VOICEMAIL}


def promises(seen: Evidence) -> list[Promise]:
    """What must hold after a call of the example agent, transferred or not."""
    transfer = seen.played.transfer
    if transfer is None:
        return evidence.promises(seen)
    first, second = seen.parts
    made = [_answered(transfer, seen.played), *_both(of_part(first), of_part(second)), meanwhile(first, TOOL)]
    made += [_one_transfer(seen, transfer), _moved(seen.played, transfer), _rang_once(seen.played, transfer)]
    made += [_music(seen.played, transfer), _two_calls(seen.played, transfer), _told_why(seen, transfer)]
    made += [_nothing_said(first), _never_silent(transfer), _twiml_is_public(transfer), _slot_is_free(seen)]
    return [*made, *of_whole(seen)]


def _both(first: Sequence[Promise], second: Sequence[Promise]) -> list[Promise]:
    """Promises about two calls, as promises about both."""
    return [
        Promise(one.promised, " / ".join(filter(None, (one.seen, other.seen))), one.ok and other.ok)
        for one, other in zip(first, second, strict=True)
    ]


def _answered(transfer: Transfer, played: Played) -> Promise:
    asked = [one for one in transfer.phone["webhooks"] if one["sid"] == played.call_sid]
    paths = {one["target"].partition("?")[0] for one in asked}
    slowest = max((one["seconds"] for one in asked), default=0.0)
    refused = [one["target"] for one in transfer.phone["webhooks"] if not 200 <= one["status"] < 300]
    said = f"{len(asked)} questions at {len(paths)} paths, the slowest {slowest:.2f} s"
    return Promise(
        "whatever Twilio asks about the caller's leg is answered",
        f"{said}{', not ' if refused else ''}{', '.join(refused)}",
        {routes.INBOUND, routes.HOLD, routes.MUSIC, routes.BACK, routes.STATUS} <= paths and not refused,
    )


def _one_transfer(seen: Evidence, transfer: Transfer) -> Promise:
    stored = _stored(seen)
    wanted = _expected(seen.played, transfer)
    steps = [State.REQUESTED, State.HOLDING, State.RINGING, wanted, State.RETURNED]
    times = [stored.get(f"{step}_at", 0) for step in steps]
    told = [f"{step} {(at - times[0]) / 1000:.1f} s" for step, at in zip(steps, times, strict=True) if at]
    good = (stored.get("n"), stored.get("state"), stored.get("outcome")) == (1, State.RETURNED, wanted)
    return Promise(
        f"there is one transfer, it ends as {wanted}, and the caller is returned",
        ", ".join(told) or "no transfer",
        good and all(times) and times == sorted(times),
    )


def _moved(played: Played, transfer: Transfer) -> Promise:
    moves = [one for one in transfer.phone["orders"] if "Url" in one["form"] and "To" not in one["form"]]
    paths = [urlsplit(one["form"]["Url"]).path for one in moves if played.call_sid in one["path"]]
    return Promise(
        "the caller is moved twice: to the hold, and back", ", ".join(paths), paths == [routes.HOLD, routes.BACK]
    )


def _rang_once(played: Played, transfer: Transfer) -> Promise:
    legs = [leg for leg in transfer.phone["legs"] if leg["sid"] != played.call_sid]
    heard = [
        entry["detail"]
        for entry in transfer.phone["timeline"]
        if entry["what"] == "hears" and _of_others(entry, played)
    ]
    said = ", ".join(leg["status"] for leg in legs) or "no call"
    told = any(_summary(transfer) in words for words in heard)
    return Promise(
        "the person's phone rings once, and the summary is told to nobody",
        f"{len(legs)} call, {said}; {'told' if told else f'{len(heard)} sentences heard'}",
        len(legs) == 1 and legs[0]["status"] != "in-progress" and not told,
    )


def _music(played: Played, transfer: Transfer) -> Promise:
    heard = [entry["what"] for entry in transfer.phone["timeline"] if entry["sid"] == played.call_sid]
    streams = [one["by"] or "opened" for one in transfer.phone["streams"]]
    good = "hears music" in heard and streams[:3] == ["opened", "redirect", "opened"]
    return Promise(
        "between the two calls the caller hears music",
        f"stream {', '.join(streams)}{'; music' if 'hears music' in heard else '; no music'}",
        good,
    )


def _two_calls(played: Played, transfer: Transfer) -> Promise:
    ids = {transfer.before.call_id, played.call_id}
    asked = len(transfer.orders)
    return Promise("Vapi is asked for two calls, each once", f"{asked} x POST /call", (asked, len(ids)) == (2, 2))


def _told_why(seen: Evidence, transfer: Transfer) -> Promise:
    overrides = (transfer.orders[-1] if transfer.orders else {}).get("assistantOverrides") or {}
    values = overrides.get("variableValues") or {}
    words, outcome = overrides.get("firstMessage", ""), _expected(seen.played, transfer)
    told = {name: values.get(f"transfer_{name}") for name in ("outcome", "to", "summary")}
    known = _stored(seen)
    good = told == {"outcome": outcome, "to": known.get("to"), "summary": known.get("summary")}
    return Promise(
        "the second one knows why, and begins with it",
        f"“{words}” {told['outcome']}, {told['to']}, {'the summary' if told['summary'] else 'no summary'}",
        good and words == transfers.WORDS[outcome],
    )


def _nothing_said(first: Evidence) -> Promise:
    spoken = len(first.played.deliveries)
    states = [row.delivery.value for row in first.rows if row.tool == TOOL]
    return Promise(
        "the tool's result is said to nobody, and missed by nobody",
        f"{spoken} requests at the control URL, delivery {', '.join(states)}",
        not spoken and states == ["none"],
    )


def _never_silent(transfer: Transfer) -> Promise:
    silence = float(transfer.phone["silence"])
    return Promise(
        f"the caller never hears nothing for {SILENT_SECONDS:g} s", f"longest {silence:.1f} s", silence < SILENT_SECONDS
    )


def _twiml_is_public(transfer: Transfer) -> Promise:
    documents = [one["body"] for one in transfer.phone["webhooks"] if one["body"]]
    forbidden = {**development.SECRETS, "a credential of Vapi's messages": CANARY, "a control URL": "/control"}
    forbidden["the summary"] = _summary(transfer)
    found = [name for name, text in forbidden.items() if any(text in document for document in documents)]
    return Promise(
        "no document for Twilio holds a secret, or what the caller wants",
        ", ".join(found) or f"none of {len(documents)}",
        bool(documents) and not found,
    )


def _slot_is_free(seen: Evidence) -> Promise:
    now = time.time()
    slots = [admission.Slot.of(dict(item)) for item in seen.items if _is_slot(item)]
    held = [slot.holder for slot in slots if slot.held(now)]
    return Promise(
        "the caller's slot is free again", f"{len(held)} in use", bool(slots) and seen.played.call_sid not in held
    )


def _is_slot(item: Mapping[str, Any]) -> bool:
    return bool(item["pk"] == admission.SLOTS and item["sk"] != admission.WAIT.sk)


def _stored(seen: Evidence) -> Mapping[str, Any]:
    return seen.item(transfers.key(seen.played.call_sid).pk)


def _expected(played: Played, transfer: Transfer) -> State:
    """How the transfer ends, by the behaviour of the person whose phone the script names."""
    phones = played.script.phones
    called = [phones[leg["to"]].person.behaviour for leg in transfer.phone["legs"] if leg["to"] in phones]
    return UNANSWERED[called[0]] if called else State.NO_ANSWER


def _summary(transfer: Transfer) -> str:
    """What the model gave as the summary."""
    sent = [one.message["message"] for one in transfer.before.exchanges]
    calls = [entry for message in sent if message["type"] == "tool-calls" for entry in message["toolCallList"]]
    return next((str(entry["function"]["arguments"]["summary"]) for entry in calls if _is_transfer(entry)), "")


def _is_transfer(entry: Mapping[str, Any]) -> bool:
    return bool(entry["function"]["name"] == TOOL)


def _of_others(entry: Mapping[str, Any], played: Played) -> bool:
    return bool(entry["sid"] != played.call_sid)
