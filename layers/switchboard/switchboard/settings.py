"""The environment of a function as one typed value. Read once at the top of a handler, never inside this package."""

import json
from collections.abc import Mapping
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from switchboard.errors import SettingsError
from switchboard.signatures import Scheme, choose

LOCAL = "local"
BYPASS, SIP, REDIRECT = WAYS = ("bypass", "sip", "redirect")
STEPS = ("queue", "human", "voicemail", "apology")
MAX_TOLERANCE = 300  # seconds; what Stripe and Standard Webhooks allow
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Settings(NamedTuple):
    """What the template decides. Times are seconds unless the name says hours."""

    stage: str
    table: str
    live_queue: str
    after_call_queue: str
    parameter_path: str
    vapi_url: str
    twilio_url: str
    aws_url: str
    emulated: bool
    """Whether AWS is an emulator on this machine. In an account it is not, whatever its stage is called."""
    scheme: Scheme
    tolerance: int
    assistant_id: str
    fallback_assistant_id: str
    phone_number_id: str
    credential_id: str
    org_ids: frozenset[str]
    assistant_ids: frozenset[str]
    account_sids: frozenset[str]
    control_authentication: bool
    store_transcripts: bool
    transcript_hours: int
    retention_hours: int
    voice_budget: int
    apology: str
    way: str
    sip_uri: str
    inbound_url: str
    ladder: tuple[str, ...]
    human_number: str
    hold_music_url: str
    queue_minutes: int
    max_calls: int
    max_call_minutes: int
    caller_hourly_calls: int
    daily_calls: int
    outbound_prefixes: str
    quiet_hours: str
    twilio_api_key: str
    web_calls: bool
    preload_tools: bool
    """Whether this function is there to run tools: only its own block in the template says so."""
    warm_functions: tuple[str, ...]
    """Whom this function wakes when a call begins, by name or ARN."""

    @property
    def longest_leg(self) -> int:
        """Seconds that a phone leg may take, in line and on the call."""
        return (self.max_call_minutes + self.queue_minutes) * 60

    @property
    def local(self) -> bool:
        """Whether this runs on somebody's machine: the only stage that may talk to loopback addresses."""
        return self.stage == LOCAL

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the environment; `SettingsError` names what is missing or must not run."""
        stage = _text(env, "STAGE")
        return cls(
            stage=stage,
            table=_text(env, "TABLE_NAME"),
            live_queue=_text(env, "LIVE_QUEUE_URL"),
            after_call_queue=_text(env, "AFTER_CALL_QUEUE_URL"),
            parameter_path=_text(env, "PARAMETER_PATH").rstrip("/"),
            vapi_url=_url(env, "VAPI_API_URL", stage),
            twilio_url=_url(env, "TWILIO_API_URL", stage),
            aws_url=_aws_url(env, stage),
            emulated=_emulated(env, stage),
            scheme=choose(_text(env, "SIGNATURE_SCHEME"), _overrides(env)),
            tolerance=_tolerance(env, stage),
            assistant_id=env.get("ASSISTANT_ID", ""),
            fallback_assistant_id=env.get("FALLBACK_ASSISTANT_ID", ""),
            phone_number_id=env.get("PHONE_NUMBER_ID", ""),
            credential_id=env.get("CREDENTIAL_ID", ""),
            org_ids=_names(env, "ALLOWED_ORG_IDS"),
            assistant_ids=_names(env, "ALLOWED_ASSISTANT_IDS"),
            account_sids=_names(env, "TWILIO_ACCOUNT_SIDS"),
            control_authentication=_flag(env, "CONTROL_AUTHENTICATION"),
            store_transcripts=_flag(env, "STORE_TRANSCRIPTS"),
            transcript_hours=_number(env, "TRANSCRIPT_HOURS"),
            retention_hours=_number(env, "RETENTION_HOURS"),
            voice_budget=_number(env, "VOICE_BUDGET_SECONDS"),
            apology=_text(env, "APOLOGY"),
            way=_way(env),
            sip_uri=env.get("SIP_URI", ""),
            inbound_url=_url(env, "VAPI_INBOUND_URL", stage),
            ladder=_ladder(env),
            human_number=env.get("HUMAN_NUMBER", ""),
            hold_music_url=env.get("HOLD_MUSIC_URL", ""),
            queue_minutes=_number(env, "QUEUE_MINUTES"),
            max_calls=_number(env, "MAX_CALLS"),
            max_call_minutes=_number(env, "MAX_CALL_MINUTES"),
            caller_hourly_calls=_number(env, "CALLER_HOURLY_CALLS"),
            daily_calls=_number(env, "DAILY_CALLS"),
            outbound_prefixes=env.get("OUTBOUND_PREFIXES", ""),
            quiet_hours=env.get("QUIET_HOURS", ""),
            twilio_api_key=env.get("TWILIO_API_KEY_SID", ""),
            web_calls=_flag(env, "WEB_CALLS"),
            preload_tools=env.get("PRELOAD_TOOLS") == "true",
            warm_functions=_listed(env, "WARM_FUNCTIONS"),
        )


def _text(env: Mapping[str, str], name: str) -> str:
    value = env.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _number(env: Mapping[str, str], name: str) -> int:
    try:
        number = int(_text(env, name))
    except ValueError as error:
        raise SettingsError(f"{name} must be a whole number") from error
    if number < 0:
        raise SettingsError(f"{name} must not be negative")
    return number


def _flag(env: Mapping[str, str], name: str) -> bool:
    value = _text(env, name)
    if value not in ("true", "false"):
        raise SettingsError(f"{name} must be true or false")
    return value == "true"


def _way(env: Mapping[str, str]) -> str:
    way = _text(env, "VOICE_WAY")
    if way not in WAYS:
        raise SettingsError(f"VOICE_WAY must be one of {', '.join(WAYS)}")
    return way


def _listed(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.get(name, "").split(",") if part.strip())


def _ladder(env: Mapping[str, str]) -> tuple[str, ...]:
    steps = _listed(env, "LADDER")
    if unknown := [step for step in steps if step not in STEPS]:
        raise SettingsError(f"LADDER has {unknown[0]}; its steps are {', '.join(STEPS)}")
    # Whatever else is on it, nobody falls off its end into silence.
    return steps if steps[-1:] == (STEPS[-1],) else (*steps, STEPS[-1])


def _names(env: Mapping[str, str], name: str) -> frozenset[str]:
    return frozenset(_listed(env, name))


def _overrides(env: Mapping[str, str]) -> dict[str, str]:
    text = env.get("SIGNATURE_OVERRIDES", "").strip()
    try:
        overrides = json.loads(text or "{}")
    except ValueError as error:
        raise SettingsError("SIGNATURE_OVERRIDES must be a JSON object") from error
    if not isinstance(overrides, dict):
        raise SettingsError("SIGNATURE_OVERRIDES must be a JSON object")
    return overrides


def _tolerance(env: Mapping[str, str], stage: str) -> int:
    tolerance = _number(env, "SIGNATURE_TOLERANCE")
    # Committed sample events grow old, so a laptop may be lenient; a deployed stack may not.
    if tolerance > MAX_TOLERANCE and stage != LOCAL:
        raise SettingsError(f"SIGNATURE_TOLERANCE above {MAX_TOLERANCE} seconds is only for STAGE={LOCAL}")
    return tolerance


def _url(env: Mapping[str, str], name: str, stage: str) -> str:
    url = _text(env, name).rstrip("/")
    wrong = SettingsError(f"{name} must be an https URL (http on loopback only for STAGE={LOCAL})")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise wrong from error
    if parts.scheme == "https" and parts.hostname:
        return url
    if stage == LOCAL and parts.scheme == "http" and parts.hostname in LOOPBACK:
        return url
    raise wrong


def _emulated(env: Mapping[str, str], stage: str) -> bool:
    # AWS's own name is what an emulator tells the functions that it runs.
    url = env.get("AWS_API_URL", "").strip() or env.get("AWS_ENDPOINT_URL", "")
    return stage == LOCAL and urlsplit(url).hostname in LOOPBACK


def _aws_url(env: Mapping[str, str], stage: str) -> str:
    url = env.get("AWS_API_URL", "").strip()
    if url and stage != LOCAL:
        raise SettingsError(f"AWS_API_URL is only for STAGE={LOCAL}")
    return url
