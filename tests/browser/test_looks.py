"""How the page looks: screenshots, kept below .local/screenshots to be looked at, and what can be measured of them."""

import pytest
from selenium.webdriver.common.by import By

from tests.browser.page import Deploy, Page, tool_call


def talk(page: Page) -> None:
    """Half a minute of a call, with an interruption, tools and somebody speaking."""
    page.call()
    page.heard("assistant", "Hello, this is the clinic. How can I help you today?")
    page.heard("user", "Hi, I would like to move my appointment to Thursday.")
    page.say("tool-calls", toolCallList=[tool_call("1", "find_appointment")], toolWithToolCallList=[])
    page.advance(840)
    page.say("tool-calls-result", toolCallResult={"toolCallId": "1", "name": "find_appointment", "result": "…"})
    page.heard("assistant", "I found it: Tuesday at ten.", "final")
    page.heard("assistant", "On Thursday there is a time at two, one at three, and then also")
    page.say("user-interrupted")
    page.heard("user", "Three is good.")
    page.say("tool-calls", toolCallList=[tool_call("2", "change_appointment")], toolWithToolCallList=[])
    page.say("speech-update", status="started", role="assistant")
    page.happen("remote-participants-audio-level", participantsAudioLevel={"vapi": 0.1})
    page.happen("local-audio-level", audioLevel=0.15)
    page.heard("assistant", "One moment, I am moving", "partial")
    page.advance(31_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("screen", "width", "height"), [("desktop", 1100, 900), ("phone", 360, 740)])
def test_every_state_fits_its_screen(page: Page, scheme: str, screen: str, width: int, height: int) -> None:
    page.size(width, height)
    page.prefer(color_scheme=scheme, reduced_motion="reduce")
    name = f"{screen}-{scheme}"
    page.shoot(f"{name}-1-idle")
    overflow = {"idle": page.overflow()}
    talk(page)
    page.shoot(f"{name}-2-live")
    overflow["live"] = page.overflow()
    page.happen("network-connection", type="signaling", event="interrupted")
    page.advance(8_000)
    page.state("reconnecting")
    page.shoot(f"{name}-3-reconnecting")
    overflow["reconnecting"] = page.overflow()
    page.at("end").click()
    page.state("ended")
    page.shoot(f"{name}-4-ended")
    overflow["ended"] = page.overflow()

    assert overflow == dict.fromkeys(overflow, 0)


@pytest.mark.parametrize(("screen", "width", "height"), [("desktop", 1100, 600), ("phone", 360, 740)])
@pytest.mark.parametrize(
    ("part", "changed", "title"),
    [
        ("unready", {"key": "", "ASSISTANT_ID": ""}, "Not set up yet"),
        ("off", {"WEB_CALLS": "false"}, "No calls here"),
    ],
)
def test_a_page_without_a_call_fits_its_screen(
    page: Page, deploy: Deploy, part: str, changed: dict[str, str], title: str, screen: str, width: int, height: int
) -> None:
    page.front.handler = deploy(**changed)
    page.size(width, height)
    page.open()
    page.shoot(f"{screen}-light-{part}")

    assert page.browser.find_element(By.TAG_NAME, "h1").text == title
    assert page.overflow() == 0
    assert page.faults() == []
    assert page.run("return document.querySelectorAll('button').length") == 0


@pytest.mark.parametrize(("screen", "width", "height"), [("desktop", 1100, 600), ("phone", 360, 740)])
def test_a_failure_fits_its_screen(page: Page, screen: str, width: int, height: int) -> None:
    page.size(width, height)
    page.call()
    page.at("mute").click()
    page.heard("user", "averyveryverylongwordthatneverendsandhasnospaceinit" * 2)
    page.shoot(f"{screen}-light-5-muted")
    muted = page.overflow()
    page.happen("camera-error", error={"type": "not-found", "missingMedia": ["audio"], "msg": "gone"})
    page.state("failed")
    page.shoot(f"{screen}-light-6-failed")

    assert (muted, page.overflow()) == (0, 0)
