"""The page in a real browser: the real function behind a server on loopback, the fake Vapi, and Daily without a network."""

import base64
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from axe_selenium_python import Axe
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from devkit.loopback import Answer, Loopback, Request
from devkit.vapi_fake import VapiFake
from devkit.vapi_spec import Spec

HERE = Path(__file__).parent
SHOTS = HERE.parents[1] / ".local" / "screenshots"
PATIENCE = 10  # seconds that a busy machine is given to do what takes milliseconds
SCHEMAS = {
    "transcript": "ClientMessageTranscript",
    "speech-update": "ClientMessageSpeechUpdate",
    "user-interrupted": "ClientMessageUserInterrupted",
    "tool-calls": "ClientMessageToolCalls",
    "tool-calls-result": "ClientMessageToolCallsResult",
    "status-update": "",  # sent, and listed among the client messages, but without a published schema
}

type Handler = Callable[[dict[str, Any], object], dict[str, Any]]
type Deploy = Callable[..., Handler]


class Front(Loopback):
    """The HTTP API: it hands requests to the function. Daily's file alone is another one."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(0)
        self.handler = handler
        self.daily = (HERE / "daily.js").read_text()

    def answer(self, request: Request) -> Answer:
        """What the function answers."""
        event = {
            "version": "2.0",
            "rawPath": request.path,
            "rawQueryString": "",
            "headers": dict(request.headers),
            "requestContext": {"http": {"method": request.method, "path": request.path}},
            "isBase64Encoded": False,
        }
        answered = self.handler(event, None)
        headers = dict(answered["headers"])
        if request.path == "/assets/daily.js":
            return Answer(200, self.daily, content_type=headers["content-type"])
        body = base64.b64decode(answered["body"]) if answered.get("isBase64Encoded") else answered["body"]
        return Answer(answered["statusCode"], body, content_type=headers.pop("content-type"), headers=headers)


class Page:
    """What a person sees and does there, and what Vapi says into the call."""

    def __init__(self, browser: Chrome, front: Front, vapi: VapiFake, spec: Spec) -> None:
        self.browser = browser
        self.front = front
        self.vapi = vapi
        self.spec = spec
        self.expected: list[str] = []

    def open(self) -> None:
        """Load the page anew."""
        self.browser.get(f"{self.front.url}/")

    def at(self, name: str) -> WebElement:
        """An element by its id."""
        return self.browser.find_element(By.ID, name)

    def run(self, script: str, *values: object) -> Any:
        """Run a script in the page."""
        return self.browser.execute_script(script, *values)

    def wait(self, met: Callable[[], Any]) -> Any:
        """Wait until something is so, which takes as long as the browser does."""
        return WebDriverWait(self.browser, PATIENCE, poll_frequency=0.02).until(lambda _: met())

    def state(self, wanted: str) -> None:
        """Wait for a state of the call."""
        self.wait(lambda: self.at("call").get_attribute("data-state") == wanted)

    def says(self, words: str) -> None:
        """Wait until the page says how things stand in these words."""
        self.wait(lambda: self.status == words)

    @property
    def status(self) -> str:
        """The line that says how things stand."""
        return self.at("status").text

    @property
    def problem(self) -> str:
        """What went wrong, in the page's words."""
        return self.at("problem").text

    @property
    def log(self) -> list[str]:
        """What is kept, a line for each entry."""
        return self._lines("log")

    @property
    def provisional(self) -> list[str]:
        """What is shown and not kept."""
        return self._lines("provisional")

    def _lines(self, name: str) -> list[str]:
        lines = self.run(
            "return [...document.getElementById(arguments[0]).children].map((line) => line.innerText)", name
        )
        return [" ".join(line.split()) for line in lines]

    @property
    def voices(self) -> list[str]:
        """Who takes part, and what is said of them."""
        return [" ".join(self.at(name).text.split()) for name in ("assistant", "user")]

    @property
    def levels(self) -> list[str]:
        """How loud they are, as the page draws it."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll('.meter-fill')].map((fill) => fill.style.getPropertyValue('--level'))"
        )
        return found

    def advance(self, milliseconds: int) -> None:
        """Let time pass in the page."""
        self.run("advance(arguments[0])", milliseconds)

    def press(self, *keys: str) -> None:
        """Type, wherever the focus is."""
        ActionChains(self.browser).send_keys(*keys).perform()

    def chord(self, held: str, key: str) -> None:
        """Press a key while another one is held."""
        ActionChains(self.browser).key_down(held).send_keys(key).key_up(held).perform()

    def double_click(self, name: str) -> None:
        """Press twice in the same place, as fast as one can."""
        ActionChains(self.browser).double_click(self.at(name)).perform()

    def call(self) -> None:
        """Start a call, and let the assistant answer it."""
        self.at("start").click()
        self.joined()
        self.say_raw("listening")
        self.state("live")

    def joined(self, calls: int = 1) -> None:
        """Wait until the page is in the room for the so-manieth time."""
        self.wait(
            lambda: self.run(
                "return window.daily && daily.calls.length === arguments[0] && daily.call.state === 'joined-meeting'"
                " && daily.call.observers.includes('local')",
                calls,
            )
        )

    def say_raw(self, text: str) -> None:
        """Let Vapi send something that is no message."""
        self.run("daily.say(arguments[0])", text)

    def say(self, kind: str, /, **fields: Any) -> None:
        """Let Vapi send a message, as its schema has it."""
        message = {"type": kind, **fields}
        schema = SCHEMAS[kind]
        assert not schema or not self.spec.faults(schema, message)
        self.run("daily.say(arguments[0])", message)

    def heard(self, role: str, words: str, kind: str = "final") -> None:
        """Let Vapi tell what somebody said."""
        self.say("transcript", role=role, transcriptType=kind, transcript=words)

    def happen(self, name: str, /, **news: Any) -> None:
        """Let Daily report something."""
        self.run("daily.call.happen(arguments[0], arguments[1])", name, news)

    def orders(self) -> list[dict[str, Any]]:
        """The calls that Vapi was asked for."""
        return [entry["body"] for entry in self.vapi.requests if entry["path"] == "/call/web"]

    def sent(self) -> list[Any]:
        """What the page told Vapi during the call."""
        return [json.loads(text) for text in self.run("return daily.sent") if text.startswith("{")]

    def size(self, width: int, height: int) -> None:
        """Give the page a screen of that size, in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def allow_microphone(self, allowed: bool) -> None:
        """Answer the browser's question, before it asks."""
        answer = {"permission": {"name": "microphone"}, "setting": "granted" if allowed else "denied"}
        self.browser.execute_cdp_cmd("Browser.setPermission", {**answer, "origin": self.front.url})

    def faults(self) -> list[str]:
        """What axe-core objects to: rule and element."""
        checker = Axe(self.browser)
        checker.inject()
        return [f"{fault['id']}: {node['target']}" for fault in checker.run()["violations"] for node in fault["nodes"]]

    def overflow(self) -> int:
        """How many pixels of the page lie beyond its right edge."""
        found: int = self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return found

    def prefer(self, **features: str) -> None:
        """Set what the person prefers, such as `color_scheme="dark"`."""
        media = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})

    def shoot(self, name: str) -> None:
        """Keep what is to be seen, as an artefact of the test."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        shot = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        (SHOTS / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """What the browser found wrong: errors in its console, and whatever the policy forbade."""
        entries: list[dict[str, Any]] = self.browser.get_log("browser")  # type: ignore[no-untyped-call] # selenium's own
        written = [entry["message"] for entry in entries if entry["level"] == "SEVERE"]
        forbidden = self.run("return window.violations") or []
        return [message for message in (*written, *forbidden) if not self._is_expected(message)]

    def _is_expected(self, message: str) -> bool:
        return any(expected in message for expected in self.expected)


def tool_call(identifier: str, name: str, arguments: str = "{}") -> dict[str, Any]:
    """A tool call as Vapi tells of one."""
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def arguments(profile: Path) -> Iterable[str]:
    """How Chromium is started: on its own, without a window, and calling nobody."""
    return (
        "--headless=new",
        "--no-sandbox",  # containers run as root
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-extensions",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--use-fake-device-for-media-stream",
        "--lang=en-US",
        "--window-size=1100,900",
        f"--user-data-dir={profile}",
    )
