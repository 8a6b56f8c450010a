"""The environment: what is missing or dangerous stops a function before its first request."""

from typing import Any

import pytest

from switchboard.errors import SettingsError
from switchboard.settings import Settings
from switchboard.signatures import PRESETS
from tests.conftest import ENVIRONMENT


def read(**changes: str) -> Settings:
    return Settings.from_env({**ENVIRONMENT, **changes})


def complaint(**changes: str) -> str:
    with pytest.raises(SettingsError) as error:
        read(**changes)
    return str(error.value)


def test_the_templates_defaults_are_read_into_types() -> None:
    settings = read()

    assert settings == Settings(
        stage="prod",
        table="switchboard-calls",
        live_queue=ENVIRONMENT["LIVE_QUEUE_URL"],
        after_call_queue=ENVIRONMENT["AFTER_CALL_QUEUE_URL"],
        parameter_path="/switchboard/switchboard",
        vapi_url="https://api.vapi.ai",
        twilio_url="https://api.twilio.com",
        aws_url="",
        emulated=False,
        scheme=PRESETS["vapi-hmac"],
        tolerance=300,
        assistant_id="",
        fallback_assistant_id=ENVIRONMENT["FALLBACK_ASSISTANT_ID"],
        phone_number_id=ENVIRONMENT["PHONE_NUMBER_ID"],
        credential_id="",
        org_ids=frozenset(),
        assistant_ids=frozenset(),
        account_sids=frozenset(),
        control_authentication=True,
        store_transcripts=True,
        transcript_hours=24,
        retention_hours=24,
        voice_budget=8,
        apology=ENVIRONMENT["APOLOGY"],
        way="bypass",
        sip_uri="",
        inbound_url="https://api.vapi.ai/twilio/inbound_call",
        ladder=("queue", "human", "apology"),
        human_number="",
        hold_music_url="",
        queue_minutes=10,
        max_calls=10,
        max_call_minutes=30,
        caller_hourly_calls=20,
        daily_calls=1000,
        outbound_prefixes="",
        quiet_hours="",
        twilio_api_key="",
        web_calls=True,
        preload_tools=False,
        warm_functions=(),
    )


def test_ids_are_read_where_they_are_given() -> None:
    settings = read(ASSISTANT_ID="a", FALLBACK_ASSISTANT_ID="b", PHONE_NUMBER_ID="c", CREDENTIAL_ID="d")

    assert settings.assistant_id == "a"
    assert settings.fallback_assistant_id == "b"
    assert settings.phone_number_id == "c"
    assert settings.credential_id == "d"


REQUIRED = (
    "STAGE",
    "TABLE_NAME",
    "LIVE_QUEUE_URL",
    "AFTER_CALL_QUEUE_URL",
    "PARAMETER_PATH",
    "VAPI_API_URL",
    "TWILIO_API_URL",
    "SIGNATURE_SCHEME",
    "SIGNATURE_TOLERANCE",
    "CONTROL_AUTHENTICATION",
    "STORE_TRANSCRIPTS",
    "TRANSCRIPT_HOURS",
    "RETENTION_HOURS",
    "VOICE_BUDGET_SECONDS",
    "VOICE_WAY",
    "VAPI_INBOUND_URL",
    "QUEUE_MINUTES",
    "MAX_CALLS",
    "MAX_CALL_MINUTES",
    "CALLER_HOURLY_CALLS",
    "DAILY_CALLS",
    "WEB_CALLS",
    "APOLOGY",
)


@pytest.mark.parametrize("name", REQUIRED)
def test_what_is_missing_or_blank_is_named(name: str) -> None:
    without = {key: value for key, value in ENVIRONMENT.items() if key != name}

    with pytest.raises(SettingsError, match=f"^{name} is not set$"):
        Settings.from_env(without)
    assert complaint(**{name: "  "}) == f"{name} is not set"


def test_everything_else_may_be_missing() -> None:
    assert Settings.from_env({name: ENVIRONMENT[name] for name in REQUIRED}).stage == "prod"


def test_blanks_around_a_value_and_slashes_behind_it_mean_nothing() -> None:
    settings = read(STAGE=" dev ", PARAMETER_PATH="/switchboard/x/", VAPI_API_URL=" https://api.vapi.ai/ ")

    assert (settings.stage, settings.parameter_path) == ("dev", "/switchboard/x")
    assert settings.vapi_url == "https://api.vapi.ai"


@pytest.mark.parametrize("name", ["SIGNATURE_TOLERANCE", "TRANSCRIPT_HOURS", "RETENTION_HOURS", "VOICE_BUDGET_SECONDS"])
def test_numbers_are_whole_and_not_negative(name: str) -> None:
    for text in ("1.5", "many", "1e3", "0x10", "nan"):
        assert complaint(**{name: text}) == f"{name} must be a whole number"
    assert complaint(**{name: "-1"}) == f"{name} must not be negative"
    assert read(**{name: "0"}) is not None


@pytest.mark.parametrize("name", ["CONTROL_AUTHENTICATION", "STORE_TRANSCRIPTS", "WEB_CALLS"])
def test_a_flag_is_true_or_false_and_nothing_that_looks_like_it(name: str) -> None:
    assert getattr(read(**{name: "true"}), name.lower()) is True
    assert getattr(read(**{name: "false"}), name.lower()) is False
    for text in ("True", "FALSE", "1", "yes", "off"):
        assert complaint(**{name: text}) == f"{name} must be true or false"


def test_numbers_reach_their_own_fields() -> None:
    settings = read(TRANSCRIPT_HOURS="1", RETENTION_HOURS="2", VOICE_BUDGET_SECONDS="3", SIGNATURE_TOLERANCE="4")

    assert (settings.transcript_hours, settings.retention_hours) == (1, 2)
    assert (settings.voice_budget, settings.tolerance) == (3, 4)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("ALLOWED_ORG_IDS", "org_ids"),
        ("ALLOWED_ASSISTANT_IDS", "assistant_ids"),
        ("TWILIO_ACCOUNT_SIDS", "account_sids"),
    ],
)
def test_a_list_of_names_forgives_blanks_and_commas(name: str, field: str) -> None:
    assert getattr(read(**{name: "a, b ,,c,"}), field) == {"a", "b", "c"}
    assert getattr(read(**{name: " , "}), field) == frozenset()


# Signatures


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_chosen(name: str) -> None:
    assert read(SIGNATURE_SCHEME=name).scheme == PRESETS[name]


def test_an_unknown_preset_does_not_start() -> None:
    assert "unknown signature scheme 'none'" in complaint(SIGNATURE_SCHEME="none")


def test_parts_of_a_scheme_can_be_overridden() -> None:
    scheme = read(SIGNATURE_OVERRIDES='{"signature_header":"X-Mine","algorithm":"sha512"}').scheme

    assert (scheme.signature_header, scheme.algorithm) == ("x-mine", "sha512")


@pytest.mark.parametrize("text", ["{", "[]", "1", '"text"', "null", "vapi-hmac"])
def test_overrides_are_a_json_object(text: str) -> None:
    assert complaint(SIGNATURE_OVERRIDES=text) == "SIGNATURE_OVERRIDES must be a JSON object"


@pytest.mark.parametrize("text", ["", " ", "{}"])
def test_no_overrides_leave_the_preset(text: str) -> None:
    assert read(SIGNATURE_OVERRIDES=text).scheme == PRESETS["vapi-hmac"]


def test_overrides_that_could_not_be_checked_do_not_start() -> None:
    assert "algorithm" in complaint(SIGNATURE_OVERRIDES='{"algorithm":"md5"}')


@pytest.mark.parametrize("stage", ["prod", "staging", "dev", "Local", "localhost"])
def test_a_deployed_stack_believes_no_timestamp_older_than_five_minutes(stage: str) -> None:
    assert read(STAGE=stage, SIGNATURE_TOLERANCE="300").tolerance == 300
    assert "only for STAGE=local" in complaint(STAGE=stage, SIGNATURE_TOLERANCE="301")


def test_a_laptop_may_believe_older_ones() -> None:
    assert read(STAGE="local", SIGNATURE_TOLERANCE="999999999").tolerance == 999_999_999


# Where requests go


@pytest.mark.parametrize("name", ["VAPI_API_URL", "TWILIO_API_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "http://api.vapi.ai",
        "http://127.0.0.1:4567",
        "ftp://api.vapi.ai",
        "api.vapi.ai",
        "//api.vapi.ai",
        "https://",
        "https:///path",
        "https://[::1",
        "https://[api.vapi.ai]",
        "https://api.vapi.ai:99999",
        "https://api.vapi.ai:port",
    ],
)
def test_a_deployed_stack_sends_keys_over_https_only(name: str, url: str) -> None:
    assert complaint(**{name: url}) == f"{name} must be an https URL (http on loopback only for STAGE=local)"


@pytest.mark.parametrize("url", ["http://127.0.0.1:4567", "http://localhost:4567", "http://[::1]:4567", "https://a.eu"])
def test_a_laptop_may_send_to_loopback(url: str) -> None:
    assert read(STAGE="local", VAPI_API_URL=url).vapi_url == url


@pytest.mark.parametrize(
    "url", ["http://api.vapi.ai", "http://10.0.0.1", "ftp://127.0.0.1", "http://127.0.0.1.example"]
)
def test_even_a_laptop_sends_to_nobody_else_without_tls(url: str) -> None:
    assert "must be an https URL" in complaint(STAGE="local", VAPI_API_URL=url)


def test_another_aws_is_only_for_a_laptop() -> None:
    assert read(STAGE="local", AWS_API_URL=" http://127.0.0.1:4566 ").aws_url == "http://127.0.0.1:4566"
    assert complaint(STAGE="prod", AWS_API_URL="http://127.0.0.1:4566") == "AWS_API_URL is only for STAGE=local"
    assert read(STAGE="prod", AWS_API_URL="  ").aws_url == ""


@pytest.mark.parametrize("name", ["AWS_API_URL", "AWS_ENDPOINT_URL"])
def test_aws_is_emulated_where_the_stage_is_local_and_its_address_is_this_machines(name: str) -> None:
    assert read(**{"STAGE": "local", name: "http://127.0.0.1:4566"}).emulated
    assert not read(**{"STAGE": "local", name: "https://dynamodb.us-east-1.amazonaws.com"}).emulated
    assert not read(STAGE="local").emulated
    assert not read(STAGE="prod", AWS_ENDPOINT_URL="http://127.0.0.1:4566").emulated


@pytest.mark.parametrize(("stage", "local"), [("local", True), ("prod", False), ("dev", False), ("LOCAL", False)])
def test_only_the_stage_called_local_is_local(stage: str, local: Any) -> None:
    assert read(STAGE=stage).local is local


def test_the_way_is_one_of_three() -> None:
    assert [read(VOICE_WAY=way).way for way in ("bypass", "sip", "redirect")] == ["bypass", "sip", "redirect"]
    assert complaint(VOICE_WAY="carrier pigeon") == "VOICE_WAY must be one of bypass, sip, redirect"


def test_a_ladder_ends_in_the_apology_whatever_is_on_it() -> None:
    assert read(LADDER="queue, voicemail").ladder == ("queue", "voicemail", "apology")
    assert read(LADDER="human,apology").ladder == ("human", "apology")
    assert read(LADDER="").ladder == ("apology",)
    assert complaint(LADDER="queue,siren") == "LADDER has siren; its steps are queue, human, voicemail, apology"
