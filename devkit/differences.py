"""What has to be changed, one step at a time, in words that show no secret."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

NEW = "(new)"  # stands for the id of what is not made yet
SECRET = ("secret", "secretKey", "token", "twilioAuthToken", "twilioApiSecret", "headers", "password", "apiKey")
LONGEST = 70  # characters of a value that is shown

type Kind = Literal["credential", "tool", "assistant", "phone-number", "twilio", "connection", "before"]
PLACES: Mapping[Kind, str] = {"twilio": "Twilio", "connection": "stack", "before": "stack"}
SIGNS = {"create": "+", "update": "~", "delete": "-"}


class Change(NamedTuple):
    """One step. `details` are the fields that it changes, as `name: old -> new`; `body` is what is sent."""

    how: Literal["create", "update", "delete"]
    kind: Kind
    what: str
    body: Any = None
    id: str = ""
    details: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The step in lines: one for each field, or one for all of it."""
        head = f"{SIGNS[self.how]} {PLACES.get(self.kind, 'Vapi'):<6}  {self.what}"
        return [f"{head}  {detail}" for detail in self.details] or [head]


def same(wanted: Any, there: Any) -> bool:
    """Whether what is there is as wanted; what nobody has asked for may stand beside it."""
    if wanted is None or wanted in ("", [], {}):
        return there is None or there in ("", [], {})
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(same(value, there.get(name)) for name, value in wanted.items())
    if isinstance(wanted, list | tuple):
        return isinstance(there, list | tuple) and _alike(list(wanted), list(there))
    return bool(wanted == there) and isinstance(wanted, bool) == isinstance(there, bool)


def _alike(wanted: list[Any], there: list[Any]) -> bool:
    # The order of plain values (message types, ids, required fields) means nothing.
    if not any(isinstance(one, Mapping | list | tuple) for one in (*wanted, *there)):
        wanted, there = sorted(wanted, key=str), sorted(there, key=str)
    return len(wanted) == len(there) and all(map(same, wanted, there))


def changed(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not as wanted, each as a whole, for that is how Vapi replaces them."""
    return {name: value for name, value in wanted.items() if not same(value, there.get(name))}


def told(wanted: Mapping[str, Any], there: Mapping[str, Any]) -> tuple[str, ...]:
    """The same in words, as deep down as the difference is."""
    return tuple(_told("", wanted, there))


def _told(before: str, wanted: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    for name, value in wanted.items():
        old = there.get(name)
        if same(value, old):
            continue
        if isinstance(value, Mapping) and value and isinstance(old, Mapping) and name not in SECRET:
            yield from _told(f"{before}{name}.", value, old)
        else:
            yield f"{before}{name}: {shown(name, old)} -> {shown(name, value)}"


def shown(name: str, value: Any) -> str:
    """A value on one line; nothing of a secret, and of a URL no more than leads to it."""
    if value is None or value in ("", [], {}):
        return "(none)"
    if name in SECRET:
        return "(secret)"
    if isinstance(value, Mapping):
        if value.get("url"):
            return shown("url", value["url"])
        return f"{{{', '.join(f'{key}: {shown(key, entry)}' for key, entry in value.items())}}}"[: 3 * LONGEST]
    if isinstance(value, list | tuple):
        if any(isinstance(one, Mapping) for one in value):
            return f"({len(value)} entries)"
        return ", ".join(shown(name, one) for one in value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if text.startswith(("http://", "https://")):
        text = _plain(text)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _plain(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(a URL)"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" + ("?..." if parts.query else "")
