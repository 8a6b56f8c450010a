"""Keys that end, from an endpoint on this machine: what a function has instead of an environment's with SnapStart.

https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

import json
import time
from collections.abc import Callable
from datetime import datetime
from urllib.parse import urlsplit

from switchboard.errors import SettingsError
from switchboard.https import Lost, Request, Sender, Unreached
from switchboard.signed import Keys, Unreachable

# Where AWS's own SDKs go without TLS: this machine, and the link-local addresses of ECS and EKS.
HOSTS = frozenset({"localhost", "127.0.0.1", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"})
TIMEOUT = 1.0  # seconds
EARLY = 300  # seconds before the end of its keys at which new ones are asked for
PATIENCE = 60  # seconds between two attempts at that, while the old ones still work


class Container:
    """Gives the keys that are valid now; `Unreachable` where there are none. One for all clients."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        clock: Callable[[], float] = time.time,
        ask: Callable[[str, str], bytes] | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname not in HOSTS:
            raise SettingsError("AWS_CONTAINER_CREDENTIALS_FULL_URI is none of the addresses that keys may come from")
        self._url, self._token = url, token
        self._clock, self._ask = clock, ask or _ask
        self.close()

    def close(self) -> None:
        """Forget the keys: the next request asks for new ones."""
        self._keys: Keys | None = None
        self._until = self._asked_at = float("-inf")  # epoch seconds

    def __call__(self) -> Keys:
        """The keys to sign with now."""
        now = self._clock()
        if self._keys and now < self._until:
            if now < self._until - EARLY or now - self._asked_at < PATIENCE:
                return self._keys
        else:
            self._keys = None
        self._asked_at = now
        try:
            keys, until = _read(self._ask(self._url, self._token))
            if until <= now:
                raise ValueError("these keys have ended")
        except (Unreached, Lost, ValueError, KeyError, TypeError) as error:
            if self._keys:
                return self._keys
            raise Unreachable("CredentialRetrievalError", self._url) from error
        self._keys, self._until = keys, until
        return keys


def _ask(url: str, token: str) -> bytes:
    answer = Sender()(Request("GET", url, {"authorization": token} if token else {}, None, TIMEOUT))
    if answer.status != 200:
        raise Lost(f"http_{answer.status}")
    return answer.content


def _read(content: bytes) -> tuple[Keys, float]:
    """The keys of an answer, and when they end (epoch seconds); `ValueError`, `KeyError` or `TypeError` if it has none."""
    found = json.loads(content)
    keys = Keys(found["AccessKeyId"], found["SecretAccessKey"], found["Token"])
    if not all(isinstance(part, str) and part.isascii() and part.isprintable() and part for part in keys):
        raise ValueError("these are no keys")
    return keys, datetime.fromisoformat(found["Expiration"]).timestamp()
