"""The event files: in step with functions and template, shaped as AWS sends them, really signed, and nobody's data."""

import hashlib
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlsplit

import pytest
import yaml

from devkit import development, events
from devkit.server_messages import CANARY
from switchboard import signatures
from switchboard.errors import SignatureRefused
from switchboard.settings import LOOPBACK, Settings
from switchboard.signatures import Secret

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events"
FILES = sorted(str(path.relative_to(EVENTS)) for path in EVENTS.glob("*/*.json"))
HTTP = [name for name in FILES if not name.startswith(("tool_worker/", "sweeper/", "outbound/"))]
SQS = [name for name in FILES if name.startswith("tool_worker/")]
SIGNED = [name for name in HTTP if not name.startswith(("health/", "console/", "web_client/"))]
FORGED = [name for name in SIGNED if "/forged_" in name]
STALE = [name for name in SIGNED if "/stale_" in name]
GOOD = sorted({*SIGNED} - {*FORGED, *STALE})
VAPI = [name for name in HTTP if name.startswith("vapi_webhook/")]

ENV = json.loads((EVENTS / "env.json").read_text())["Parameters"]
FALLBACK_URL = "c0ffee1234c0ffee1234c0ffee123456.lambda-url.us-east-1.on.aws"  # where AWS would serve voice_fallback
# What API Gateway hands over as text; all other bodies come in base64.
TEXT_TYPES = ("text/", "application/json", "application/xml", "application/javascript")
DOCUMENTATION_NETWORKS = ("192.0.2.", "198.51.100.", "203.0.113.", "127.0.0.1")  # RFC 5737, and this machine


class Template(yaml.SafeLoader):
    """YAML whose CloudFormation tags are passed over: what they stand for does not matter here."""


def _argument(loader: Template, _tag: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    return loader.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else None


Template.add_multi_constructor("!", _argument)
TEMPLATE = yaml.load((ROOT / "template.yaml").read_text(), Template)  # noqa: S506 - a safe loader with one more tag
FUNCTIONS = {
    name: made["Properties"] for name, made in TEMPLATE["Resources"].items() if made["Type"].endswith("::Function")
}

TOLERANCE = int(TEMPLATE["Parameters"]["SignatureTolerance"]["Default"])  # seconds, of a stack on AWS


def load(name: str) -> dict[str, Any]:
    """A fresh copy of an event."""
    return events.read(EVENTS / name)


def words(name: str) -> str:
    """Everything that an event says, its body decoded."""
    event = load(name)
    body = events.body(event).decode()
    is_form = "form" in event.get("headers", {}).get("content-type", "")
    return json.dumps({**event, "body": ""}) + (unquote_plus(body) if is_form else body)


def sources(folder: str) -> list[dict[str, Any]]:
    """What the template has call the functions whose code is in a folder."""
    owners = [made for made in FUNCTIONS.values() if made["CodeUri"] == f"functions/{folder}"]
    return [source for made in owners for source in made.get("Events", {}).values()]


def verify(name: str, now: float, tolerance: int) -> str:
    """The id of the development secret that signed an event, or `SignatureRefused`."""
    event = load(name)
    headers, body = event["headers"], events.body(event)
    if name in VAPI:
        known = [Secret("vapi", development.VAPI_WEBHOOK_SECRET)]
        scheme = signatures.PRESETS[ENV["SIGNATURE_SCHEME"]]
        return signatures.verify(scheme, headers, body, known, now=now, tolerance=tolerance)
    origin = f"https://{FALLBACK_URL}" if name.startswith("voice_fallback/") else development.PUBLIC_BASE_URL
    known = [Secret("twilio", development.TWILIO_AUTH_TOKEN)]
    claimed = headers[events.TWILIO_SIGNATURE]
    query = f"?{event['rawQueryString']}" if event["rawQueryString"] else ""
    return signatures.verify_twilio(origin + event["rawPath"] + query, signatures.parse_form(body), claimed, known)


def sent_at(event: dict[str, Any]) -> float:
    """When AWS took the request in, in epoch seconds."""
    return float(event["requestContext"]["timeEpoch"] / 1000)


def test_functions_template_and_events_have_the_same_folders() -> None:
    folders = {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}

    assert {made["CodeUri"] for made in FUNCTIONS.values()} == {f"functions/{folder}" for folder in folders}
    assert {path.name for path in EVENTS.iterdir() if path.is_dir()} == folders


def test_the_readme_lists_every_file_once() -> None:
    listed = re.findall(r"^\| `([^`]+)` \| .+ \| `.+` \|$", (EVENTS / "README.md").read_text(), re.MULTILINE)

    assert sorted(listed) == FILES


def test_nothing_else_lies_there() -> None:
    found = {str(path.relative_to(EVENTS)) for path in EVENTS.rglob("*") if path.is_file()}

    assert found == {*FILES, "README.md", "env.json"}


def test_env_gives_every_variable_that_all_functions_share() -> None:
    assert ENV.keys() == TEMPLATE["Globals"]["Function"]["Environment"]["Variables"].keys()


def test_env_points_at_the_local_stack_and_nowhere_else() -> None:
    settings = Settings.from_env(ENV)
    addresses = {name: value for name, value in ENV.items() if "://" in value}
    port = development.PORT

    assert settings.local
    assert settings.table == f"{development.STACK_NAME}-calls"
    assert settings.live_queue.endswith(f"/{development.STACK_NAME}-live")
    assert settings.after_call_queue.endswith(f"/{development.STACK_NAME}-after-call")
    assert settings.parameter_path == f"/switchboard/{development.STACK_NAME}"
    assert settings.aws_url == f"http://localhost:{port}"
    assert (settings.vapi_url, settings.twilio_url) == (f"http://localhost:{port + 1}", f"http://localhost:{port + 2}")
    assert {urlsplit(value).hostname for value in addresses.values()} <= {*LOOPBACK}
    assert settings.account_sids == {development.TWILIO_ACCOUNT_SID}
    assert (settings.assistant_id, settings.phone_number_id, settings.credential_id) == (
        development.ASSISTANT_ID,
        development.PHONE_NUMBER_ID,
        development.CREDENTIAL_ID,
    )


def test_env_says_what_the_template_says_about_everything_else() -> None:
    defaults = {name: str(made.get("Default", "")) for name, made in TEMPLATE["Parameters"].items()}
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    own = {
        *("STAGE", "VAPI_API_URL", "TWILIO_API_URL", "AWS_API_URL", "SIGNATURE_TOLERANCE", "VAPI_INBOUND_URL"),
        *("ASSISTANT_ID", "PHONE_NUMBER_ID", "CREDENTIAL_ID", "TWILIO_ACCOUNT_SIDS"),
        "WEB_CALLS",  # as the local stack has it, where a call costs nobody anything
    }
    shared = {name: parameter for name, parameter in variables.items() if parameter in defaults and name not in own}

    assert "APOLOGY" in shared
    assert {name: ENV[name] for name in shared} == {name: defaults[parameter] for name, parameter in shared.items()}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_not_called_forged_or_stale_verifies(name: str) -> None:
    assert verify(name, sent_at(load(name)), TOLERANCE) in ("vapi", "twilio")


@pytest.mark.parametrize("name", GOOD)
def test_committed_signatures_are_good_for_years_under_env(name: str) -> None:
    years = sent_at(load(name)) + 19 * 365 * 24 * 3600

    assert verify(name, years, int(ENV["SIGNATURE_TOLERANCE"]))


@pytest.mark.parametrize("name", FORGED)
def test_what_is_called_forged_does_not_verify(name: str) -> None:
    with pytest.raises(SignatureRefused, match=r"^signature_(mismatch|missing)$"):
        verify(name, sent_at(load(name)), int(ENV["SIGNATURE_TOLERANCE"]))


@pytest.mark.parametrize("name", STALE)
def test_what_is_called_stale_was_rightly_signed_but_is_too_old_even_under_env(name: str) -> None:
    event = load(name)

    assert verify(name, float(event["headers"]["x-timestamp"]), tolerance=1)
    with pytest.raises(SignatureRefused, match=r"^timestamp_stale$"):
        verify(name, sent_at(event), int(ENV["SIGNATURE_TOLERANCE"]))


@pytest.mark.parametrize("name", FILES)
def test_signing_again_changes_nothing(name: str) -> None:
    event = load(name)
    signed = events.sign(event) if name in (*GOOD, *STALE) and events.is_signed(event) else event

    assert (EVENTS / name).read_text() == json.dumps(signed, indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize("name", HTTP)
def test_requests_are_what_api_gateway_hands_over(name: str) -> None:
    event = load(name)
    headers, context = event["headers"], event["requestContext"]

    assert event["version"] == "2.0"
    assert event["routeKey"] == context["routeKey"]
    assert context["stage"] == "$default"
    assert list(headers) == [header.lower() for header in headers]
    assert {"x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "x-amzn-trace-id"} <= headers.keys()
    assert "cookies" not in event  # nobody here sends one
    assert headers["host"] == context["domainName"]
    assert headers["x-forwarded-for"] == context["http"]["sourceIp"]
    assert headers["user-agent"] == context["http"]["userAgent"]
    assert event["rawPath"] == context["http"]["path"]
    assert context["time"] == datetime.fromtimestamp(sent_at(event), UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    assert ("body" in event) == (context["http"]["method"] == "POST")


@pytest.mark.parametrize("name", [name for name in HTTP if "body" in load(name)])
def test_bodies_are_encoded_as_api_gateway_does(name: str) -> None:
    event = load(name)
    is_text = event["headers"]["content-type"].startswith(TEXT_TYPES)

    assert int(event["headers"]["content-length"]) == len(events.body(event))
    assert event["isBase64Encoded"] is (not is_text and name != "twilio_voice/unencoded_body.json")


@pytest.mark.parametrize("name", HTTP)
def test_requests_come_by_a_route_of_their_function(name: str) -> None:
    event, folder = load(name), name.partition("/")[0]
    routes = {
        f"{made['Properties']['Method']} {made['Properties']['Path']}"
        for made in sources(folder)
        if made["Type"] == "HttpApi"
    }

    if folder == "voice_fallback":
        assert not routes
        assert FUNCTIONS["VoiceFallbackFunction"]["FunctionUrlConfig"]
        assert (event["routeKey"], event["headers"]["host"]) == ("$default", FALLBACK_URL)
    else:
        assert event["routeKey"] in routes
        path = event["routeKey"].format(**event.get("pathParameters", {}))
        assert path == f"{event['requestContext']['http']['method']} {event['rawPath']}"


@pytest.mark.parametrize("name", SQS)
def test_tickets_come_off_a_queue_of_the_worker(name: str) -> None:
    queues = {made["Properties"]["Queue"].partition(".")[0] for made in sources("tool_worker")}
    names = {TEMPLATE["Resources"][queue]["Properties"]["QueueName"] for queue in queues}
    arns = {
        f"arn:aws:sqs:us-east-1:000000000000:{queue}".replace("${AWS::StackName}", development.STACK_NAME)
        for queue in names
    }
    records = load(name)["Records"]

    assert len({record["eventSourceARN"] for record in records}) == 1  # Lambda never mixes queues
    for record in records:
        assert record["eventSourceARN"] in arns
        assert record["md5OfBody"] == hashlib.md5(record["body"].encode(), usedforsecurity=False).hexdigest()
        assert int(record["attributes"]["ApproximateReceiveCount"]) >= 1


@pytest.mark.parametrize("name", [name for name in VAPI if name != "vapi_webhook/not_json.json"])
def test_vapi_bodies_are_compact_json_about_one_call(name: str) -> None:
    body = events.body(load(name)).decode()
    document = json.loads(body)

    assert body == json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    assert document["message"]["call"]["id"] == "00000000-0000-4000-8000-00000000ca11"


@pytest.mark.parametrize("name", FILES)
def test_every_phone_number_is_a_fictitious_one(name: str) -> None:
    said = words(name)
    # Twelve digits and more are times in milliseconds, and parts of ids stand beside a letter or a hyphen.
    bare = re.findall(r"(?<![\w.+/-])1?[2-9]\d{9}(?![\w.-])", said)

    assert all(re.fullmatch(r"\+1[2-9]\d\d55501\d\d", number) for number in re.findall(r"\+\d{7,}", said))
    assert not bare


def test_the_phone_number_test_sees_numbers() -> None:
    found = re.findall(r"\+\d{7,}", words("twilio_voice/incoming_call.json"))

    assert found == ["+12025550100", "+12025550143", "+12025550143", "+12025550100"]  # Called, Caller, From, To


@pytest.mark.parametrize("name", FILES)
def test_nothing_looks_like_a_real_secret_or_a_real_place(name: str) -> None:
    said = words(name)
    accounts = set(re.findall(r"AC[0-9a-f]{32}", said))
    hosts = set(re.findall(r"(?:https?|wss?)://([^/:\"]+)", said))

    assert accounts <= {development.TWILIO_ACCOUNT_SID, "AC" + "0" * 32}
    assert all(found.startswith(DOCUMENTATION_NETWORKS) for found in re.findall(r"\b(?:\d{1,3}\.){3}\d{1,3}\b", said))
    assert hosts <= {"127.0.0.1", development.HOST, "recordings.example.com"}
    assert not re.search(r"AKIA[0-9A-Z]{16}|\bsk[-_][A-Za-z0-9]|eyJ[A-Za-z0-9_-]{8}|-----BEGIN|\bBearer |@", said)
    assert not set(development.SECRETS.values()) & set(re.findall(r"[\w-]+", said))


@pytest.mark.parametrize("name", [name for name in VAPI if name != "vapi_webhook/not_json.json"])
def test_where_vapi_sends_credentials_there_is_the_canary(name: str) -> None:
    assert json.loads(events.body(load(name)))["message"]["phoneNumber"]["twilioAuthToken"] == CANARY
