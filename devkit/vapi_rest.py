"""What an organisation holds at Vapi: assistants, tools, phone numbers, credentials; read, made, changed and deleted.

https://docs.vapi.ai/api-reference; `/credential` is in Vapi's guides only, so an organisation may not be offered it.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal

import httpx

from devkit.rest import ANSWER_SECONDS, Failed, Rest

PAGE = 1000  # the most that a list holds
NOT_OFFERED = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)

type Kind = Literal["assistant", "tool", "phone-number", "credential"]
type Body = Mapping[str, Any]


class VapiRest:
    """A client of one organisation. Errors: `Failed`."""

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        secrets: tuple[str, ...] = (),
        local: bool = False,
        transport: httpx.BaseTransport | None = None,
        timeout: float = ANSWER_SECONDS,
    ) -> None:
        headers = {"authorization": f"Bearer {key}"}
        self._rest = Rest(
            "Vapi",
            base_url,
            secrets=(key, *secrets),
            headers=headers,
            local=local,
            transport=transport,
            timeout=timeout,
        )

    def close(self) -> None:
        """Close the connections."""
        self._rest.close()

    def listed(self, kind: Kind) -> list[dict[str, Any]]:
        """All objects of a kind, the newest first."""
        found: list[dict[str, Any]] = []
        bound: dict[str, Any] = {}
        while True:
            page = self._rest.ask("GET", f"/{kind}", params={"limit": PAGE} | bound)
            if not isinstance(page, list) or not all(isinstance(one, dict) and one.get("id") for one in page):
                raise Failed("Vapi", f"GET /{kind}", 0, "no list of objects")
            found += page
            if len(page) < PAGE:
                return found
            bound = {"createdAtLt": page[-1].get("createdAt")}

    def offered(self, kind: Kind) -> list[dict[str, Any]] | None:
        """As `listed`, or None where Vapi does not offer such a list."""
        try:
            return self.listed(kind)
        except Failed as failed:
            if failed.status in NOT_OFFERED:
                return None
            raise

    def create(self, kind: Kind, body: Body) -> None:
        """Make an object. Who is told no answer has to look whether it was made."""
        self._rest.ask("POST", f"/{kind}", json=dict(body))

    def update(self, kind: Kind, id: str, body: Body) -> None:
        """Replace fields of an object, each as a whole."""
        self._rest.ask("PATCH", f"/{kind}/{id}", json=dict(body))

    def delete(self, kind: Kind, id: str) -> None:
        """Delete an object, if it is there."""
        try:
            self._rest.ask("DELETE", f"/{kind}/{id}")
        except Failed as failed:
            if failed.status != HTTPStatus.NOT_FOUND:
                raise

    def call(self, body: Body) -> dict[str, Any]:
        """`POST /call`: a call that Vapi makes."""
        return dict(self._rest.ask("POST", "/call", json=dict(body)))
