"""Whoever stands in for Vapi or Twilio in a test, as a function from httpx's requests to its responses."""

from collections.abc import Callable

import httpx

from switchboard.https import Answer, Lost, Request, Send, Unreached

UNREACHED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def mocked(handle: Callable[[httpx.Request], httpx.Response]) -> Send:
    """Sends to `handle`; of httpx's errors, those of connecting mean that nobody was reached, all others a lost answer."""

    def send(request: Request) -> Answer:
        connect = min(1.0, request.timeout)
        waits = dict.fromkeys(("read", "write", "pool"), request.timeout) | {"connect": connect}
        made = httpx.Request(
            request.method,
            request.url,
            headers=dict(request.headers),
            content=request.body,
            extensions={"timeout": waits},
        )
        try:
            answer = handle(made)
        except UNREACHED as error:
            raise Unreached from error
        except httpx.HTTPError as error:
            raise Lost(type(error).__name__) from error
        return Answer(answer.status_code, answer.read())

    return send
