"""The phone numbers of a Twilio account, on loopback: list, fetch and update, by the published specification.

`spec/json/twilio_api_v2010.json` in https://github.com/twilio/twilio-oai, `IncomingPhoneNumbers`. Not in it, and from
other people's code: an empty text takes an application or a trunk away.
"""

import re
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from devkit.loopback import Answer, Request

PAGE_SIZE = 50
FORM = "application/x-www-form-urlencoded"
URLS = ("VoiceUrl", "VoiceFallbackUrl", "StatusCallback", "SmsUrl", "SmsFallbackUrl")
METHODS = ("VoiceMethod", "VoiceFallbackMethod", "StatusCallbackMethod", "SmsMethod", "SmsFallbackMethod")
SIDS = {"VoiceApplicationSid": "AP", "TrunkSid": "TK", "SmsApplicationSid": "AP", "AddressSid": "AD", "BundleSid": "BU"}
# Fields of an update; the ones below the line of `SIDS` are known, and taken as they are.
UPDATE = {
    *URLS,
    *METHODS,
    *SIDS,
    *("AccountSid", "ApiVersion", "FriendlyName", "VoiceCallerIdLookup", "VoiceReceiveMode"),
    *("EmergencyStatus", "EmergencyAddressSid", "IdentitySid"),
}
EXCLUDING = {"VoiceApplicationSid": "TrunkSid", "TrunkSid": "VoiceApplicationSid"}
_PATH = re.compile(r"/2010-04-01/Accounts/([^/]+)/IncomingPhoneNumbers(?:/([^/]+))?\.json")
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Unknown(Exception):
    """Another company may not reach that number with these credentials."""


class Failed(Exception):
    """A request that Twilio would turn down."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, {"code": code, "message": message, "status": status})


class Users(NamedTuple):
    """Whose account it is, and who may ask: user (the account itself, or an API key) to password."""

    account: str
    passwords: Mapping[str, str]

    def admit(self, basic: tuple[str, str], account: str) -> bool:
        """Whether somebody may ask about an account."""
        return account == self.account and bool(basic[1]) and self.passwords.get(basic[0]) == basic[1]


class Numbers:
    """The numbers, by SID, as the API shows them."""

    def __init__(self, users: Users) -> None:
        self.users = users
        self.numbers: dict[str, dict[str, Any]] = {}

    def add(self, number: str, **fields: str | None) -> str:
        """A number that the account has; its SID."""
        sid = "PN" + secrets.token_hex(16)
        made = {_key(name): "" for name in URLS} | {_key(name): "POST" for name in METHODS}
        self.numbers[sid] = {
            "sid": sid,
            "account_sid": self.users.account,
            "phone_number": number,
            "friendly_name": number,
            "voice_application_sid": "",
            "trunk_sid": None,
            "sms_application_sid": "",
            **made,
            **fields,
        }
        return sid

    def serves(self, path: str) -> bool:
        """Whether a path is about numbers."""
        return _PATH.fullmatch(path) is not None

    def answer(self, request: Request) -> Answer:
        """Answer a request."""
        try:
            return self._answer(request)
        except Failed as failed:
            return failed.answer

    def overwrite(self, account: str, basic: tuple[str, str], number: str, url: str, *, sms: bool) -> None:
        """What another company does that is given a number: all calls, and what becomes of them, go to it."""
        if not self.users.admit(basic, account):
            raise Unknown("Authenticate")
        found = [one for one in self.numbers.values() if one["phone_number"] == number]
        if not found:
            raise Unknown(f"{number} is not a number of this account")
        origin = url.rpartition("/")[0]
        found[0] |= {"voice_url": url, "voice_method": "POST", "status_callback": f"{origin}/status"}
        found[0] |= {"voice_application_sid": "", "trunk_sid": None}
        if sms:
            found[0] |= {"sms_url": f"{origin}/sms", "sms_method": "POST"}

    def _answer(self, request: Request) -> Answer:
        match = _PATH.fullmatch(request.path)
        if match is None or not self.users.admit(request.basic, match[1]):
            raise Failed(401, 20003, "Authenticate")
        if not match[2]:
            if request.method != "GET":
                raise Failed(405, 20004, "Method not allowed")  # buying a number is not what this is for
            return Answer(200, self._listed(request))
        number = self.numbers.get(match[2])
        if number is None:
            raise Failed(404, 20404, f"The requested resource {request.path} was not found")
        if request.method == "GET":
            return Answer(200, number)
        if request.method != "POST":
            raise Failed(405, 20004, "Method not allowed")
        return Answer(200, _changed(number, _form(request)))

    def _listed(self, request: Request) -> dict[str, Any]:
        size = int(request.query.get("PageSize", [str(PAGE_SIZE)])[0])
        page = int(request.query.get("Page", ["0"])[0])
        wanted = request.query.get("PhoneNumber", [""])[0]
        found = [one for one in self.numbers.values() if wanted in one["phone_number"]]
        shown = found[page * size : (page + 1) * size]
        more = len(found) > (page + 1) * size
        return {
            "incoming_phone_numbers": shown,
            "page": page,
            "page_size": size,
            "start": page * size,
            "end": page * size + max(0, len(shown) - 1),
            "uri": request.path,
            "first_page_uri": f"{request.path}?PageSize={size}&Page=0",
            "next_page_uri": f"{request.path}?PageSize={size}&Page={page + 1}&PageToken=PAfake" if more else None,
            "previous_page_uri": None,
        }


def _form(request: Request) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise Failed(400, 20001, f"the body must be {FORM}")
    pairs = parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True)
    form = dict(pairs)
    if len(form) != len(pairs) or not form.keys() <= UPDATE:
        raise Failed(400, 20001, f"unknown or repeated: {', '.join(sorted(form.keys() - UPDATE))}")
    for name, value in form.items():
        if name in URLS and value and not re.match(r"https?://[^/\s]+", value):
            raise Failed(400, 21502, f"{name} is not a valid URL")
        if name in METHODS and value not in ("GET", "POST"):
            raise Failed(400, 21403, f"{name} is not a valid method")
        if name in SIDS and value and not re.fullmatch(SIDS[name] + r"[0-9a-fA-F]{32}", value):
            raise Failed(400, 20001, f"{name} is not a valid SID")
    return form


def _changed(number: dict[str, Any], form: Mapping[str, str]) -> dict[str, Any]:
    taken = {EXCLUDING[name]: "" for name, value in form.items() if name in EXCLUDING and value}
    for name, value in {**form, **taken}.items():
        number[_key(name)] = None if name == "TrunkSid" and not value else value
    return number


def _key(name: str) -> str:
    return _WORD.sub("_", name).lower()
