"""What Vapi's API is to a browser: `POST /call/web`, which pages of any origin may ask with the public key."""

from typing import Any

from devkit.loopback import Request

PATH = "/call/web"
# CreateWebCallDTO in api.ts of https://github.com/VapiAI/client-sdk-web: the published OpenAPI has no such path.
FIELDS = frozenset(
    {
        "assistant",
        "assistantId",
        "assistantOverrides",
        "assistantVersion",
        "roomDeleteOnUserLeaveEnabled",
        "squad",
        "squadId",
        "squadOverrides",
        "workflow",
        "workflowId",
        "workflowOverrides",
    }
)
WHO = ("assistantId", "assistant", "squadId", "squad", "workflowId", "workflow")
# Why a call is refused that is well formed. The words are known from reports only.
REFUSALS = {
    "busy": "Over Concurrency Limit. Please upgrade your plan to make more concurrent calls.",
    "assistant": "Couldn't Get Assistant. It does not exist.",
}


def faults(order: dict[str, Any]) -> list[str]:
    """Why a call would be refused; an empty list when it would not."""
    found = [f"property {name} should not exist" for name in order if name not in FIELDS]
    if not any(order.get(name) for name in WHO):
        found.append(f"one of {', '.join(WHO)} must be given")
    if not isinstance(order.get("roomDeleteOnUserLeaveEnabled", True), bool):
        found.append("roomDeleteOnUserLeaveEnabled must be a boolean value")
    return found


def cors(request: Request) -> dict[str, str]:
    """What lets a page of another origin read an answer; its browser asks before it sends a key."""
    if "origin" not in request.headers:
        return {}
    return {
        "access-control-allow-origin": "*",
        "access-control-allow-headers": "authorization, content-type",
        "access-control-allow-methods": "GET, POST",
    }
