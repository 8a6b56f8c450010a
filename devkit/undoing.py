"""What has to be done so that there is again what stood there before: Twilio first, so that nobody calls a ruin."""

from collections.abc import Iterator, Mapping
from typing import Any

from devkit import wanted
from devkit.differences import Change, changed, same, told
from devkit.there import There, by_id, own_assistant, own_credential, own_tools, phone, sip_phone, tool_name
from devkit.wanted import ANSWERING, METHODS, Wanted, plain

type Object = Mapping[str, Any]


def difference(want: Wanted, there: There) -> list[Change]:
    """Every change that is needed; none if there is nothing of this stack any more."""
    return list(_steps(want, there))


def _steps(want: Wanted, there: There) -> Iterator[Change]:
    yield from _line(want, there)
    yield from _phone(want, there)
    yield from _assistant(want, there)
    for tool in own_tools(there, want.webhook_url, None):
        yield Change("delete", "tool", f"tool {tool_name(tool)}", id=str(tool["id"]))
    if credential := own_credential(want.deployed, there):
        yield Change("delete", "credential", f"credential {credential['name']}", id=str(credential["id"]))
    if any(there.connection.values()):
        yield Change("delete", "connection", "what the functions know")
    if there.before:
        yield Change("delete", "before", "what stood there before")


def _line(want: Wanted, there: There) -> Iterator[Change]:
    if there.line is None or there.before is None:
        return
    before = there.before.twilio
    back = {name: value for name, value in _back(want, there, before).items() if not same(value, there.line.get(name))}
    if back:
        details = told(back, there.line)
        yield Change("update", "twilio", f"number {want.number}", back, str(there.line["sid"]), details)


def _back(want: Wanted, there: There, before: Mapping[str, str]) -> dict[str, str]:
    """The fields that are still as this stack, or Vapi for it, has set them, as they were before."""
    line = there.line or {}
    back: dict[str, str] = {}
    for name, method in METHODS.items():
        if is_ours(want, there, name):
            back[name] = before.get(name, "")
            if before.get(method):
                back[method] = before[method]
    # They stand before the URLs, so whoever has changed the URLs since has decided about these as well.
    if "voice_url" in back or not line.get("voice_url"):
        sids = ("voice_application_sid", "trunk_sid")
        back |= {name: before[name] for name in sids if before.get(name) and not line.get(name)}
    return back


def is_ours(want: Wanted, there: There, name: str) -> bool:
    """Whether a URL of the number is one that connecting has put there."""
    url = plain((there.line or {}).get(name))
    if url == wanted.ours(want.deployed)[name]:
        return True
    before = there.before
    if before is None or url == plain(before.twilio.get(name)):
        return False
    # Vapi writes its own when the number is imported, and so do we where it answers.
    inbound = want.deployed.parameters.get("VapiInboundUrl", "").rpartition("/")[0]
    through_us = before.phone is None or before.answers == wanted.VAPI
    # Whether Vapi empties them when the number is taken from it is not known.
    return through_us and (not url or (bool(inbound) and url.startswith(f"{inbound}/")))


def _phone(want: Wanted, there: There) -> Iterator[Change]:
    stored = sip_phone(want, there) if want.sip_uri else phone(want, there)
    if stored is None or there.before is None or wanted.url_of(stored) != want.webhook_url:
        return
    what = f"number {stored.get('number') or stored.get('sipUri')}"
    if there.before.phone is None:
        yield Change("delete", "phone-number", f"{what}, which was imported", id=str(stored["id"]))
        return
    names = ("server", *(name for name in ANSWERING if there.before.phone.get(name)))
    fields = changed({name: there.before.phone.get(name) for name in names}, stored)
    if fields:
        body = {"provider": stored.get("provider"), **fields}
        yield Change("update", "phone-number", what, body, str(stored["id"]), told(fields, stored))


def _assistant(want: Wanted, there: There) -> Iterator[Change]:
    if want.assistant_id:
        stored, before = by_id(there.assistants, want.assistant_id), there.before and there.before.assistant
        if stored and before and wanted.url_of(stored) == want.webhook_url:
            fields = {"server": before.get("server")}
            name = f"assistant {stored.get('name') or want.assistant_id}"
            yield Change("update", "assistant", name, fields, want.assistant_id, told(fields, stored))
        return
    config = wanted.configuration(want, "")
    stored = own_assistant(there, str(config.get("name", "")), want.webhook_url)
    if stored:
        yield Change("delete", "assistant", f"assistant {stored.get('name')}", id=str(stored["id"]))


def notes(want: Wanted, there: There) -> list[str]:
    """What stays, and somebody should know of."""
    return list(_notes(want, there))


def _notes(want: Wanted, there: There) -> Iterator[str]:
    before = there.before
    if there.line is not None and before:
        for name in METHODS:
            if not is_ours(want, there, name) and not same(before.twilio.get(name), there.line.get(name)):
                yield f"{name} of {want.number} was changed since, and stays as it is"
    known = there.connection["credential_id"]
    own = own_credential(want.deployed, there)
    if known and (own is None or own["id"] != known):
        yield f"the credential {known} was not made by this command, and stays at Vapi"
    for name in ("PhoneNumberId", "AssistantId", "CredentialId"):
        if want.deployed.parameters.get(name):
            yield f"{name} is a parameter of the stack, which only another deployment empties"
