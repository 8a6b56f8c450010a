"""An assistant's configuration as types, so that mypy refuses a field that is misspelt, stale, or given the wrong value.

What an agent is likely to set, in the spelling of `CreateAssistantDTO` in Vapi's OpenAPI
(https://github.com/VapiAI/docs/blob/main/fern/apis/api/openapi.json), with its defaults and limits. Vapi takes more
fields than these, of more providers: add the one that you need. Seconds unless a name says otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Required, TypedDict

# The words


class Words(TypedDict):
    """One message of the conversation that a call starts with."""

    role: Literal["system", "assistant", "user"]
    content: str


class Model(TypedDict, total=False):
    """What every model takes. `tools` are given inline, `toolIds` are stored at Vapi; both may be used together."""

    messages: Required[Sequence[Words]]
    tools: Sequence[Mapping[str, Any]]
    toolIds: Sequence[str]
    temperature: float
    """0 to 2, default 0.5."""
    maxTokens: int
    """Of one turn: 50 to 10,000, default 250. A reasoning model thinks in them too."""


class OpenAIModel(Model, total=False):
    """A model of OpenAI. `gpt-4`, `gpt-4-turbo` and `gpt-3.5-turbo` still validate and are not here: slow and obsolete."""

    provider: Required[Literal["openai"]]
    model: Required[
        Literal[
            "gpt-4.1",
            "gpt-4.1-mini",
            "gpt-4.1-nano",
            "gpt-4o",
            "gpt-4o-mini",
            "gpt-5",
            "gpt-5-mini",
            "gpt-5-nano",
            "gpt-5-chat-latest",
            "gpt-5.1",
            "gpt-5.1-chat-latest",
            "gpt-5.2",
            "gpt-5.2-chat-latest",
            "gpt-5.4",
            "gpt-5.4-mini",
            "gpt-5.4-nano",
            "gpt-5.5",
        ]
    ]
    reasoningEffort: Literal["none", "minimal", "low", "medium", "high"]
    """Of models that reason; each step up is heard as silence."""


class AnthropicModel(Model, total=False):
    """A model of Anthropic."""

    provider: Required[Literal["anthropic"]]
    model: Required[
        Literal[
            "claude-haiku-4-5-20251001",
            "claude-sonnet-4-5-20250929",
            "claude-sonnet-4-6",
            "claude-sonnet-5",
            "claude-opus-4-6",
        ]
    ]


# The voice


class ChunkPlan(TypedDict, total=False):
    """How the model's words are cut before they are spoken."""

    enabled: bool
    """Default true."""
    minCharacters: int
    """1 to 80, default 30. Fewer speak sooner, more sound better."""


class VapiVoice(TypedDict, total=False):
    """A voice of Vapi's own."""

    provider: Required[Literal["vapi"]]
    voiceId: Required[str]
    version: Literal["1", "2", "latest"]
    """Default "1"."""
    speed: float
    """0.25 to 2, default 1."""
    chunkPlan: ChunkPlan


class ElevenLabsVoice(TypedDict, total=False):
    """A voice of ElevenLabs."""

    provider: Required[Literal["11labs"]]
    voiceId: Required[str]
    model: Literal["eleven_flash_v2_5", "eleven_flash_v2", "eleven_turbo_v2_5", "eleven_multilingual_v2", "eleven_v3"]
    """The flash ones answer soonest."""
    stability: float
    """0 to 1."""
    similarityBoost: float
    """0 to 1."""
    speed: float
    """0.7 to 1.2."""
    chunkPlan: ChunkPlan


class CartesiaVoice(TypedDict, total=False):
    """A voice of Cartesia."""

    provider: Required[Literal["cartesia"]]
    voiceId: Required[str]
    model: Literal["sonic-3.5", "sonic-3", "sonic-2"]
    language: str
    chunkPlan: ChunkPlan


# The ears


class FluxTranscriber(TypedDict, total=False):
    """Deepgram's Flux, which hears by itself when a turn is over: a speaking plan is needed only to overrule it."""

    provider: Required[Literal["deepgram"]]
    model: Required[Literal["flux-general-en", "flux-general-multi"]]
    language: str
    languages: Sequence[str]
    """Hints for `flux-general-multi`, as "en"."""
    keyterm: Sequence[str]
    """Names and words that callers say and nobody else does."""
    eotThreshold: float
    """How sure it must be that the turn is over: 0.5 to 0.9, default 0.7. Lower answers sooner and cuts in more often."""
    eotTimeoutMs: int
    """Milliseconds of silence that end a turn, however sure: 500 to 10,000, default 5,000."""
    confidenceThreshold: float
    """What is understood less surely is thrown away: 0 to 1, default 0.4."""


class NovaTranscriber(TypedDict, total=False):
    """Deepgram's Nova, for languages that Flux does not know. The end of a turn is the start speaking plan's to find."""

    provider: Required[Literal["deepgram"]]
    model: Required[Literal["nova-3", "nova-3-general", "nova-3-medical"]]
    language: str
    keyterm: Sequence[str]
    endpointing: int
    """MILLISECONDS of silence after which words are handed on: 10 to 500, default 10. 0.3 is refused."""
    confidenceThreshold: float
    """0 to 1, default 0.4."""
    numerals: bool
    smartFormat: bool
    """Write dates, times and numbers as one reads them; default false."""


# When to speak, and when to stop


class VapiEndpointing(TypedDict):
    """Vapi's own finding of the end of a turn, for any language."""

    provider: Literal["vapi"]


class LivekitEndpointing(TypedDict, total=False):
    """LiveKit's, for English."""

    provider: Required[Literal["livekit"]]
    waitFunction: str
    """Milliseconds to wait, of `x`: 0 is surely over, 1 surely not. Default "200 + 8000 * x"."""


class CustomEndpointing(TypedDict):
    """Ask this backend (`call.endpointing.request`, answered by `Agent.answers`): a paid request for each pause."""

    provider: Literal["custom-endpointing-model"]


class RegexOption(TypedDict):
    """How a rule's pattern is read."""

    type: Literal["ignore-case", "whole-word", "multi-line"]
    enabled: bool


class AssistantRule(TypedDict, total=False):
    """Wait so long after an answer to words of the assistant's that match: 0 to 15."""

    type: Required[Literal["assistant"]]
    regex: Required[str]
    timeoutSeconds: Required[float]
    regexOptions: Sequence[RegexOption]


class CustomerRule(TypedDict, total=False):
    """Wait so long after words of the caller's that match: 0 to 15."""

    type: Required[Literal["customer"]]
    regex: Required[str]
    timeoutSeconds: Required[float]
    regexOptions: Sequence[RegexOption]


class BothRule(TypedDict, total=False):
    """Wait so long where both match: 0 to 15."""

    type: Required[Literal["both"]]
    assistantRegex: Required[str]
    customerRegex: Required[str]
    timeoutSeconds: Required[float]
    assistantRegexOptions: Sequence[RegexOption]
    customerRegexOptions: Sequence[RegexOption]


class TranscriptionEndpointingPlan(TypedDict, total=False):
    """The end of a turn by punctuation; counts only without smart endpointing and without Flux. Each 0 to 3."""

    onPunctuationSeconds: float
    """Default 0.1."""
    onNoPunctuationSeconds: float
    """Default 1.5."""
    onNumberSeconds: float
    """Default 0.5."""


class StartSpeakingPlan(TypedDict, total=False):
    """When the assistant answers. `customEndpointingRules` overrule all else, `smartEndpointingPlan` overrules Flux."""

    waitSeconds: float
    """Least silence before the first sound: 0 to 5, default 0.4."""
    smartEndpointingPlan: VapiEndpointing | LivekitEndpointing | CustomEndpointing
    customEndpointingRules: Sequence[AssistantRule | CustomerRule | BothRule]
    transcriptionEndpointingPlan: TranscriptionEndpointingPlan


class StopSpeakingPlan(TypedDict, total=False):
    """When a caller who speaks over the assistant stops it."""

    numWords: int
    """Words that it takes: 0 to 10, default 0, which is any voice at all."""
    voiceSeconds: float
    """Voice that it takes, with `numWords` 0: 0 to 0.5, default 0.2."""
    backoffSeconds: float
    """Silence of the assistant after it was stopped: 0 to 10, default 1."""
    acknowledgementPhrases: Sequence[str]
    """Words that never stop it, instead of Vapi's list ("okay", "uh-huh", ...)."""
    interruptionPhrases: Sequence[str]
    """Words that always stop it, instead of Vapi's list ("stop", "wait", "no", ...)."""


class SmartDenoisingPlan(TypedDict):
    """Krisp, against noise and other people's voices."""

    enabled: bool


class BackgroundSpeechDenoisingPlan(TypedDict):
    """What is taken out of the sound before it is listened to."""

    smartDenoisingPlan: SmartDenoisingPlan


class KeypadInputPlan(TypedDict, total=False):
    """Digits by key."""

    enabled: bool
    """Default false."""
    timeoutSeconds: float
    """Wait for the next key: 0 to 10, default 2."""
    delimiters: Literal["#", "*", ""]


# What is kept, who may listen


class TranscriptPlan(TypedDict, total=False):
    """The transcript in the call's artifact at Vapi."""

    enabled: bool
    """Default true."""
    assistantName: str
    userName: str


class StructuredOutput(TypedDict, total=False):
    """What a model reads off the conversation when the call is over. Its result comes with the end-of-call report."""

    name: Required[str]
    """At most 40 characters."""
    schema: Required[Mapping[str, Any]]
    """A JSON Schema; `type` is required."""
    type: Literal["ai", "regex"]
    """Default "ai"."""
    regex: str
    description: str


class ArtifactPlan(TypedDict, total=False):
    """What Vapi keeps of a call."""

    recordingEnabled: bool
    """Default true."""
    recordingFormat: Literal["wav;l16", "mp3"]
    transcriptPlan: TranscriptPlan
    structuredOutputs: Sequence[StructuredOutput]
    structuredOutputIds: Sequence[str]
    loggingEnabled: bool
    """Default true."""
    fullMessageHistoryEnabled: bool
    """Default false."""


class MonitorPlan(TypedDict, total=False):
    """Who may listen in and speak into the call. The addresses are capabilities: whoever has one needs no key."""

    controlEnabled: bool
    """Default true. Results of background tools are spoken this way."""
    controlAuthenticationEnabled: bool
    """Default false."""
    listenEnabled: bool
    """Default true."""
    listenAuthenticationEnabled: bool
    """Default false."""


class CompliancePlan(TypedDict, total=False):
    """For health and card data; Vapi charges for `hipaaEnabled`, and then keeps no recording unless told to."""

    hipaaEnabled: bool
    pciEnabled: bool


class VoicemailBackoffPlan(TypedDict, total=False):
    """When to look for a machine."""

    startAtSeconds: float
    """Default 5."""
    frequencySeconds: float
    """At least 2.5, default 5."""
    maxRetries: int
    """1 to 10, default 6."""


class VapiVoicemailDetection(TypedDict, total=False):
    """Whether a machine has answered a call that we placed."""

    provider: Required[Literal["vapi"]]
    type: Literal["audio", "transcript"]
    backoffPlan: VoicemailBackoffPlan
    beepMaxAwaitSeconds: float
    """0 to 30, default 30."""


# What happens by itself


class Say(TypedDict, total=False):
    """Say something: one of the texts of `exact`, or what a model makes of `prompt`."""

    type: Required[Literal["say"]]
    exact: str | Sequence[str]
    prompt: str


class RunTool(TypedDict, total=False):
    """Run a tool, given inline or by its id."""

    type: Required[Literal["tool"]]
    tool: Mapping[str, Any]
    toolId: str


class AddMessage(TypedDict, total=False):
    """Tell the model something."""

    type: Required[Literal["message.add"]]
    message: Required[Words]
    triggerResponseEnabled: bool
    """Default true."""


class SilenceOptions(TypedDict, total=False):
    """How long, and how often."""

    timeoutSeconds: Required[float]
    """From the end of the assistant's words: 1 to 1000, default 7.5."""
    triggerMaxCount: int
    """In one call: 1 to 10, default 3."""
    triggerResetMode: Literal["never", "onUserSpeech"]


class SilenceHook(TypedDict, total=False):
    """The caller says nothing."""

    on: Required[Literal["customer.speech.timeout"]]
    do: Required[Sequence[Say | RunTool | AddMessage]]
    options: SilenceOptions
    name: str


class AssistantInterruptedHook(TypedDict):
    """The caller has spoken over the assistant."""

    on: Literal["assistant.speech.interrupted"]
    do: Sequence[Say | RunTool | AddMessage]


class CallerInterruptedHook(TypedDict):
    """The assistant has spoken over the caller."""

    on: Literal["customer.speech.interrupted"]
    do: Sequence[Say | RunTool | AddMessage]


class EndedReasonFilter(TypedDict):
    """Only for calls that end so."""

    type: Literal["oneOf"]
    key: Literal["call.endedReason"]
    oneOf: Sequence[str]


class CallEndingHook(TypedDict, total=False):
    """The call ends. Nobody is left to hear anything, so nothing can be said."""

    on: Required[Literal["call.ending"]]
    do: Required[Sequence[RunTool | AddMessage]]
    filters: Sequence[EndedReasonFilter]


# Where messages go


class BackoffPlan(TypedDict, total=False):
    """When Vapi sends a message again that was not answered with 2xx."""

    type: Required[Literal["fixed", "exponential"]]
    maxRetries: Required[int]
    """0 to 10."""
    baseDelaySeconds: Required[float]
    """0 to 10."""
    excludedStatusCodes: Sequence[int]


class Server(TypedDict, total=False):
    """The backend. `desk.Backend` has the one of this stack."""

    url: str
    timeoutSeconds: int
    """1 to 300, default 20."""
    credentialId: str
    """Of the credential that signs."""
    backoffPlan: BackoffPlan


# The whole


class Configuration(TypedDict, total=False):
    """An assistant (`CreateAssistantDTO`)."""

    name: Required[str]
    """At most 40 characters."""
    firstMessage: str
    """Missing: the assistant waits for the caller to speak."""
    firstMessageMode: Literal[
        "assistant-speaks-first", "assistant-waits-for-user", "assistant-speaks-first-with-model-generated-message"
    ]
    firstMessageInterruptionsEnabled: bool
    """Default false."""
    model: Required[OpenAIModel | AnthropicModel]
    voice: Required[VapiVoice | ElevenLabsVoice | CartesiaVoice]
    transcriber: Required[FluxTranscriber | NovaTranscriber]
    startSpeakingPlan: StartSpeakingPlan
    stopSpeakingPlan: StopSpeakingPlan
    backgroundSpeechDenoisingPlan: BackgroundSpeechDenoisingPlan
    backgroundSound: str
    """`off`, `office`, or the URL of a sound. Default `office` on the phone, `off` on the web."""
    keypadInputPlan: KeypadInputPlan
    voicemailDetection: VapiVoicemailDetection | Literal["off"]
    voicemailMessage: str
    """At most 1000 characters."""
    artifactPlan: ArtifactPlan
    monitorPlan: MonitorPlan
    compliancePlan: CompliancePlan
    hooks: Sequence[SilenceHook | AssistantInterruptedHook | CallerInterruptedHook | CallEndingHook]
    server: Mapping[str, Any]
    """`Backend.server`."""
    serverMessages: Sequence[str]
    """`Backend.server_messages`."""
    maxDurationSeconds: int
    """10 to 43,200, default 600. The call is cut then, without a goodbye."""
    endCallMessage: str
    """At most 1000 characters."""
    endCallPhrases: Sequence[str]
    """The call ends when the assistant says one of them."""
    metadata: Mapping[str, Any]
