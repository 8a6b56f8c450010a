"""Talking to the assistant: what the page shows of a call, and what it does when a call goes wrong."""

from devkit import development
from devkit.vapi_spec import Spec
from tests.browser.page import Page


def test_a_call_starts_with_one_press(page: Page, spec: Spec) -> None:
    page.call()

    (order,) = page.orders()
    assert order["assistantId"] == development.ASSISTANT_ID
    assert order["roomDeleteOnUserLeaveEnabled"] is False
    assert spec.faults("AssistantOverrides", order["assistantOverrides"]) == []
    assert page.status == "Connected"
    page.shoot("live")
