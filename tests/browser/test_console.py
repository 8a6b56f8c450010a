"""The console in a real browser: the real functions over a mocked AWS, and a call that the test plays."""

import re
import runpy
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from devkit import development
from devkit.loopback import Answer, Request
from devkit.vapi_fake import VapiFake
from devkit.vapi_spec import Spec
from switchboard import admission, audit, console, legs, tokens, transfers
from switchboard.secrets import PUBLIC_BASE_URL
from switchboard.tokens import ACT, WORDS, Token
from tests.browser.page import HERE, Front, Handler, Page
from tests.conftest import ENVIRONMENT
from tests.integration.conftest import (  # noqa: F401 - fixtures: the backend in one process
    CALL,
    CALL_SID,
    CONTROL,
    House,
    Twilios,
    Vapis,
    agent,
    aws,
    clients,
    house,
    ledger,
    secrets,
    store,
    tools,
    twilios,
    vapis,
)
from tests.integration.test_console import SECRET, WORDS_SAID, console_of, ring
from tests.integration.test_worker import ask, say

ROOT = HERE.parents[1]
TITLE = "Caller …01"


class Api(Front):
    """The HTTP API with two functions behind it, and a way to fail."""

    def __init__(self, pages: Handler, consoles: Handler) -> None:
        super().__init__(pages)
        self.consoles = consoles
        self.fails = 0
        self.loses = 0
        self.cuts = False
        self.asked: list[tuple[str, str]] = []

    def answer(self, request: Request) -> Answer:
        """What the function answers; nothing of it where it fails."""
        if not request.path.startswith("/console/"):
            return super().answer(request)
        self.asked.append((request.method, request.path))
        if self.fails:
            self.fails -= 1
            return Answer(503, {"message": "Service Unavailable"})
        event = {
            "rawPath": request.path,
            "headers": dict(request.headers),
            "requestContext": {"http": {"method": request.method, "path": request.path}},
            "body": request.body.decode(),
            "isBase64Encoded": False,
        }
        answered = self.consoles(event, None)
        if self.cuts and request.method == "POST":
            return Answer(503, {"message": "Service Unavailable"})
        lost = request.method == "POST" and self.loses > 0
        self.loses -= lost
        headers = dict(answered["headers"])
        kind = headers.pop("content-type", "application/json")
        return Answer(answered["statusCode"], answered.get("body", "").encode(), 0, lost, kind, headers)


class Watcher(Page):
    """Somebody who watches calls, and the backend of those calls."""

    house: House
    api: Api

    def look(self, token: str = "") -> None:
        """Open the page with a token in its address."""
        self.browser.get("about:blank")
        self.browser.get(f"{self.front.url}/#console={token or self.token()}")
        self.wait(lambda: self.run("return !document.getElementById('console').hidden"))

    def token(self, *scopes: str, seconds: int = 3600) -> str:
        """A token of this stack."""
        told = Token("b0b0b0b0", int(self.house.clock()) + seconds, frozenset(scopes or (ACT, WORDS)))
        return tokens.issue(told, SECRET)

    def tick(self, milliseconds: int = 1000) -> None:
        """Let time pass on both sides, so that the page asks again."""
        self.house.clock.advance(milliseconds / 1000)
        self.advance(milliseconds)

    def text(self, name: str) -> str:
        """What an element says, in one line."""
        return " ".join(self.at(name).text.split())

    def until(self, name: str, words: str) -> None:
        """Wait until an element says something."""
        self.wait(lambda: words in self.text(name))

    def seen(self, ask: Callable[[], Any]) -> Any:
        """Let seconds pass until something is to be seen."""

        def met() -> Any:
            self.tick()
            return ask()

        return self.wait(met)

    def listed(self) -> list[str]:
        """The list, a line for each call."""
        found = self.browser.find_elements(By.CSS_SELECTOR, "#console-calls button")
        return [" ".join(button.text.split()) for button in found]

    def open_call(self) -> None:
        """Choose the only call of the list."""
        self.wait(lambda: self.browser.find_elements(By.CSS_SELECTOR, "#console-calls button"))
        self.browser.find_element(By.CSS_SELECTOR, "#console-calls button").click()
        self.wait(lambda: self.text("console-rows"))

    def drawn(self, selector: str) -> int:
        """How many of something the drawing has."""
        return int(self.run("return document.querySelectorAll(`.timeline ${arguments[0]}`).length", selector))

    def overflows(self) -> list[str]:
        """Elements that are wider than the screen."""
        script = """return [...document.querySelectorAll("body *")].filter((one) => {
          const {right, width} = one.getBoundingClientRect();
          return width && right > innerWidth + 1 && !one.closest(".table, svg");
        }).map((one) => one.id || one.className || one.tagName)"""
        found: list[str] = self.run(script)
        return found


@pytest.fixture
def watcher(
    browser: Chrome,
    house: House,  # noqa: F811 - the fixture
    twilios: Twilios,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Watcher]:
    """A phone call that was just answered, and a browser. At the end the browser must have had nothing to complain of."""
    local = {"ASSISTANT_ID": development.ASSISTANT_ID, "AWS_REGION": "us-east-1"}
    local["AWS_CLIENT"] = "botocore"  # as in conftest.py
    for name, value in {**ENVIRONMENT, **local}.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    pages: Handler = runpy.run_path(str(ROOT / "functions/web_client/app.py"))["handler"]
    desk = console_of(house, twilios)
    with Api(pages, lambda event, _: console.respond(desk, event)) as api:
        name = f"{house.settings.parameter_path}/{PUBLIC_BASE_URL}"
        house.aws.ssm.put_parameter(Name=name, Value=api.url, Type="String", Overwrite=True)
        ring(house)
        say(house, "status-update", status="in-progress")
        watcher = Watcher(browser, api, VapiFake(), Spec({}))
        watcher.house, watcher.api = house, api
        # The browser writes down what the page says in words of its own.
        watcher.expected.append("the server responded with a status of 4")
        watcher.size(1280, 1000)
        watcher.prefer(color_scheme="light")
        yield watcher
        complaints = watcher.complaints()
        watcher.run("sessionStorage.clear()")
        browser.get("about:blank")
    assert complaints == []


def play(watcher: Watcher) -> None:
    """The caller asks, interrupts, asks otherwise; a background tool runs. The page watches all the while."""
    backend = watcher.house
    say(backend, "speech-update", role="assistant", status="started")
    watcher.seen(lambda: watcher.drawn(".speech.assistant.open"))
    for _ in range(3):
        watcher.tick()
    say(backend, "speech-update", role="assistant", status="stopped")
    say(backend, "speech-update", role="user", status="started")
    watcher.seen(lambda: watcher.drawn(".speech.caller.open"))
    watcher.tick(2000)
    say(backend, "speech-update", role="user", status="stopped")
    say(
        backend,
        "transcript",
        role="user",
        transcriptType="final",
        transcript="Could you move my appointment to Thursday?",
    )
    watcher.seen(lambda: watcher.drawn(".said.caller"))
    ask(backend, "move", to="Thursday")
    say(backend, "speech-update", role="assistant", status="started")
    watcher.seen(lambda: watcher.drawn(".span.tool.open"))
    watcher.tick(2000)
    say(backend, "user-interrupted")
    say(backend, "speech-update", role="assistant", status="stopped")
    say(backend, "speech-update", role="user", status="started")
    watcher.seen(lambda: watcher.drawn(".cut"))
    watcher.tick(1500)
    say(backend, "speech-update", role="user", status="stopped")
    say(backend, "transcript", role="user", transcriptType="final", transcript=WORDS_SAID)
    ask(backend, "move", "call_2", to="Friday")
    watcher.tick(2500)
    backend.run(backend.live)
    watcher.seen(lambda: watcher.drawn(".mark.delivery") == 2)


def test_a_call_is_seen_while_it_happens(watcher: Watcher) -> None:
    watcher.look()
    watcher.until("console-status", "Watching")
    watcher.seen(watcher.listed)
    assert watcher.listed()[0].startswith("Caller not known 0:0")
    watcher.open_call()
    play(watcher)

    assert watcher.text("call-title") == TITLE
    assert (watcher.drawn(".speech.assistant"), watcher.drawn(".speech.caller")) == (2, 2)
    assert (watcher.drawn(".said"), watcher.drawn(".cut"), watcher.drawn(".span.tool")) == (2, 1, 2)
    rows = watcher.text("console-rows")
    for words in (WORDS_SAID, "interrupts the assistant", "spoke for", "move …ll_1 SUCCEEDED", "delivered, silent"):
        assert words in rows
    told = watcher.run("return document.querySelector('.timeline').getAttribute('aria-label')")
    assert "1 interruption, 2 tool calls, 0 of them running, 2 deliveries" in told
    watcher.shoot("console-call")
    watcher.prefer(color_scheme="dark")
    watcher.shoot("console-call-dark")


def test_a_long_call_says_where_the_rest_of_it_is(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher.look()
    watcher.open_call()
    for number in range(4):
        watcher.house.clock.advance(1)
        say(watcher.house, "transcript", role="user", transcriptType="final", transcript=f"Words {number}.")
    watcher.seen(lambda: watcher.drawn(".said") == 4)
    before = watcher.at("console-older").is_displayed()
    monkeypatch.setattr(console, "MOST_ITEMS", 2)
    watcher.seen(lambda: watcher.drawn(".said") == 2)

    assert before is False
    assert watcher.text("console-older") == f"Older ones are left out here: switchboard call {CALL}"
    assert "Words 1." not in watcher.text("console-rows")
    assert "Words 3." in watcher.text("console-rows")


def test_the_list_says_what_goes_on(watcher: Watcher) -> None:
    backend = watcher.house
    legs.open_leg(backend.store, CALL_SID[:-2] + "b2", {}, 1800, backend.clock())
    ask(backend)
    say(backend, "speech-update", role="user", status="started")
    watcher.look()
    watcher.seen(lambda: len(watcher.listed()) == 2)

    times = re.compile(r" [0-9]+:[0-9]{2}")
    assert sorted(times.sub("", line) for line in watcher.listed()) == [
        *("Caller …01 Caller speaks runs move", "Not answered yet"),
    ]
    watcher.shoot("console-list")


def test_the_token_is_not_in_the_address_and_a_reload_keeps_it(watcher: Watcher) -> None:
    watcher.look()
    watcher.until("console-status", "Watching")

    assert watcher.browser.current_url == f"{watcher.front.url}/"
    watcher.browser.refresh()
    watcher.until("console-status", "Watching")
    assert all("v1." not in path for _, path in watcher.api.asked)


def test_closing_the_console_forgets_the_token(watcher: Watcher) -> None:
    watcher.look()
    watcher.browser.find_element(By.XPATH, "//button[text()='Close the console']").click()

    assert watcher.run("return document.getElementById('console').hidden && sessionStorage.length === 0")
    assert watcher.run("return document.activeElement.id") == "status"


def test_a_page_without_a_token_does_not_even_load_the_console(watcher: Watcher) -> None:
    watcher.browser.get("about:blank")
    watcher.open()

    assert watcher.run("return document.getElementById('console').hidden")
    assert watcher.api.asked == []
    assert not any("console" in str(entry["path"]) for entry in watcher.api.requests)


def test_a_token_whose_time_is_over_says_how_to_get_another(watcher: Watcher) -> None:
    watcher.look(watcher.token(seconds=10))
    watcher.until("console-status", "Watching")
    watcher.seen(lambda: "Not watching" in watcher.text("console-status"))

    assert watcher.text("console-problem") == (
        "The token's time is over. Ask for a new one with `switchboard console`."
    )
    assert watcher.run("return sessionStorage.length") == 0
    before = len(watcher.api.asked)
    watcher.tick(60_000)
    assert len(watcher.api.asked) == before
    watcher.shoot("console-expired")


def test_another_token_pasted_over_the_address_goes_on(watcher: Watcher) -> None:
    watcher.look("v1.none.none")
    watcher.until("console-status", "Not watching")
    watcher.run("location.hash = `#console=${arguments[0]}`", watcher.token())

    watcher.until("console-status", "Watching")
    assert watcher.browser.current_url == f"{watcher.front.url}/"


def test_what_is_said_is_confirmed_and_done_with_the_keyboard_alone(watcher: Watcher, vapis: Vapis) -> None:  # noqa: F811
    watcher.look()
    watcher.open_call()
    watcher.wait(lambda: watcher.at("say-text").is_displayed())
    watcher.at("say-text").send_keys("One moment, please.", Keys.ENTER)
    assert watcher.text("confirm-title") == "Have the assistant say this?"
    assert watcher.text("confirm-detail") == "“One moment, please.”"
    assert vapis.requests == []
    watcher.shoot("console-confirm")

    watcher.press(Keys.ESCAPE)
    watcher.wait(lambda: watcher.run("return document.activeElement.id") == "say-text")
    assert vapis.requests == []
    watcher.press(Keys.ENTER)
    watcher.wait(lambda: watcher.run("return document.activeElement.id") == "confirm")
    watcher.press(Keys.ENTER)
    watcher.until("result", "The assistant has been told to say it.")

    assert vapis.requests == [(CONTROL, {"type": "say", "content": "One moment, please."})]
    assert watcher.run("return document.activeElement.id") == "say-text"
    assert watcher.at("say-text").get_attribute("value") == ""


def test_an_answer_that_is_lost_can_be_asked_for_again_and_nothing_is_done_twice(
    watcher: Watcher,
    vapis: Vapis,  # noqa: F811
) -> None:
    watcher.expected.append("ERR_EMPTY_RESPONSE")
    watcher.look()
    watcher.open_call()
    watcher.at("say-text").send_keys("Hello.", Keys.ENTER)
    # Chromium itself sends a request again whose connection was closed without an answer.
    watcher.api.loses = 2
    watcher.at("confirm").click()
    watcher.wait(lambda: watcher.at("confirm").text == "Ask again")
    watcher.at("confirm").click()
    watcher.until("result", "The assistant has been told to say it.")

    assert len(vapis.requests) == 1
    assert len(rows(watcher)) == 1


def test_what_the_api_says_of_a_function_that_was_cut_off_is_a_lost_answer(watcher: Watcher, vapis: Vapis) -> None:  # noqa: F811
    watcher.expected.append("status of 503")
    watcher.look()
    watcher.open_call()
    watcher.at("say-text").send_keys("Hello.", Keys.ENTER)
    watcher.api.cuts = True
    watcher.at("confirm").click()
    watcher.wait(lambda: watcher.at("confirm").text == "Ask again")
    watcher.api.cuts = False
    watcher.at("confirm").click()
    watcher.until("result", "The assistant has been told to say it.")

    assert len(vapis.requests) == 1


def test_a_call_that_was_opened_by_its_phone_leg_can_be_acted_on(watcher: Watcher, vapis: Vapis) -> None:  # noqa: F811
    watcher.look()
    watcher.at("by-id").send_keys(CALL_SID, Keys.ENTER)
    watcher.wait(lambda: watcher.at("say-text").is_displayed())
    watcher.at("say-text").send_keys("Hello.", Keys.ENTER)
    watcher.at("confirm").click()
    watcher.until("result", "The assistant has been told to say it.")

    assert vapis.requests == [(CONTROL, {"type": "say", "content": "Hello."})]


def test_an_answer_that_comes_after_the_console_was_closed_does_not_open_it_again(watcher: Watcher) -> None:
    watcher.look()
    watcher.open_call()
    watcher.at("say-text").send_keys("Hello.", Keys.ENTER)
    # The answer waits until the console is closed.
    watcher.run(
        "const own = fetch; window.answers = [];"
        "window.fetch = async (path, options) => {"
        "  const answer = await own(path, options);"
        "  if (options.method === 'POST') await new Promise((go) => answers.push(go));"
        "  return answer; }"
    )
    watcher.at("confirm").click()
    watcher.wait(lambda: watcher.run("return answers.length"))
    watcher.press(Keys.ESCAPE)
    watcher.browser.find_element(By.XPATH, "//button[text()='Close the console']").click()
    before = len(watcher.api.asked)
    watcher.browser.execute_async_script("answers[0](); setTimeout(arguments[0], 100)")
    watcher.tick(5000)

    assert len(watcher.api.asked) == before


def test_what_nobody_knows_is_said(watcher: Watcher, vapis: Vapis) -> None:  # noqa: F811
    watcher.look()
    watcher.open_call()
    vapis.answer = httpx.Response(502)
    watcher.browser.find_element(
        By.XPATH, "//form[contains(@class, 'action-end')]//button[text()='End the call']"
    ).click()
    watcher.at("confirm").click()

    watcher.until("result", "The answer was lost: it may have happened.")
    assert [row["outcome"] for row in rows(watcher)] == ["unknown"]
    watcher.shoot("console-unknown")


def test_a_caller_is_put_through(watcher: Watcher) -> None:
    backend = watcher.house
    watcher.look()
    watcher.open_call()
    Select(watcher.at("transfer-person")).select_by_value("reception")
    watcher.at("transfer-summary").send_keys("Asks about a bill.", Keys.ENTER)
    assert watcher.text("confirm-title") == "Put the caller through to reception?"
    watcher.at("confirm").click()
    watcher.until("result", "The caller is being put through.")
    # Twilio takes the leg away from Vapi, which ends the call.
    say(backend, "status-update", status="ended", endedReason="call.in-progress.twilio-completed-call")
    watcher.seen(lambda: "transfer: ringing" in " ".join(watcher.listed()))
    watcher.seen(lambda: "to reception: ringing" in watcher.text("console-rows"))

    moved = transfers.load(backend.store, CALL_SID, backend.clock())
    assert moved
    assert moved.summary == "Asks about a bill."
    assert not watcher.at("say-text").is_displayed()
    watcher.shoot("console-transfer")


def test_a_token_that_may_only_watch_shows_no_controls_and_no_words(watcher: Watcher) -> None:
    say(watcher.house, "transcript", role="user", transcriptType="final", transcript=WORDS_SAID)
    watcher.look(watcher.token("none"))
    watcher.open_call()

    assert not watcher.at("say-text").is_displayed()
    assert "Words show as sizes." in watcher.text("console-hidden-words")
    assert "[42 characters]" in watcher.text("console-rows")
    assert WORDS_SAID not in watcher.browser.page_source


def test_nothing_is_asked_while_nobody_looks(watcher: Watcher) -> None:
    watcher.look()
    watcher.open_call()
    hide = "Object.defineProperty(document, 'hidden', {value: arguments[0], configurable: true});"
    hide += "document.dispatchEvent(new Event('visibilitychange'))"
    watcher.run(hide, True)
    before = len(watcher.api.asked)
    watcher.tick(60_000)
    assert len(watcher.api.asked) == before
    assert watcher.text("console-status") == "Paused: nobody looks"

    watcher.run(hide, False)
    watcher.until("console-status", "Watching")


def test_a_stack_that_does_not_answer_is_asked_less_and_less_often(watcher: Watcher) -> None:
    watcher.expected.append("status of 503")
    watcher.look()
    watcher.until("console-status", "Watching")
    watcher.api.fails = 3
    for wait, said in ((3, 2), (2, 4), (4, 8)):
        watcher.tick(wait * 1000)
        watcher.until("console-status", f"Trying again in {said} s")
    watcher.tick(8000)

    watcher.until("console-status", "Watching")


def test_a_call_that_is_not_listed_is_opened_by_its_id(watcher: Watcher) -> None:
    admission.leave(watcher.house.store, holder=CALL_SID)
    watcher.look()
    watcher.at("by-id").send_keys("nobody", Keys.ENTER)
    watcher.until("console-missing", "Nothing is stored about this call")
    watcher.at("by-id").send_keys(CALL, Keys.ENTER)

    watcher.until("console-ids", CALL_SID)
    assert watcher.run("return document.activeElement.id") == "call-title"


def test_a_call_of_this_page_is_opened_by_itself(watcher: Watcher) -> None:
    watcher.look()
    watcher.run("document.dispatchEvent(new CustomEvent('call-made', {detail: arguments[0]}))", CALL)

    watcher.until("console-ids", CALL_SID)


def test_all_of_it_fits_a_small_screen_and_can_be_reached_with_the_keyboard(watcher: Watcher) -> None:
    watcher.size(360, 800)
    watcher.look()
    watcher.open_call()
    play(watcher)

    assert watcher.overflows() == []
    reached: list[str] = []
    watcher.run("document.getElementById('console-title').focus()")
    for _ in range(14):
        watcher.press(Keys.TAB)
        reached.append(watcher.run("const one = document.activeElement; return one.id || one.textContent.trim()"))
    for name in ("by-id", "say-text", "transfer-person", "End the call", "Whole call", "console-table"):
        assert name in reached
    watcher.shoot("console-360")


def rows(watcher: Watcher) -> list[dict[str, Any]]:
    """The audit of the day."""
    backend = watcher.house
    found = backend.aws.dynamodb.scan(TableName=backend.settings.table)["Items"]
    return [
        {name: next(iter(value.values())) for name, value in item.items()}
        for item in found
        if item["pk"]["S"].startswith(audit.PREFIX)
    ]
