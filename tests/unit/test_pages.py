"""The page to talk to the assistant: what is served, to whom, and what a browser is allowed to do with it."""

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from devkit import development
from switchboard import pages
from switchboard.errors import Unavailable
from switchboard.pages import Site
from switchboard.secrets import CONNECTION, VAPI_PUBLIC_KEY, Secrets
from switchboard.settings import Settings
from tests.conftest import Clock

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "functions/web_client/assets"
PATH = "/switchboard/switchboard"
KEY = json.dumps([{"id": "1", "secret": development.VAPI_PUBLIC_KEY}])


class Ssm:
    """As much of SSM as holds these parameters; with None it is down."""

    def __init__(self, values: dict[str, str] | None) -> None:
        self.values = values
        self.asked: list[str] = []

    def get_parameters(self, Names: list[str], WithDecryption: bool) -> dict[str, Any]:
        """Answer with what there is."""
        self.asked = Names
        if self.values is None:
            raise Unavailable("secrets: down")
        found = {f"{PATH}/{name}": value for name, value in self.values.items()}
        return {"Parameters": [{"Name": name, "Value": found[name]} for name in Names if name in found]}


def site(settings: Settings, clock: Clock, values: dict[str, str] | None, **changed: Any) -> Site:
    secrets = Secrets(PATH, (VAPI_PUBLIC_KEY, CONNECTION), Ssm(values), clock)
    return pages.open_site(ASSETS, settings._replace(**changed), secrets)


@pytest.fixture
def ready(settings: Settings, clock: Clock) -> Site:
    """A stack with a public key and an assistant."""
    return site(settings, clock, {VAPI_PUBLIC_KEY: KEY}, assistant_id="assistant-1")


def get(site: Site, path: str, **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = {"rawPath": path, "headers": named, "requestContext": {"http": {"method": "GET", "path": path}}}
    return pages.respond(site, request)


class Elements(HTMLParser):
    """Every element with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.found.append((tag, dict(attrs)))


def attributes(body: str, identifier: str) -> dict[str, str | None]:
    return next(attributes for _, attributes in Elements(body).found if attributes.get("id") == identifier)


def test_the_page_offers_a_call_with_the_public_key_and_the_assistant(ready: Site) -> None:
    answer = get(ready, "/")
    call = attributes(answer["body"], "call")

    assert answer["statusCode"] == 200
    assert answer["headers"]["content-type"] == "text/html; charset=utf-8"
    assert (call["data-key"], call["data-assistant"]) == (development.VAPI_PUBLIC_KEY, "assistant-1")
    assert call["data-vapi"] == "https://api.vapi.ai"


def test_the_assistant_that_was_connected_is_offered(settings: Settings, clock: Clock) -> None:
    stored = {VAPI_PUBLIC_KEY: KEY, CONNECTION: '{"assistant_id": "connected-1"}'}

    assert attributes(get(site(settings, clock, stored), "/")["body"], "call")["data-assistant"] == "connected-1"
    named = site(settings, clock, stored, assistant_id="named-1")
    assert attributes(get(named, "/")["body"], "call")["data-assistant"] == "named-1"


def test_values_are_text_in_the_page(settings: Settings, clock: Clock) -> None:
    key = '"><script>alert(1)</script>$main'
    stored = {VAPI_PUBLIC_KEY: json.dumps([{"id": "1", "secret": key}])}
    body = get(site(settings, clock, stored, assistant_id="a"), "/")["body"]

    assert attributes(body, "call")["data-key"] == key
    assert [given for tag, given in Elements(body).found if tag == "script"] == [
        {"type": "module", "src": "/assets/main.js"}
    ]


@pytest.mark.parametrize(
    ("stored", "assistant", "said"),
    [
        ({}, "", ["switchboard secrets put vapi-public-key", "switchboard connect"]),
        ({VAPI_PUBLIC_KEY: KEY}, "", ["switchboard connect"]),
        ({}, "assistant-1", ["switchboard secrets put vapi-public-key"]),
        ({VAPI_PUBLIC_KEY: "garbage", CONNECTION: "garbage"}, "", ["switchboard secrets put vapi-public-key", "switchboard connect"]),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_and_no_call_is_offered(
    settings: Settings, clock: Clock, stored: dict[str, str], assistant: str, said: list[str]
) -> None:
    answer = get(site(settings, clock, stored, assistant_id=assistant), "/")
    shown = re.findall(r"<li >.*<code>(.+)</code></li>", answer["body"])

    assert answer["statusCode"] == 200
    assert shown == said
    assert "button" not in {tag for tag, _ in Elements(answer["body"]).found}
    assert "<strong>switchboard</strong>" in answer["body"]


def test_a_stack_that_offers_no_calls_gives_no_key_away(settings: Settings, clock: Clock) -> None:
    stored = {VAPI_PUBLIC_KEY: KEY, CONNECTION: '{"assistant_id": "connected-1"}'}
    answer = get(site(settings, clock, stored, web_calls=False), "/")

    assert answer["statusCode"] == 200
    assert "switched off" in answer["body"]
    assert development.VAPI_PUBLIC_KEY not in answer["body"]
    assert "button" not in {tag for tag, _ in Elements(answer["body"]).found}


def test_without_ssm_the_page_says_that_it_is_not_available(settings: Settings, clock: Clock) -> None:
    answer = get(site(settings, clock, None, assistant_id="a"), "/")

    assert answer["statusCode"] == 503
    assert "Not available right now" in answer["body"]
    assert "button" not in {tag for tag, _ in Elements(answer["body"]).found}


def test_without_ssm_the_files_are_served_all_the_same(settings: Settings, clock: Clock) -> None:
    assert get(site(settings, clock, None), "/assets/style.css")["statusCode"] == 200


# What a browser is told


def policy(answer: dict[str, Any]) -> dict[str, list[str]]:
    directives = (part.split() for part in answer["headers"]["content-security-policy"].split(";"))
    return {name: sources for name, *sources in directives}


def test_nothing_inline_and_nothing_evaluated_may_run(ready: Site) -> None:
    found = policy(get(ready, "/"))

    assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "https:", "data:"} & {
        source for sources in found.values() for source in sources
    }
    assert found["default-src"] == found["base-uri"] == found["form-action"] == found["frame-ancestors"] == ["'none'"]


def test_the_policy_names_the_hosts_that_a_call_needs_and_no_other(ready: Site) -> None:
    found = policy(get(ready, "/"))

    assert found["connect-src"] == [
        "'self'", "https://api.vapi.ai", "https://*.daily.co", "wss://*.daily.co", "https://prod-ks.pluot.blue"
    ]  # fmt: skip
    assert found["script-src"] == ["'self'", "https://c.daily.co", "blob:", "'wasm-unsafe-eval'"]


def test_the_page_about_it_gives_the_reason_of_every_source() -> None:
    rows = re.findall(r"^\| (`.+-src`) \| (.+?) \| (.+) \|$", (ROOT / "docs/web.md").read_text("utf-8"), re.MULTILINE)
    explained = {
        (directive, source)
        for directives, sources, _ in rows
        for directive in re.findall(r"`(.+?)`", directives)
        for source in re.findall(r"`(.+?)`", sources)
    }
    set_up = {
        (directive, "VapiApiUrl" if source == "{vapi}" else source)
        for directive, sources in pages.POLICY.items()
        for source in sources.split()
        if source != "'none'"
    }

    assert explained == set_up


def test_the_policy_follows_the_api_of_the_stack(settings: Settings, clock: Clock) -> None:
    eu = site(settings, clock, {}, vapi_url="https://api.eu.vapi.ai")

    assert "https://api.eu.vapi.ai" in policy(get(eu, "/"))["connect-src"]
    assert "https://api.vapi.ai" not in policy(get(eu, "/"))["connect-src"]


def test_daily_is_loaded_from_a_host_of_the_policy(ready: Site) -> None:
    daily = (ASSETS / "daily.js").read_text("utf-8")
    hosts = set(re.findall(r'"(https://[a-z.]+)/(?:call-machine|_ks_)', daily))

    assert hosts == {"https://c.daily.co", "https://gs.daily.co"}
    assert "https://c.daily.co" in policy(get(ready, "/"))["script-src"]


def test_the_page_may_use_the_microphone_and_nothing_else(ready: Site) -> None:
    headers = get(ready, "/")["headers"]

    assert headers["permissions-policy"] == "microphone=(self), camera=(), display-capture=(), geolocation=()"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/assets/main.js"])
def test_no_answer_may_be_guessed_at_or_fetched_over_http(ready: Site, path: str) -> None:
    headers = get(ready, path)["headers"]

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize("name", ["index.html", *pages.PARTS])
def test_no_script_no_style_and_no_handler_is_inline(name: str) -> None:
    for tag, given in Elements((ASSETS / name).read_text("utf-8")).found:
        assert tag != "style"
        assert tag != "script" or given["src"]
        assert not [attribute for attribute in given if attribute == "style" or attribute.startswith("on")]


# The files


def test_every_file_that_a_file_names_is_served(ready: Site) -> None:
    own = [path for path in ASSETS.iterdir() if path.name not in ("daily.js", "vapi.js", "NOTICES.txt")]
    texts = "".join(path.read_text("utf-8") for path in own) + (ASSETS / "vapi.js").read_text("utf-8")
    named = set(re.findall(r'"/assets/([\w.]+)"', texts)) | set(re.findall(r'from ?"\./([\w.]+)"', texts))

    assert {"main.js", "style.css", "icon.svg", "vapi.js", "daily.js", "NOTICES.txt"} <= named
    assert {name: get(ready, f"/assets/{name}")["statusCode"] for name in named} == dict.fromkeys(named, 200)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("main.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("NOTICES.txt", "text/plain; charset=utf-8"),
    ],
)
def test_a_file_has_its_type_and_its_content(ready: Site, name: str, kind: str) -> None:
    answer = get(ready, f"/assets/{name}")

    assert answer["headers"]["content-type"] == kind
    assert answer["body"] == (ASSETS / name).read_text("utf-8")


@pytest.mark.parametrize(
    "path",
    [
        "/assets/index.html",
        "/assets/talk.html",
        "/assets/",
        "/assets",
        "/assets/../app.py",
        "/assets/..%2Fapp.py",
        "/assets//etc/passwd",
        "/assets/%2e%2e/app.py",
        "/assets/main.js/",
        "/assets/MAIN.JS",
        "/assets/main.js\0",
        "/main.js",
        "/index.html",
        "",
    ],
)
def test_nothing_else_is_served(ready: Site, path: str) -> None:
    answer = get(ready, path)

    assert (answer["statusCode"], answer["body"]) == (404, '{"error":"not found"}')


def test_a_large_file_is_packed_for_whoever_unpacks_it(ready: Site) -> None:
    whole = get(ready, "/assets/daily.js")
    packed = get(ready, "/assets/daily.js", accept_encoding="br, gzip")

    assert packed["isBase64Encoded"] is True
    assert packed["headers"]["content-encoding"] == "gzip"
    assert packed["headers"]["vary"] == whole["headers"]["vary"] == "accept-encoding"
    assert gzip.decompress(base64.b64decode(packed["body"])).decode() == whole["body"]
    assert len(packed["body"]) < len(whole["body"]) / 2


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("GZIP ; Q=0.001", True),
        ("*", True),
        ("*;q=0, gzip", True),
        ("gzip;q=1.0", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*, gzip;q=0", False),
        ("*;q=0", False),
        ("gzip;q=nan", False),
        ("gzip;level=9", False),
        ("gzipped", False),
        ("identity, br", False),
        ("", False),
    ],
)
def test_a_file_is_packed_for_nobody_who_does_not_want_it(ready: Site, accepted: str, packed: bool) -> None:
    answer = get(ready, "/assets/talk.js", accept_encoding=accepted)

    assert (answer["headers"].get("content-encoding") == "gzip") is packed


def test_what_is_packed_has_a_tag_of_its_own(ready: Site) -> None:
    whole = get(ready, "/assets/daily.js")["headers"]["etag"]
    packed = get(ready, "/assets/daily.js", accept_encoding="gzip")["headers"]["etag"]

    assert whole != packed
    for tag, accepted, status in ((packed, "gzip", 304), (whole, "gzip", 200), (packed, "", 200), (whole, "", 304)):
        answer = get(ready, "/assets/daily.js", accept_encoding=accepted, if_none_match=tag)
        assert answer["statusCode"] == status
        assert answer["headers"]["etag"] == (packed if accepted else whole)


def test_a_small_file_is_not_worth_packing(ready: Site) -> None:
    assert "content-encoding" not in get(ready, "/assets/icon.svg", accept_encoding="gzip")["headers"]


def test_a_browser_that_has_a_file_is_not_sent_it_again(ready: Site) -> None:
    first = get(ready, "/assets/daily.js")
    again = get(ready, "/assets/daily.js", if_none_match=first["headers"]["etag"])
    weak = get(ready, "/assets/daily.js", if_none_match=f'W/{first["headers"]["etag"]}, "other"')
    other = get(ready, "/assets/daily.js", if_none_match=get(ready, "/assets/vapi.js")["headers"]["etag"])

    assert (again["statusCode"], again["body"], weak["statusCode"]) == (304, "", 304)
    assert other["statusCode"] == 200
    assert first["headers"]["cache-control"] == "no-cache"


def test_the_same_file_has_the_same_tag_on_every_start(settings: Settings, clock: Clock) -> None:
    one, two = (site(settings, clock, {}).assets["daily.js"] for _ in range(2))

    assert one == two


def test_an_answer_fits_what_lambda_may_answer(ready: Site) -> None:
    limit = 6 * 1024 * 1024

    assert max(len(get(ready, f"/assets/{name}")["body"]) for name in ready.assets) < limit


def test_a_body_that_is_none_is_refused(ready: Site) -> None:
    answer = pages.respond(ready, {"rawPath": "/", "body": "é", "isBase64Encoded": True})

    assert answer["statusCode"] == 400
