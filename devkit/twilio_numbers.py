"""The phone numbers of a Twilio account: whom Twilio asks about a call.

https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx

from devkit.rest import ANSWER_SECONDS, Failed, Rest

# What decides who is asked, as a number shows it -> as an update takes it. An application or a trunk comes before the
# URLs, so that these count for nothing while one is set.
FIELDS = {
    "voice_url": "VoiceUrl",
    "voice_method": "VoiceMethod",
    "voice_fallback_url": "VoiceFallbackUrl",
    "voice_fallback_method": "VoiceFallbackMethod",
    "status_callback": "StatusCallback",
    "status_callback_method": "StatusCallbackMethod",
    "voice_application_sid": "VoiceApplicationSid",
    "trunk_sid": "TrunkSid",
}
PAGE = 1000


class Account(NamedTuple):
    """Whose numbers they are, and who asks: an API key with its secret, or the account itself with its auth token."""

    sid: str
    user: str
    password: str


class TwilioNumbers:
    """A client of one account. Errors: `Failed`."""

    def __init__(
        self,
        base_url: str,
        account: Account,
        *,
        local: bool = False,
        transport: httpx.BaseTransport | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> None:
        self._path = f"/2010-04-01/Accounts/{account.sid}/IncomingPhoneNumbers"
        self._rest = Rest(
            "Twilio",
            base_url,
            secrets=(account.password,),
            auth=(account.user, account.password),
            local=local,
            transport=transport,
            timeout=timeout,
        )

    def close(self) -> None:
        """Close the connections."""
        self._rest.close()

    def listed(self) -> list[str]:
        """The account's numbers, as many as one page holds."""
        return [str(one.get("phone_number")) for one in self._page({"PageSize": PAGE})]

    def find(self, number: str) -> dict[str, Any] | None:
        """A number (E.164), or None if the account does not have it. Twilio looks for parts of numbers, too."""
        found = self._page({"PhoneNumber": number, "PageSize": PAGE})
        return next((one for one in found if one.get("phone_number") == number), None)

    def update(self, sid: str, fields: Mapping[str, str]) -> None:
        """Set fields, named as a number shows them; an empty text takes one away."""
        form = {FIELDS[name]: value for name, value in fields.items()}
        self._rest.ask("POST", f"{self._path}/{sid}.json", data=form)

    def _page(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        answer = self._rest.ask("GET", f"{self._path}.json", params=dict(query))
        page = answer.get("incoming_phone_numbers") if isinstance(answer, dict) else None
        if not isinstance(page, list) or not all(isinstance(one, dict) and one.get("sid") for one in page):
            raise Failed("Twilio", f"GET {self._path}.json", 0, "no list of numbers")
        return page
