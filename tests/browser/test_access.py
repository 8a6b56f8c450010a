"""For whoever does not use a mouse, or does not see the screen."""

from selenium.webdriver.common.keys import Keys

from tests.browser.page import Page
from tests.browser.test_looks import talk


def focused(page: Page) -> str:
    """The id of what has the focus."""
    name: str = page.run("return document.activeElement.id")
    return name


def test_a_whole_call_needs_the_keyboard_only(page: Page) -> None:
    page.press(Keys.TAB)
    assert focused(page) == "start"
    page.press(Keys.ENTER)
    page.joined()
    page.say_raw("listening")
    page.state("live")
    assert focused(page) == "status"
    page.press(Keys.TAB)
    assert focused(page) == "mute"
    page.press(Keys.SPACE)
    assert page.run("return daily.call.muted") is True
    page.press(Keys.TAB)
    assert focused(page) == "end"
    page.press(Keys.ENTER)
    page.state("ended")

    assert focused(page) == "status"
    page.press(Keys.TAB)
    assert focused(page) == "start"


def test_the_microphone_has_a_key_wherever_the_focus_is(page: Page) -> None:
    before = page.at("mute").get_attribute("aria-keyshortcuts")
    page.call()
    page.chord(Keys.ALT, "m")
    muted = page.run("return daily.call.muted")
    page.chord(Keys.ALT, "m")

    assert before == "Alt+M"
    assert (muted, page.run("return daily.call.muted")) == (True, False)


def test_the_letter_alone_does_nothing(page: Page) -> None:
    page.call()
    page.press("m")

    assert page.run("return daily.call.muted") is False


def test_the_focus_can_be_seen(page: Page) -> None:
    page.press(Keys.TAB)

    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_screen_reader_hears_final_words_and_states_only(page: Page) -> None:
    page.call()
    page.heard("user", "Hello", "partial")
    inside = "return Boolean(document.querySelector(arguments[0])?.closest(arguments[1]))"

    assert page.at("log").get_attribute("role") == "log"
    assert page.run(inside, "#provisional .entry", "[aria-hidden=true]")
    assert not page.run(inside, "#provisional", "[role=log]")
    assert page.at("status").get_attribute("role") == "status"
    assert page.at("problem").get_attribute("role") == "alert"
    assert page.run("return document.querySelectorAll('[aria-hidden=true] .meter-fill').length") == 2


def test_a_line_of_the_log_is_spoken_once(page: Page) -> None:
    page.call()
    page.heard("user", "Hello.")
    page.run(
        "window.changes = 0; new MutationObserver((found) => (window.changes += found.length))"
        ".observe(document.getElementById('log'), { childList: true, characterData: true, subtree: true })"
    )
    page.heard("user", "I am", "partial")
    page.say("speech-update", status="started", role="user")
    page.happen("local-audio-level", audioLevel=0.2)
    still = page.run("return window.changes")
    page.heard("user", "I am here.")

    assert still == 0
    assert page.run("return window.changes") > 0


def test_what_is_touched_is_large_enough(page: Page) -> None:
    page.size(360, 740)
    sizes = [page.at("start").size]
    page.call()
    sizes += [page.at("mute").size, page.at("end").size]

    assert [size for size in sizes if size["width"] < 44 or size["height"] < 44] == []


def test_nothing_moves_for_whoever_does_not_want_it(page: Page) -> None:
    page.prefer(reduced_motion="reduce")
    page.at("start").click()
    moving = "return document.getAnimations().length"

    assert page.run(moving) == 0
    page.joined()


def test_axe_finds_nothing_in_any_state(page: Page) -> None:
    found: dict[str, object] = {}
    for scheme in ("light", "dark"):
        page.prefer(color_scheme=scheme, reduced_motion="reduce")
        page.open()
        found[f"{scheme} idle"] = page.faults()
        talk(page)
        found[f"{scheme} live"] = page.faults()
        page.at("mute").click()
        page.run("daily.call.fail('connection-error')")
        page.state("reconnecting")
        found[f"{scheme} reconnecting"] = page.faults()
        page.at("end").click()
        page.state("ended")
        found[f"{scheme} ended"] = page.faults()
        page.run("navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotFoundError'))")
        page.at("start").click()
        page.state("failed")
        found[f"{scheme} failed"] = page.faults()

    assert {state: faults for state, faults in found.items() if faults} == {}
