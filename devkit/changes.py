"""What has to be done so that there is what is wanted, in the order in which it is safe.

First it is written down what stands there now; Twilio, which sends the callers, comes last. An id that is not known
before something is made is `NEW`: only the first change is ever done, and then all of this is asked again.
"""

from collections.abc import Generator, Iterator, Mapping
from typing import Any

from devkit import wanted
from devkit.differences import NEW, Change, changed, same, told
from devkit.remembered import Before
from devkit.there import There, by_id, own_assistant, own_credential, own_tools, phone, sip_phone, tool_name
from devkit.twilio_numbers import FIELDS
from devkit.vapi_rest import Kind
from devkit.wanted import ANSWERING, METHODS, PLAN_SECRETS, Wanted, plain

type Known = dict[str, str]
type Steps[T] = Generator[Change, None, T]  # the changes, and what is known after them
type Object = Mapping[str, Any]


def difference(want: Wanted, there: There) -> list[Change]:
    """Every change that is needed; none if there is what is wanted."""
    return list(_steps(want, there))


def _steps(want: Wanted, there: There) -> Iterator[Change]:
    yield from _remember(want, there)
    known = dict(there.connection)
    credential_id, secret_id = yield from _credential(want, there)
    yield from _know(known, there, credential_id=credential_id, credential_secret=secret_id)
    config = {} if want.assistant_id else wanted.configuration(want, credential_id)
    assistant = own_assistant(there, str(config.get("name", "")), want.webhook_url)
    own = own_tools(there, want.webhook_url, assistant)
    tool_ids = yield from _tools(want, config, credential_id, own)
    assistant_id = yield from _assistant(want, there, config, credential_id, tool_ids, assistant)
    yield from _know(known, there, assistant_id=assistant_id)
    for tool in own:
        if tool["id"] not in tool_ids and wanted.asks_us(tool, want.webhook_url):
            yield Change("delete", "tool", f"tool {tool_name(tool)}", id=tool["id"])
    phone_id = yield from _phones(want, there, credential_id)
    yield from _know(known, there, phone_number_id=phone_id)
    yield from _line(want, there)


def _remember(want: Wanted, there: There) -> Iterator[Change]:
    """Write down what stands there, once: what is read later may be our own."""
    old = there.before
    if old is None or (want.number and not old.number):
        made = Before(
            number=want.number,
            account_sid=want.account_sid,
            answers=want.answers,
            twilio=line_before(want, there.line or {}),
            phone=_phone_before(want, there),
            assistant=old.assistant if old else _assistant_before(want, there),
        )
        yield Change("update" if old else "create", "before", "what stands there now is remembered", made)
    elif old.answers != want.answers and want.number:
        detail = told({"answers": want.answers}, {"answers": old.answers})
        yield Change("update", "before", "who answers the phone", old._replace(answers=want.answers), details=detail)


def line_before(want: Wanted, there: Object) -> dict[str, str]:
    """A number's fields at Twilio, as they are to be put back; whoever has pasted our URLs by hand had none before."""
    if not there:
        return {}
    fields = {name: str(there.get(name) or "") for name in FIELDS}
    mine = wanted.ours(want.deployed)
    return fields | {name: "" for name, url in mine.items() if plain(fields[name]) == url}


def _phone_before(want: Wanted, there: There) -> dict[str, Any] | None:
    stored = sip_phone(want, there) if want.sip_uri else phone(want, there)
    if stored is None:
        return None
    kept: dict[str, Any] = {name: stored.get(name) for name in ANSWERING}
    return kept | {"server": None if wanted.url_of(stored) == want.webhook_url else stored.get("server")}


def _assistant_before(want: Wanted, there: There) -> dict[str, Any] | None:
    stored = by_id(there.assistants, want.assistant_id)
    if stored is None:
        return None
    return {
        "id": stored["id"],
        "server": None if wanted.url_of(stored) == want.webhook_url else stored.get("server"),
    }


def _know(known: Known, there: There, **more: str) -> Iterator[Change]:
    """Tell the functions what is known now."""
    if all(known[name] == value for name, value in more.items()):
        return
    details = told(more, known)
    known |= more
    yield Change("update", "connection", "what the functions know", dict(known), details=details)


def _credential(want: Wanted, there: There) -> Steps[tuple[str, str]]:
    """The credential's id, and which value of the secret it signs with."""
    known, known_secret = there.connection["credential_id"], there.connection["credential_secret"]
    if want.credential_id:
        fresh = want.confirmed or want.credential_id != known
        return want.credential_id, want.secret_id if fresh else known_secret
    own = own_credential(want.deployed, there)
    if there.credentials is None or (own is None and by_id(there.credentials, known)):
        return known, known_secret  # made by somebody in the dashboard
    body = wanted.credential(want)
    name = f"credential {body['name']}"
    if own is None:
        yield Change("create", "credential", f"{name} for {want.deployed.parameters['SignatureScheme']}", body)
        return NEW, want.secret_id
    plan, stored = body["authenticationPlan"], own.get("authenticationPlan") or {}
    details = told({key: value for key, value in plan.items() if key not in PLAN_SECRETS}, stored)
    if known_secret != want.secret_id and not there.secret_told:
        details += (f"its secret -> {want.secret_id}",)
    if details:
        yield Change("update", "credential", name, {"authenticationPlan": plan}, str(own["id"]), details)
    return str(own["id"]), want.secret_id


def _tools(want: Wanted, config: Object, credential_id: str, own: list[Object]) -> Steps[list[str]]:
    ids = []
    for body in wanted.tools(want, config, credential_id):
        name = tool_name(body)
        stored = next((one for one in own if tool_name(one) == name), None)
        ids.append(str(stored["id"]) if stored else NEW)
        if stored is None:
            yield Change("create", "tool", f"tool {name}", body)
        else:
            yield from _update("tool", f"tool {name}", body, stored, {"type": "function"})
    return ids


def _assistant(
    want: Wanted, there: There, config: Object, credential_id: str, tool_ids: list[str], own: Object | None
) -> Steps[str]:
    if want.assistant_id:
        if stored := by_id(there.assistants, want.assistant_id):
            name = f"assistant {stored.get('name') or want.assistant_id}"
            yield from _update("assistant", name, {"server": want.server(credential_id)}, stored)
        return want.assistant_id
    if not config:
        if own is not None:
            yield Change("delete", "assistant", f"assistant {own.get('name')}", id=str(own["id"]))
        return ""
    body = wanted.assistant(want, config, tool_ids)
    name = f"assistant {body.get('name', '')}".rstrip()
    if own is None:
        yield Change("create", "assistant", name, body)
        return NEW
    yield from _update("assistant", name, body, own)
    return str(own["id"])


def _phones(want: Wanted, there: There, credential_id: str) -> Steps[str]:
    if want.sip_uri and want.number:
        stored = sip_phone(want, there)
        if stored is None:
            yield Change("create", "phone-number", f"SIP address {want.sip_uri}", wanted.sip(want, credential_id))
        else:
            fields = wanted.phone(want, credential_id)
            yield from _update("phone-number", want.sip_uri, fields, stored, {"provider": "vapi"})
    stored = phone(want, there)
    if want.sip_uri or not want.number:
        return str(stored["id"]) if stored else ""
    if stored is None:
        yield Change("create", "phone-number", f"number {want.number}, imported", wanted.imported(want, credential_id))
        return NEW
    fields = wanted.phone(want, credential_id)
    yield from _update("phone-number", f"number {want.number}", fields, stored, {"provider": stored.get("provider")})
    return str(stored["id"])


def _update(
    kind: Kind, what: str, body: Object, stored: Object, always: Mapping[str, Any] | None = None
) -> Iterator[Change]:
    if fields := changed(body, stored):
        yield Change("update", kind, what, {**(always or {}), **fields}, str(stored["id"]), told(fields, stored))


def _line(want: Wanted, there: There) -> Iterator[Change]:
    if not want.number or there.line is None:
        return
    fields = wanted.line(want, there.line)
    wrong = {name: value for name, value in fields.items() if not _on_line(name, value, there.line)}
    if wrong:
        details = told(wrong, there.line)
        yield Change("update", "twilio", f"number {want.number}", wrong, str(there.line["sid"]), details)


def _on_line(name: str, value: str, there: Object) -> bool:
    stored = there.get(name)
    return same(value, plain(stored) if name in METHODS else stored)
