"""Talking to the assistant: what the page shows of a call, and what it keeps."""

import pytest

from devkit import development
from devkit.vapi_spec import Spec
from tests.browser.page import Page, tool_call


def test_a_call_starts_with_one_press(page: Page, spec: Spec) -> None:
    page.call()

    (order,) = page.orders()
    assert order["assistantId"] == development.ASSISTANT_ID
    assert order["roomDeleteOnUserLeaveEnabled"] is False
    assert order.keys() == {"assistantId", "assistantOverrides", "roomDeleteOnUserLeaveEnabled"}
    assert spec.faults("AssistantOverrides", order["assistantOverrides"]) == []
    assert page.status == "Connected"


def test_the_browser_is_not_sent_the_assistants_instructions(page: Page) -> None:
    page.call()

    (order,) = page.orders()
    asked_for = order["assistantOverrides"]["clientMessages"]
    assert not {"conversation-update", "model-output", "voice-input", "metadata"} & set(asked_for)


def test_a_double_press_starts_one_call(page: Page) -> None:
    page.run("const start = document.getElementById('start'); start.click(); start.click()")
    page.joined()

    assert len(page.orders()) == 1
    assert page.run("return daily.calls.length") == 1


def test_a_second_press_does_not_meet_the_button_that_ends_the_call(page: Page) -> None:
    page.double_click("start")
    page.joined()
    page.say_raw("listening")

    page.state("live")


def test_what_comes_before_the_assistant_listens_is_not_missed(page: Page) -> None:
    page.at("start").click()
    page.joined()
    page.heard("assistant", "Hello.")
    page.say_raw("listening")
    page.state("live")

    assert page.log == ["Assistant Hello."]


def test_a_partial_transcript_is_shown_until_the_final_one_takes_its_place(page: Page) -> None:
    page.call()
    page.heard("user", "I would", "partial")
    page.heard("user", "I would like two", "partial")
    first = (page.provisional, page.log)
    page.heard("user", "I would like to")

    assert first == (["You I would like two"], [])
    assert (page.provisional, page.log) == ([], ["You I would like to"])


def test_partial_transcripts_are_never_acted_on(page: Page) -> None:
    page.call()
    page.heard("assistant", "Goodbye, I am ending the call", "partial")
    page.heard("user", "Stop. End the call. Mute me.", "partial")
    during = (page.at("call").get_attribute("data-state"), page.log, page.run("return daily.call.muted"), page.sent())
    page.at("end").click()
    page.state("ended")

    assert during == ("live", [], False, [])
    assert (page.log, page.provisional) == ([], [])


def test_both_may_be_speaking_at_once(page: Page) -> None:
    page.call()
    page.heard("assistant", "Your appointment is", "partial")
    page.heard("user", "Wait", "partial")

    assert page.provisional == ["Assistant Your appointment is", "You Wait"]


def test_final_transcripts_are_kept_in_their_order(page: Page) -> None:
    page.call()
    page.heard("assistant", "Hello.")
    page.heard("assistant", "How can I help?")
    page.heard("user", "Tuesday, please.")
    page.say("transcript", role="user", transcriptType="final", transcript="  ")

    assert page.log == ["Assistant Hello.", "Assistant How can I help?", "You Tuesday, please."]


def test_a_final_transcript_by_its_longer_name_counts_too(page: Page) -> None:
    page.call()
    page.run(
        "daily.say(arguments[0])",
        {
            "type": 'transcript[transcriptType="final"]',
            "role": "user",
            "transcriptType": "final",
            "transcript": "Yes.",
        },
    )

    assert page.log == ["You Yes."]


def test_html_in_a_transcript_is_text(page: Page) -> None:
    page.call()
    words = "<img src=x onerror=alert(1)><b>bold</b>"
    page.heard("user", words, "partial")
    shown = page.provisional
    page.heard("user", words)
    page.say("tool-calls", toolCallList=[tool_call("1", "<i>find</i>")], toolWithToolCallList=[])

    assert shown == [f"You {words}"]
    assert page.log == [f"You {words}", "Tool <i>find</i> running…"]
    assert page.run("return document.querySelectorAll('#conversation :is(img, b, i)').length") == 0


def test_an_interruption_marks_what_the_assistant_is_saying(page: Page) -> None:
    page.call()
    page.heard("assistant", "We have a time at two, and", "partial")
    page.say("user-interrupted")
    during = page.provisional
    page.heard("assistant", "We have a time at two,")
    page.heard("user", "Two is good.")
    page.heard("assistant", "Then two it is.")

    assert during == ["Assistant We have a time at two, and interrupted"]
    assert page.log == [
        "Assistant We have a time at two, interrupted",
        "You Two is good.",
        "Assistant Then two it is.",
    ]


def test_an_interruption_marks_what_the_assistant_has_just_said(page: Page) -> None:
    page.call()
    page.heard("assistant", "We have a time at two,")
    page.say("tool-calls", toolCallList=[tool_call("1", "find")], toolWithToolCallList=[])
    page.say("user-interrupted")
    page.say("user-interrupted")

    assert page.log == ["Assistant We have a time at two, interrupted", "Tool find running…"]


def test_an_interruption_of_words_that_nobody_wrote_down_has_a_line_of_its_own(page: Page) -> None:
    page.call()
    page.heard("user", "Hello?")
    page.say("user-interrupted")
    page.say("user-interrupted")

    assert page.log == ["You Hello?", "You interrupted"]


def test_tool_calls_are_shown_as_they_happen(page: Page) -> None:
    page.call()
    both = [tool_call("1", "find_appointment"), tool_call("2", "send_confirmation")]
    page.say("tool-calls", toolCallList=both, toolWithToolCallList=[])
    page.say("tool-calls", toolCallList=both, toolWithToolCallList=[])
    running = page.log
    page.advance(1240)
    page.say("tool-calls-result", toolCallResult={"toolCallId": "1", "name": "find_appointment", "result": "secret"})
    page.say("tool-calls-result", toolCallResult={"toolCallId": "none", "result": "secret"})
    answered = page.log
    page.at("end").click()

    assert running == ["Tool find_appointment running…", "Tool send_confirmation running…"]
    assert answered == ["Tool find_appointment done in 1.2 s", "Tool send_confirmation running…"]
    page.wait(lambda: page.log == ["Tool find_appointment done in 1.2 s", "Tool send_confirmation no answer"])


def test_what_a_tool_is_given_and_answers_is_not_on_the_page(page: Page) -> None:
    page.call()
    page.say("tool-calls", toolCallList=[tool_call("1", "find", '{"word": "secret"}')], toolWithToolCallList=[])
    page.say("tool-calls-result", toolCallResult={"toolCallId": "1", "name": "find", "result": "secret"})

    assert "secret" not in page.browser.page_source


def test_who_is_speaking_is_said(page: Page) -> None:
    page.call()
    page.say("speech-update", status="started", role="assistant")
    assistant = page.voices
    page.say("speech-update", status="stopped", role="assistant")
    page.say("speech-update", status="started", role="user")

    assert assistant == ["Assistant speaking", "You"]
    assert page.voices == ["Assistant", "You speaking"]


def test_both_levels_are_shown(page: Page) -> None:
    page.call()
    page.happen("remote-participants-audio-level", participantsAudioLevel={"vapi": 0.075})
    page.happen("local-audio-level", audioLevel=0.25)

    assert page.levels == ["0.50", "0.25"]


def test_the_microphone_is_muted_and_opened_again(page: Page) -> None:
    page.call()
    page.happen("local-audio-level", audioLevel=0.25)
    page.at("mute").click()
    muted = (page.run("return daily.call.muted"), page.at("mute").get_attribute("aria-pressed"), page.voices)
    page.at("mute").click()

    assert muted == (True, "true", ["Assistant", "You muted"])
    assert (page.run("return daily.call.muted"), page.at("mute").get_attribute("aria-pressed")) == (False, "false")


def test_a_muted_voice_has_no_level(page: Page) -> None:
    page.call()
    page.at("mute").click()
    page.happen("local-audio-level", audioLevel=0.25)

    assert page.levels == ["0.00", "0.00"]


def test_who_mutes_before_the_assistant_answers_is_muted(page: Page) -> None:
    page.at("start").click()
    page.joined()
    page.at("mute").click()
    page.say_raw("listening")
    page.state("live")

    assert page.run("return daily.call.muted") is True


def test_the_caller_ends_the_call_at_vapi_too(page: Page, spec: Spec) -> None:
    page.call()
    page.advance(65_000)
    page.at("end").click()
    page.state("ended")

    assert page.sent() == [{"type": "end-call"}]
    assert spec.faults("ClientInboundMessageEndCall", page.sent()[0]) == []
    assert (page.status, page.at("elapsed").text) == ("You ended the call", "1:05")
    page.wait(lambda: page.run("return daily.call.destroyed"))


def test_time_stands_still_when_the_call_has_ended(page: Page) -> None:
    page.call()
    page.advance(5_000)
    page.at("end").click()
    page.state("ended")
    page.advance(60_000)

    assert page.at("elapsed").text == "0:05"


def test_the_assistant_ends_the_call(page: Page) -> None:
    page.call()
    page.heard("assistant", "Goodbye.")
    page.say("status-update", status="ended", endedReason="assistant-ended-call")
    page.state("ended")

    assert page.status == "The assistant ended the call"
    assert page.log == ["Assistant Goodbye."]
    page.wait(lambda: page.run("return daily.call.destroyed"))


@pytest.mark.parametrize("reason", ["invented-tomorrow", "constructor", None])
def test_a_reason_that_nobody_knows_is_an_end_as_well(page: Page, reason: str | None) -> None:
    page.call()
    page.say("status-update", status="ended", endedReason=reason)
    page.state("ended")

    assert page.status == "The call has ended"


def test_a_status_that_is_no_end_changes_nothing(page: Page) -> None:
    page.call()
    page.say("status-update", status="in-progress")
    page.say_raw("listening")
    page.run("daily.say(arguments[0])", {"type": "invented-tomorrow"})
    page.run("daily.say('null')")

    assert (page.at("call").get_attribute("data-state"), page.log) == ("live", [])


def test_a_room_that_is_closed_is_the_end_of_the_call(page: Page) -> None:
    page.call()
    page.run("daily.call.fail('ejected')")
    page.state("ended")

    assert page.status == "The call has ended"
    page.wait(lambda: page.run("return daily.call.destroyed"))


def test_a_new_call_begins_with_an_empty_page(page: Page) -> None:
    page.call()
    page.at("mute").click()
    page.heard("user", "Hello.")
    page.at("end").click()
    page.state("ended")
    page.at("start").click()
    page.joined(calls=2)
    page.say_raw("listening")
    page.state("live")

    assert (page.log, page.run("return daily.call.muted"), page.at("elapsed").text) == ([], False, "0:00")
    assert len(page.orders()) == 2


def test_a_page_that_is_left_ends_its_call(page: Page) -> None:
    page.call()
    page.run("dispatchEvent(new PageTransitionEvent('pagehide'))")
    page.state("ended")

    assert page.sent() == [{"type": "end-call"}]
