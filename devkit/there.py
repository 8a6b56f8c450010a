"""What a stack finds at Vapi and Twilio, and which of it belongs to the stack."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Self

from devkit import remembered, wanted
from devkit.deployed import Deployed
from devkit.differences import Change
from devkit.remembered import Before
from devkit.twilio_numbers import TwilioNumbers
from devkit.vapi_rest import VapiRest
from devkit.wanted import Wanted

type Object = Mapping[str, Any]
type Find = Callable[[str], Object | None]


class Clients(NamedTuple):
    """How to ask: Vapi, Twilio (None where there is no number to connect), and SSM."""

    vapi: VapiRest
    twilio: TwilioNumbers | None
    ssm: Any


class There(NamedTuple):
    """What there is, as it was read."""

    connection: Mapping[str, str]
    before: Before | None
    credentials: list[dict[str, Any]] | None
    """None where Vapi does not offer them by its API."""
    tools: list[dict[str, Any]]
    assistants: list[dict[str, Any]]
    phones: list[dict[str, Any]]
    line: Mapping[str, Any] | None
    """The number at Twilio; None if the account does not have it, or there is none to connect."""
    secret_told: bool = False
    """Whether Vapi was told the credential's secret just now."""

    @classmethod
    def read(cls, clients: Clients, stack: str, number: str) -> Self:
        """Ask for everything. Errors: `Failed`."""
        return cls(
            connection=remembered.connection(clients.ssm, stack),
            before=remembered.before(clients.ssm, stack),
            credentials=clients.vapi.offered("credential"),
            tools=clients.vapi.listed("tool"),
            assistants=clients.vapi.listed("assistant"),
            phones=clients.vapi.listed("phone-number"),
            line=clients.twilio.find(number) if clients.twilio and number else None,
        )

    def after(self, change: Change, clients: Clients, stack: str, number: str, *, done: bool) -> Self:
        """Ask again for what a change may have changed; `done` if that it was done is known."""
        match change.kind:
            case "connection":
                return self._replace(connection=remembered.connection(clients.ssm, stack))
            case "before":
                return self._replace(before=remembered.before(clients.ssm, stack))
            case "credential":
                return self._replace(credentials=clients.vapi.offered("credential"), secret_told=done)
            case "tool":
                return self._replace(tools=clients.vapi.listed("tool"))
            case "assistant":
                return self._replace(assistants=clients.vapi.listed("assistant"))
            case "phone-number" | "twilio":
                # An import changes the number at Twilio as well.
                phones = clients.vapi.listed("phone-number")
                line = clients.twilio.find(number) if clients.twilio and number else None
                return self._replace(phones=phones, line=line)


def by_id(objects: Iterable[Object] | None, id: str) -> Object | None:
    """The object of that id, or None."""
    return next((one for one in objects or () if id and one.get("id") == id), None)


def own_credential(deployed: Deployed, there: There) -> Object | None:
    """The credential that this command has made, as it is known by its name."""
    name = wanted.credential_name(deployed)
    return next((one for one in there.credentials or () if one.get("name") == name), None)


def own_assistant(there: There, name: str, webhook_url: str) -> Object | None:
    """The assistant that this command has made: by its id, else by its name where it asks this stack."""
    known = by_id(there.assistants, there.connection["assistant_id"])
    if known or not name:
        return known
    found = [one for one in there.assistants if one.get("name") == name and wanted.url_of(one) == webhook_url]
    return found[-1] if found else None  # the oldest, whatever was made a second time


def own_tools(there: There, webhook_url: str, assistant: Object | None) -> list[Object]:
    """The function tools that ask this stack, or that its assistant has (they did, then); those first, and the oldest."""
    referenced = _tool_ids(assistant)
    found = [
        one
        for one in there.tools
        if one.get("type") == "function" and (wanted.asks_us(one, webhook_url) or one["id"] in referenced)
    ]
    return sorted(found, key=lambda one: (one["id"] not in referenced, str(one.get("createdAt"))))


def _tool_ids(assistant: Object | None) -> list[str]:
    model = (assistant or {}).get("model")
    return list(model.get("toolIds") or []) if isinstance(model, Mapping) else []


def tool_name(tool: Object) -> str:
    """What the model calls a tool."""
    function = tool.get("function")
    return str(function.get("name", "")) if isinstance(function, Mapping) else ""


def phone(want: Wanted, there: There) -> Object | None:
    """The number at Vapi that calls are made by: by parameter, else the number itself."""
    given = want.deployed.parameters.get("PhoneNumberId", "")
    if given:
        return by_id(there.phones, given)
    return next((one for one in there.phones if want.number and one.get("number") == want.number), None)


def sip_phone(want: Wanted, there: There) -> Object | None:
    """The SIP address at Vapi."""
    address = want.sip_uri.lower()
    return next((one for one in there.phones if address and str(one.get("sipUri", "")).lower() == address), None)
