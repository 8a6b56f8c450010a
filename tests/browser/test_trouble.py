"""When a call goes wrong: what is tried again and how often, and what the page says."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

import pytest
from selenium.webdriver import Chrome

from devkit.loopback import Answer, Request
from devkit.vapi_fake import VapiFake
from tests.browser.page import PATIENCE, Page

PAUSES = (1_000, 2_000, 4_000)  # ms before each try
LOST = "The connection is lost, and trying again did not help."
NO_ANSWER = "net::ERR_CONNECTION_REFUSED"


def lost(page: Page) -> None:
    """The page has noticed that the room is gone."""
    page.run("daily.call.fail('connection-error')")
    page.state("reconnecting")


def test_a_lost_call_is_joined_again(page: Page) -> None:
    page.call()
    page.heard("user", "Hello.")
    page.at("mute").click()
    room = page.run("return daily.call.url")
    lost(page)
    said = page.status
    page.advance(PAUSES[0])
    page.joined(calls=2)
    page.state("live")

    assert said == "Connection lost. Trying again, 1 of 3…"
    assert len(page.orders()) == 1
    assert page.run("return daily.call.url") == room
    assert page.run("return daily.calls[0].destroyed") is True
    assert page.run("return daily.call.muted") is True
    assert page.log == ["You Hello."]


def test_being_put_out_of_the_room_is_a_lost_call(page: Page) -> None:
    page.call()
    page.run("daily.call.leave()")
    page.state("reconnecting")
    page.advance(PAUSES[0])
    page.joined(calls=2)

    page.state("live")


def test_a_lost_call_that_is_over_meanwhile_is_said_to_be(page: Page) -> None:
    page.call()
    page.run("daily.joins.push('no-room')")
    lost(page)
    page.advance(PAUSES[0])
    page.state("failed")

    assert page.problem == "The call is over and cannot be joined again. Start a new one."


def test_trying_again_comes_to_an_end(page: Page) -> None:
    page.call()
    page.run("daily.joins.push('connection-error', 'connection-error', 'connection-error')")
    lost(page)
    for number, pause in enumerate(PAUSES, start=1):
        page.says(f"Connection lost. Trying again, {number} of 3…")
        page.advance(pause - 1)
        assert page.run("return daily.calls.length") == number
        page.advance(1)
    page.state("failed")
    page.advance(600_000)

    assert page.status == "No call"
    assert page.problem == f"{LOST} Check your network, then start again."
    assert page.run("return daily.calls.length") == 4
    assert len(page.orders()) == 1


def test_a_line_that_never_holds_is_given_up_too(page: Page) -> None:
    page.call()
    for calls in (2, 3, 4):
        lost(page)
        page.advance(PAUSES[calls - 2])
        page.joined(calls)
        page.state("live")
    page.run("daily.call.fail('connection-error')")
    page.state("failed")

    assert page.problem.startswith(LOST)


def test_a_line_that_held_for_a_while_may_be_lost_again(page: Page) -> None:
    page.call()
    for calls in range(2, 7):
        page.advance(30_001)
        lost(page)
        assert page.status == "Connection lost. Trying again, 1 of 3…"
        page.advance(PAUSES[0])
        page.joined(calls)
        page.state("live")


def test_daily_is_given_time_to_mend_a_connection(page: Page) -> None:
    page.call()
    page.happen("network-connection", type="signaling", event="interrupted")
    said = page.status
    page.advance(7_999)
    page.happen("network-connection", type="signaling", event="connected")
    page.advance(60_000)

    assert said == "The connection is interrupted…"
    assert (page.status, page.run("return daily.calls.length")) == ("Connected", 1)


def test_what_daily_does_not_mend_is_joined_again(page: Page) -> None:
    page.call()
    page.happen("network-connection", type="signaling", event="interrupted")
    page.advance(8_000)
    page.advance(PAUSES[0])
    page.joined(calls=2)

    page.state("live")
    assert page.sent() == []  # above all not that the call shall end


def test_an_assistant_that_never_listens_is_asked_again(page: Page) -> None:
    page.at("start").click()
    page.joined()
    page.advance(29_999)
    waiting = page.status
    page.advance(1)

    assert waiting == "Connecting…"
    assert page.status == "Connection lost. Trying again, 1 of 3…"


def test_a_room_that_is_never_entered_does_not_keep_the_next_try_waiting(page: Page) -> None:
    page.run("daily.joins.push('never')")
    page.at("start").click()
    page.wait(lambda: page.run("return daily.call?.state === 'joining-meeting'"))
    page.advance(30_000)
    page.state("reconnecting")
    page.advance(PAUSES[0])
    page.advance(5_000)
    page.joined(calls=2)
    page.say_raw("listening")

    page.state("live")
    assert page.run("return daily.calls[0].destroyed") is True


def test_a_call_that_cannot_be_left_is_not_waited_for_forever(page: Page) -> None:
    page.call()
    page.run("daily.holding = true")
    lost(page)
    page.advance(5_000)  # it has had its time, and the first pause is over
    for number in (2, 3):
        page.says(f"Connection lost. Trying again, {number} of 3…")
        page.advance(PAUSES[number - 1])
    page.state("failed")

    assert page.problem == "The call before has not let go of this page. Reload it, then start again."
    assert page.run("return daily.calls.length") == 1


def test_a_call_that_was_never_let_go_of_does_not_keep_the_next_one_waiting(page: Page) -> None:
    page.call()
    page.run("daily.holding = true")
    page.at("end").click()
    page.state("ended")
    page.at("start").click()
    page.state("connecting")
    page.advance(4_999)
    waiting = page.status
    page.advance(1)
    page.says("Connection lost. Trying again, 1 of 3…")
    page.run("daily.holding = false; daily.release()")
    page.wait(lambda: page.run("return daily.calls[0].destroyed"))
    page.advance(PAUSES[0])
    page.joined(calls=2)
    page.say_raw("listening")

    page.state("live")
    assert waiting == "Connecting…"


def test_a_call_that_vapi_never_answered_does_not_keep_the_next_one_waiting(page: Page) -> None:
    page.run("window.own = fetch; window.fetch = () => new Promise(() => (window.asked = true))")
    page.at("start").click()
    page.wait(lambda: page.run("return window.asked"))
    page.at("end").click()
    page.state("ended")
    page.run("window.fetch = window.own")
    page.at("start").click()
    page.state("connecting")
    page.advance(5_000)
    page.joined()
    page.say_raw("listening")

    page.state("live")
    assert len(page.orders()) == 1


def test_a_call_that_is_left_while_nobody_can_be_told_is_not_said_to_have_ended(page: Page) -> None:
    page.call()
    lost(page)
    page.at("end").click()
    page.state("ended")

    assert page.status == "You left. The call ends when the assistant has heard nobody for a while."
    assert page.sent() == []


def test_vapi_out_of_reach_is_asked_three_times_more(page: Page) -> None:
    page.expected = [NO_ANSWER]
    page.vapi.stop()
    page.at("start").click()
    for number, pause in enumerate(PAUSES, start=1):
        page.says(f"Connection lost. Trying again, {number} of 3…")
        page.advance(pause)
    page.state("failed")

    assert page.problem.startswith(LOST)
    assert page.run("return window.daily.calls.length") == 0


def test_vapi_that_is_back_is_asked_for_a_call(page: Page) -> None:
    page.expected = [NO_ANSWER]
    page.vapi.stop()
    page.at("start").click()
    page.state("reconnecting")
    page.vapi.start()
    page.advance(PAUSES[0])
    page.joined()
    page.say_raw("listening")

    page.state("live")
    assert page.log == []


@pytest.fixture
def offline(browser: Chrome, page: Page) -> object:
    """Take the network away from the page, or give it back."""

    def switch(away: bool) -> None:
        conditions = {"offline": away, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)
        page.wait(lambda: page.run("return navigator.onLine") is not away)

    yield switch
    switch(False)


def test_a_browser_without_a_network_waits_for_it(page: Page, offline: object) -> None:
    assert callable(offline)
    page.call()
    offline(True)
    page.state("reconnecting")
    page.advance(8_000)
    said = page.status
    page.advance(59_999)
    offline(False)
    page.joined(calls=2)
    page.state("live")

    assert said == "You are offline. The call goes on when the network is back."
    assert len(page.orders()) == 1


def test_a_browser_that_stays_without_a_network_gives_up(page: Page, offline: object) -> None:
    assert callable(offline)
    page.call()
    offline(True)
    page.state("reconnecting")
    page.advance(8_000)
    page.advance(60_000)
    page.state("failed")

    assert page.problem.startswith(LOST)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("busy", "All lines are taken. Please try again in a minute."),
        ("assistant", "Vapi does not know the assistant of this page."),
        ("refuse", "Vapi could not carry the call. Please try again in a minute."),
        ("error", "Vapi could not carry the call. Please try again in a minute."),
    ],
)
def test_what_vapi_refuses_is_said_and_not_tried_again(page: Page, how: str, words: str) -> None:
    page.expected = ["Failed to load resource"]
    page.vapi.fail("web", how)
    page.at("start").click()
    page.state("failed")
    page.advance(60_000)

    assert page.problem == words
    assert [entry["path"] for entry in page.vapi.requests] == ["/call/web"]


def test_a_key_that_vapi_does_not_take_is_said(page: Page, vapi: VapiFake) -> None:
    page.expected = ["Failed to load resource"]
    vapi.public_key = "another"
    page.at("start").click()
    page.state("failed")

    assert page.problem == "Vapi does not accept this page's key: it is wrong, or not allowed for this address."


def test_a_key_that_is_restricted_to_another_address_is_said(page: Page, vapi: VapiFake) -> None:
    page.expected = ["Failed to load resource"]
    vapi.origins = ["https://elsewhere.example.com"]
    page.at("start").click()
    page.state("failed")

    assert page.problem == "Vapi does not accept this page's key: it is wrong, or not allowed for this address."


def test_a_key_that_is_restricted_to_this_address_works(page: Page, vapi: VapiFake) -> None:
    vapi.origins = [page.front.url]

    page.call()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NotAllowedError", "The microphone is blocked. Allow it for this page in your browser, then start again."),
        ("NotFoundError", "No microphone was found. Connect one, then start again."),
        ("NotReadableError", "The microphone cannot be used. Perhaps another program has it; close that, then start again."),
    ],
)  # fmt: skip
def test_no_call_is_made_without_a_microphone(page: Page, name: str, words: str) -> None:
    page.run(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', arguments[0]))",
        name,
    )
    page.at("start").click()
    page.state("failed")

    assert page.problem == words
    assert page.orders() == []


def test_the_browsers_own_refusal_of_the_microphone_is_understood(page: Page) -> None:
    page.allow_microphone(False)
    page.at("start").click()
    page.state("failed")

    assert page.problem.startswith("The microphone is blocked.")
    assert page.orders() == []


def test_a_microphone_that_is_taken_away_ends_the_call(page: Page) -> None:
    page.call()
    page.happen("camera-error", error={"type": "permissions", "blockedMedia": ["audio"], "msg": "not allowed"})
    page.state("failed")

    assert page.problem.startswith("The microphone is blocked.")
    assert page.sent() == [{"type": "end-call"}]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("call.start.error-subscription-concurrency-limit-reached", "All lines are taken."),
        ("assistant-not-found", "Vapi does not know the assistant of this page."),
        ("customer-did-not-give-microphone-permission", "The microphone is blocked."),
        ("call.in-progress.error-vapifault-openai-llm-failed", "Vapi could not carry the call."),
    ],
)
def test_an_end_that_is_a_failure_is_said_as_one(page: Page, reason: str, words: str) -> None:
    page.call()
    page.say("status-update", status="ended", endedReason=reason)
    page.state("failed")

    assert page.problem.startswith(words)


def test_a_failure_of_noise_cancellation_does_not_touch_the_call(page: Page) -> None:
    page.run("daily.failing = 'updateInputSettings'")
    page.call()

    assert page.status == "Connected"


def test_a_sound_that_the_browser_does_not_play_is_said(page: Page) -> None:
    page.run("HTMLMediaElement.prototype.play = () => Promise.reject(new DOMException('', 'NotAllowedError'))")
    page.expected = ["could not start assistant audio"]
    page.call()
    page.run(
        "const track = new MediaStreamTrackGenerator({ kind: 'audio' });"
        "daily.call.happen('track-started', { track, participant: { local: false, user_name: 'Vapi Speaker', session_id: 'v' } })"
    )
    page.state("failed")

    assert page.problem.startswith("The browser did not let the assistant be heard.")


@contextmanager
def thinking(vapi: VapiFake) -> Iterator[Callable[[], bool]]:
    """Vapi answers no call until this ends; what is yielded says whether it has been asked for one."""
    asked, done = Event(), Event()
    answer = vapi.answer

    def slow(request: Request) -> Answer:
        if request.method == "POST":
            asked.set()
            done.wait(PATIENCE)
        return answer(request)

    vapi.answer = slow  # type: ignore[method-assign] # of this one
    try:
        yield asked.is_set
    finally:
        done.set()


def test_a_call_is_called_off_while_it_is_being_made(page: Page, vapi: VapiFake) -> None:
    with thinking(vapi) as asked:
        page.at("start").click()
        page.wait(asked)
        offered = page.at("end").text
        page.at("end").click()
        page.state("ended")
    page.wait(lambda: page.run("return window.daily?.call?.destroyed"))

    assert offered == "Cancel"
    assert page.run("return daily.calls.length") == 1
    assert page.at("call").get_attribute("data-state") == "ended"


def test_a_call_that_was_called_off_is_gone_before_the_next_one_begins(page: Page, vapi: VapiFake) -> None:
    with thinking(vapi) as asked:
        page.at("start").click()
        page.wait(asked)
        page.at("end").click()
        page.state("ended")
        page.at("start").click()
    page.joined(calls=2)
    page.say_raw("listening")
    page.state("live")

    assert page.run("return daily.calls.map((call) => call.destroyed)") == [True, False]


def test_a_call_is_left_for_good_before_the_next_one_is_made(page: Page) -> None:
    page.call()
    page.run("daily.holding = true")
    page.at("end").click()
    page.state("ended")
    page.at("start").click()
    page.state("connecting")
    before = len(page.orders())
    page.run("daily.holding = false; daily.release()")
    page.joined(calls=2)

    assert before == 1


def test_a_call_that_is_called_off_before_it_is_its_turn_is_never_made(page: Page) -> None:
    page.call()
    page.run("daily.holding = true")
    page.at("end").click()
    page.state("ended")
    page.at("start").click()
    page.state("connecting")
    page.at("end").click()
    page.state("ended")
    page.run("daily.holding = false; daily.release()")
    page.wait(lambda: page.run("return daily.call.destroyed"))
    page.at("start").click()
    page.joined(calls=2)
    page.say_raw("listening")
    page.state("live")

    assert (len(page.orders()), page.run("return daily.calls.length")) == (2, 2)


PROMPT = """const given = { getTracks: () => [] };
navigator.mediaDevices.getUserMedia = () => new Promise((allow) => (window.allow = () => allow(given)))"""


def test_the_question_for_the_microphone_may_be_left_open(page: Page) -> None:
    page.run(PROMPT)
    page.at("start").click()
    page.wait(lambda: page.run("return !!window.allow"))
    page.advance(499)
    before = page.status
    page.advance(1)
    asked = page.status
    page.advance(3_600_000)
    still = (page.status, page.problem, page.at("call").get_attribute("data-state"))
    page.run("allow()")
    page.says("Connecting…")
    page.joined()
    page.advance(29_999)
    connecting = page.status
    page.advance(1)

    assert before == "Connecting…"
    assert asked == "Allow the microphone in your browser…"
    assert still == (asked, "", "connecting")
    assert connecting == "Connecting…"
    assert page.status == "Connection lost. Trying again, 1 of 3…"


def test_a_microphone_that_is_allowed_already_is_not_asked_for_aloud(page: Page) -> None:
    page.at("start").click()
    page.joined()
    page.advance(600)

    assert page.status == "Connecting…"


def test_who_calls_off_at_the_question_for_the_microphone_is_not_asked_any_more(page: Page) -> None:
    page.run(PROMPT)
    page.at("start").click()
    page.wait(lambda: page.run("return !!window.allow"))
    page.advance(500)
    page.says("Allow the microphone in your browser…")
    page.at("end").click()
    page.state("ended")

    assert page.status == "You ended the call"


def test_who_calls_off_before_the_microphone_is_allowed_makes_no_call(page: Page) -> None:
    page.run(
        "const given = { getTracks: () => [{ stop: () => (window.stopped = true) }] };"
        "navigator.mediaDevices.getUserMedia = () => new Promise((allow) => (window.allow = () => allow(given)))"
    )
    page.at("start").click()
    page.at("end").click()
    page.state("ended")
    page.run("allow()")
    page.wait(lambda: page.run("return window.stopped"))
    page.run("navigator.mediaDevices.getUserMedia = async () => ({ getTracks: () => [] })")
    page.at("start").click()
    page.joined()

    assert len(page.orders()) == 1


@pytest.mark.parametrize("event", ["interrupted", "connected"])
def test_news_of_the_network_are_no_news_of_the_assistant(page: Page, event: str) -> None:
    page.at("start").click()
    page.joined()
    page.happen("network-connection", type="signaling", event=event)

    assert page.status == "Connecting…"


def test_a_call_that_goes_on_is_not_started_again(page: Page) -> None:
    page.call()
    page.heard("user", "Hello.")
    page.run("document.getElementById('start').click()")

    assert (page.status, page.log, len(page.orders())) == ("Connected", ["You Hello."], 1)


def asking(page: Page) -> None:
    """Start a call, and let the page ask Vapi for it."""
    page.run("const own = fetch; window.fetch = (...given) => { window.asked = true; return own(...given); }")
    page.at("start").click()
    page.wait(lambda: page.run("return window.asked"))


def test_a_call_that_is_made_too_late_is_joined_and_no_second_one_is_made(page: Page, vapi: VapiFake) -> None:
    with vapi.lock:
        asking(page)
        page.advance(30_000)
        page.state("reconnecting")
        page.advance(PAUSES[0])
    page.joined(calls=2)
    page.state("live")

    assert len(page.orders()) == 1


def test_a_call_that_is_made_after_it_was_given_up_is_ended(page: Page, vapi: VapiFake) -> None:
    with vapi.lock:
        asking(page)
        page.advance(30_000)
        page.state("reconnecting")
        page.at("end").click()
        page.state("ended")
    page.wait(lambda: page.run("return window.daily?.call?.destroyed"))

    assert page.sent() == [{"type": "end-call"}]


def test_a_microphone_that_the_sdk_turns_on_again_stays_muted(page: Page) -> None:
    page.call()
    page.at("mute").click()
    page.happen("nonfatal-error", type="audio-processor-error")
    page.wait(lambda: page.run("return daily.call.muted") is False)
    page.happen("participant-updated", participant={"local": True, "session_id": "me"})

    assert page.run("return daily.call.muted") is True


def test_old_news_of_a_call_that_was_left_counts_for_nothing(page: Page) -> None:
    page.call()
    lost(page)
    page.advance(PAUSES[0])
    page.joined(calls=2)
    page.state("live")
    page.run("daily.calls[0].happen('app-message', { data: arguments[0] })", '{"type": "user-interrupted"}')
    page.run("daily.calls[0].fail('connection-error')")

    assert (page.status, page.log) == ("Connected", [])
