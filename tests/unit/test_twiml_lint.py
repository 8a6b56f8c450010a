"""The TwiML linter: what Twilio takes passes, and each rule has a document that breaks it."""

import pytest
from twilio.twiml.voice_response import VoiceResponse  # type: ignore[import-untyped]  # it ships no types

from devkit.twiml_lint import BY_NAME, CHECKS, VALUES, VERBS, Kind, faults, nouns

URL = "https://voice.example.com/next?a=1&amp;b=2#rc=2&amp;rp=5xx,ct,rt"
END = "<Hangup/>"


def response(*verbs: str) -> str:
    return f"<Response>{''.join(verbs)}</Response>"


VALID = (
    # What Vapi answers a call that our own number brings.
    '<?xml version="1.0"?><Response><Connect><Stream url="wss://api.vapi.ai/c0ffee/transport"/></Connect></Response>',
    '<Response><Connect><Stream url="wss://x.example:443/a"><Parameter name="a" value=""/></Stream></Connect></Response>',
    response("<Say>Hello &amp; goodbye</Say>", END),
    response('<Say language="de-DE" voice="Polly.Vicki" loop="2">Hallo <break time="1s"/><s>Welt</s>!</Say>', END),
    response("<Say><break/></Say>", END),
    response("<Say>", "a" * 3_000, "</Say>", END),
    response('<Play loop="0">https://voice.example.com/a.wav</Play>', END),
    response('<Play digits="ww12#"/>', END),
    response('<Pause length="5"/>', END),
    response(f'<Redirect method="POST">{URL}</Redirect>'),
    response('<Reject reason="busy"/>'),
    response("<Dial>+15550100100</Dial>", "<Say>Nobody is there.</Say>", END),
    response(f'<Dial action="{URL}" timeout="20" callerId="+15550100199">+1 (555) 010-0100</Dial>'),
    response(f'<Dial action="{URL}"><Number sendDigits="1w2">+1555</Number><Sip>sip:a@b</Sip></Dial>'),
    response(f'<Dial action="{URL}"><Client>ann</Client></Dial>'),
    response(f'<Dial action="{URL}"><Client><Identity>ann</Identity></Client></Dial>'),
    response(f'<Dial action="{URL}"><Queue>support</Queue></Dial>'),
    response(f'<Dial action="{URL}"><Sip>sips:a@b:5061;transport=tls?X-A=1&amp;User-to-User=%2B1</Sip></Dial>'),
    response(f'<Dial action="{URL}"><Conference beep="onEnter" waitUrl="">room</Conference></Dial>'),
    response(f'<Enqueue action="{URL}" waitUrl="{URL}">support</Enqueue>'),
    response(f'<Enqueue action="{URL}" workflowSid="WW1"><Task priority="1">{{}}</Task></Enqueue>'),
    response(f'<Record action="{URL}" maxLength="60" finishOnKey="#"/>', "<Say>We heard nothing.</Say>", END),
    response(f'<Gather action="{URL}" input="speech dtmf" finishOnKey=""><Say>Press a key.</Say></Gather>', END),
    response(f'<Gather action="{URL}" actionOnEmptyResult="true" speechTimeout="auto"><Pause/></Gather>'),
    response('<Start><Stream url="wss://x.example/a" track="both_tracks"/></Start>', "<Say>Hello.</Say>", END),
    response('<Stop><Stream name="a"/></Stop>', END),
    response('<Connect><Stream url="wss://x.example/a"/></Connect>', "<Say>The other end is gone.</Say>", END),
    response(f'<Connect action="{URL}"><ConversationRelay url="wss://x.example/a?b=c"/></Connect>'),
    f"\n <Response><!-- a comment --> {END} </Response>\n",
    response("<Redirect>http://127.0.0.1:3000/next</Redirect>"),
    response("<Redirect>http://[::1]:3000/next</Redirect>"),
)


@pytest.mark.parametrize("document", VALID)
def test_a_valid_document_has_no_faults(document: str) -> None:
    assert faults(document) == []


BROKEN = (
    # The document as a whole.
    ("", "something stands before the first <"),
    ("We are sorry.", "something stands before the first <"),
    ("\ufeff" + response(END), "something stands before the first <"),
    (response("<Say>\ud83d</Say>", END), "half of a surrogate pair cannot be sent"),
    (response("<Say>", "a" * 65_536, "</Say>", END), "65577 bytes are more than 65536"),
    ('<!DOCTYPE a [<!ENTITY b "c">]><Response><Say>&b;</Say></Response>', "a document type has no place in TwiML"),
    ("<response/>", "the root must be <Response> without attributes, not <response>"),
    ("<Hangup/>", "the root must be <Response> without attributes, not <Hangup>"),
    ('<Response a="b"/>', "the root must be <Response> without attributes, not <Response>"),
    # Names.
    (response("<say>Hello</say>", END), "<say> is not known in <Response>"),
    (response("<Speak>Hello</Speak>", END), "<Speak> is not known in <Response>"),
    (response('<hangup xmlns="urn:a"/>', END), "<{urn:a}hangup> is not known in <Response>"),
    (response('<Say Voice="alice">Hello</Say>', END), "<Say> has no attribute 'Voice'"),
    (response('<Say message="Hello">Hello</Say>', END), "<Say> has no attribute 'message'"),
    (response('<Hangup reason="busy"/>'), "<Hangup> has no attribute 'reason'"),
    (
        response('<Dial statusCallbackEvent="answered">+15550100100</Dial>', END),
        "<Dial> has no attribute 'statusCallbackEvent'",
    ),
    # Nesting.
    (response("<Number>+15550100100</Number>", END), "<Number> is not known in <Response>"),
    (response('<Stream url="wss://x.example/a"/>', END), "<Stream> is not known in <Response>"),
    (response("<Say><Play>https://x.example/</Play></Say>", END), "<Play> is not known in <Say>"),
    (response("<Gather><Dial>+15550100100</Dial></Gather>", END), "<Dial> is not known in <Gather>"),
    (response("<Gather><Gather/></Gather>", END), "<Gather> is not known in <Gather>"),
    (response("<Dial><Say>Hello</Say></Dial>", END), "<Say> is not known in <Dial>"),
    (response("<Hangup><Say>Bye</Say></Hangup>"), "<Say> is not known in <Hangup>"),
    (response("<Connect><Parameter name='a' value='b'/></Connect>"), "<Parameter> is not known in <Connect>"),
    (response("<Echo/>", END), "<Echo> may not stand in such a document"),
    (response("<Leave/>"), "<Leave> may not stand in such a document"),
    # Text.
    (response("Hello", END), "text stands between the verbs"),
    (response("<Say>a</Say>b", END), "text stands between the verbs"),
    (response("<Say/>", END), "<Say> is empty"),
    (response("<Say> \n </Say>", END), "<Say> is empty"),
    (response("<Say>", "a" * 3_001, "</Say>", END), "<Say> is too long to be said"),
    (response("<Say>", "é" * 1_501, "</Say>", END), "<Say> is too long to be said"),
    (response("<Say>", "&amp;" * 1_501, "</Say>", END), "<Say> is too long to be said"),
    (response("<Play/>", END), "<Play> is empty"),
    (response("<Redirect/>"), "<Redirect> is empty"),
    (response("<Hangup>now</Hangup>"), "<Hangup> takes no text"),
    (response("<Gather>press<Say>1</Say></Gather>", END), "<Gather> takes no text"),
    (response("<Dial><Conference/></Dial>", END), "<Conference> is empty"),
    (response("<Dial><Number> </Number></Dial>", END), "<Number> is empty"),
    (response("<Connect/>"), "<Connect> is empty"),
    (response("<Start/>", END), "<Start> is empty"),
    (response("<Stop/>", END), "<Stop> is empty"),
    # Who is dialled.
    (response("<Dial/>", END), "<Dial> dials nobody"),
    (response("<Dial>anonymous</Dial>", END), "<Dial> needs a phone number"),
    (response("<Dial><Number>sip:a@b</Number></Dial>", END), "<Number> needs a phone number"),
    (response("<Dial>+1555<Number>+1555</Number></Dial>", END), "<Dial> takes a number or nouns, not both"),
    (
        response("<Dial><Conference>a</Conference><Number>+1555</Number></Dial>", END),
        "<Dial> takes one <Conference> or <Queue>, and nothing beside it",
    ),
    (
        response("<Dial><Queue>a</Queue><Queue>b</Queue></Dial>", END),
        "<Dial> takes one <Conference> or <Queue>, and nothing beside it",
    ),
    (response("<Dial><Sip>acme</Sip></Dial>", END), "<Sip> needs a SIP URI"),
    (response("<Dial><Sip>sip:a@", "b" * 249, "</Sip></Dial>", END), "<Sip> is too long"),
    (response("<Dial><Sip>sip:a@b?X-A=", "b" * 1_020, "</Sip></Dial>", END), "<Sip> is too long"),
    (response("<Dial><Sip>sip:a@b?From=c</Sip></Dial>", END), "<Sip> cannot send the header 'From'"),
    (response("<Dial><Sip>sip:a@b?X-A</Sip></Dial>", END), "<Sip> cannot send the header 'X-A'"),
    (response("<Dial><Sip>sip:a@b?X-A=1%0D%0ARoute:c</Sip></Dial>", END), "<Sip> cannot send the header 'X-A'"),
    (response(f'<Enqueue action="{URL}"/>'), "<Enqueue> names no queue"),
    (response(f'<Enqueue action="{URL}">', "a" * 65, "</Enqueue>"), "<Enqueue> takes a name of 64 characters"),
    # URLs.
    (response("<Redirect>/next</Redirect>"), "<Redirect> needs an absolute URL"),
    (response("<Redirect>https://</Redirect>"), "<Redirect> needs an absolute URL"),
    (response("<Redirect>https://a_b.example/</Redirect>"), "<Redirect> needs an absolute URL"),
    (response("<Redirect>https://x.example:0/</Redirect>"), "<Redirect> needs an absolute URL"),
    (response("<Redirect>https://x.example:99999/</Redirect>"), "<Redirect> needs an absolute URL"),
    (response("<Redirect>https://[x/</Redirect>"), "<Redirect> needs an absolute URL"),
    (response("<Redirect>https://x.example/a b</Redirect>"), "<Redirect> needs an absolute URL"),
    (response("<Redirect>https://x.example/\x7f</Redirect>"), "<Redirect> needs an absolute URL"),
    (response("<Redirect>ftp://x.example/</Redirect>"), "<Redirect> needs an absolute URL"),
    (response("<Play>tune.wav</Play>", END), "<Play> needs an absolute URL"),
    (response('<Dial action="/next">+1555</Dial>'), "<Dial> action cannot be '/next'"),
    (response('<Dial action="">+1555</Dial>', END), "<Dial> action cannot be ''"),
    (response(f'<Enqueue action="{URL}" waitUrl="music">a</Enqueue>'), "<Enqueue> waitUrl cannot be 'music'"),
    (
        response('<Dial><Conference waitUrl="music">a</Conference></Dial>', END),
        "<Conference> waitUrl cannot be 'music'",
    ),
    (response('<Dial><Number statusCallback="a">+1555</Number></Dial>', END), "<Number> statusCallback cannot be 'a'"),
    (response('<Dial><Number url="a">+1555</Number></Dial>', END), "<Number> url cannot be 'a'"),
    (
        response('<Start><Transcription statusCallbackUrl="a"/></Start>', END),
        "<Transcription> statusCallbackUrl cannot be 'a'",
    ),
    # Streams.
    (response("<Connect><Stream/></Connect>"), "<Stream> needs a URL"),
    (
        response('<Connect><Stream url="https://x.example/a"/></Connect>'),
        "<Stream> url cannot be 'https://x.example/a'",
    ),
    (response('<Connect><Stream url="ws://x.example/a"/></Connect>'), "<Stream> url cannot be 'ws://x.example/a'"),
    (
        response('<Connect><Stream url="wss://x.example/a?key=1"/></Connect>'),
        "<Stream> url cannot be 'wss://x.example/a?key=1'",
    ),
    (
        response('<Connect><Stream url="wss://x.example/a" track="both_tracks"/></Connect>'),
        "<Stream> in <Connect> has the inbound track only",
    ),
    (
        response('<Start><Stream url="wss://x.example/a" track="all"/></Start>', END),
        "<Stream> track cannot be 'all'",
    ),
    (
        response('<Connect><ConversationRelay url="https://x.example/"/></Connect>'),
        "<ConversationRelay> url cannot be 'https://x.example/'",
    ),
    (
        response('<Connect><Stream url="wss://x.example/a"><Parameter value="b"/></Stream></Connect>'),
        "<Parameter> needs a name and a value",
    ),
    (
        response('<Connect><Stream url="wss://x.example/a"><Parameter name="b"/></Stream></Connect>'),
        "<Parameter> needs a name and a value",
    ),
    (
        response(
            '<Connect><Stream url="wss://x.example/a"><Parameter name="b" value="', "c" * 499, '"/></Stream></Connect>'
        ),
        "<Parameter> must have fewer than 500 characters",
    ),
    # Where a document leads.
    ("<Response/>", "the document does not end in an action"),
    (response("<Say>Hello</Say>"), "the document does not end in an action"),
    (response("<Dial>+15550100100</Dial>"), "the document does not end in an action"),
    (response(f'<Enqueue waitUrl="{URL}">a</Enqueue>'), "the document does not end in an action"),
    (response(f'<Record action="{URL}"/>'), "the document does not end in an action"),
    (response(f'<Gather action="{URL}"/>'), "the document does not end in an action"),
    (response('<Start><Stream url="wss://x.example/a"/></Start>'), "the document does not end in an action"),
    (response(END, "<Say>Hello</Say>", END), "nothing behind <Hangup> is reached"),
    (response(f"<Redirect>{URL}</Redirect>", END), "nothing behind <Redirect> is reached"),
    (response("<Reject/>", END), "nothing behind <Reject> is reached"),
    (response(f'<Dial action="{URL}">+1555</Dial>', END), "nothing behind <Dial> is reached"),
    (response(f'<Enqueue action="{URL}">a</Enqueue>', END), "nothing behind <Enqueue> is reached"),
    (
        response(f'<Connect action="{URL}"><Stream url="wss://x.example/a"/></Connect>', END),
        "nothing behind <Connect> is reached",
    ),
    (
        response(f'<Gather action="{URL}" actionOnEmptyResult="true"/>', END),
        "nothing behind <Gather> is reached",
    ),
    (response("<Say>No.</Say>", "<Reject/>"), "<Reject> must be the first verb of the first document"),
)


@pytest.mark.parametrize(("document", "fault"), BROKEN)
def test_each_rule_has_a_document_that_breaks_it(document: str, fault: str) -> None:
    assert faults(document) == [fault]


@pytest.mark.parametrize(
    "document",
    [
        "<Response>",
        "<Response><Say>a & b</Say><Hangup/></Response>",
        "<Response><Say>\x0b</Say><Hangup/></Response>",
        "<Response><Say>Hello</say><Hangup/></Response>",
        "<Response/><Response/>",
        "<Response><Say voice=alice>Hello</Say><Hangup/></Response>",
        '\n<?xml version="1.0"?><Response><Hangup/></Response>',
        "<Response>&nbsp;</Response>",
    ],
)
def test_what_is_no_xml_is_said_alone(document: str) -> None:
    (fault,) = faults(document)

    assert fault.startswith("no XML: ")


BAD_VALUES = {
    "Stream url": "https://x.example/",
    "ConversationRelay url": "https://x.example/",
    "Stream track": "both",
    "Dial timeout": "4",
    "Dial timeLimit": "0",
    "Dial callerId": "anonymous",
    "Dial record": "yes",
    "Dial trim": "true",
    "Number statusCallbackEvent": "initiated,answered",
    "Sip statusCallbackEvent": "",
    "Client statusCallbackEvent": "Answered",
    "Number sendDigits": "1,2",
    "Conference beep": "never",
    "Conference maxParticipants": "251",
    "Conference record": "true",
    "Conference trim": "true",
    "Conference jitterBufferSize": "tiny",
    "Conference statusCallbackEvent": "start,end",
    "Conference waitUrl": "/music",
    "Enqueue waitUrl": "/music",
    "Gather input": "voice",
    "Gather timeout": "0",
    "Gather numDigits": "1.5",
    "Gather speechTimeout": "-1",
    "Gather finishOnKey": "a",
    "Record timeout": "0",
    "Record maxLength": "1",
    "Record finishOnKey": "any",
    "Record trim": "yes",
    "Pause length": "0",
    "Play digits": "abc",
    "Reject reason": "closed",
    "Gather action": "next",
    "Dial method": "PUT",
    "Enqueue waitUrlMethod": "get",
    "Say loop": "-1",
    "Dial answerOnBridge": "True",
    "Gather actionOnEmptyResult": "1",
}
MORE_BAD_VALUES = [
    ("Dial timeout", "601"),
    ("Dial timeout", "20s"),
    ("Dial timeout", "²"),
    ("Record maxLength", "14401"),
]
WRAPPED = {
    "Number": "<Dial><Number {}>+1555</Number></Dial>",
    "Sip": "<Dial><Sip {}>sip:a@b</Sip></Dial>",
    "Client": "<Dial><Client {}>ann</Client></Dial>",
    "Conference": "<Dial><Conference {}>room</Conference></Dial>",
    "Stream": '<Stop><Stream name="a" {}/></Stop>',
    "ConversationRelay": "<Connect><ConversationRelay {}/></Connect>",
    "Dial": "<Dial {}>+15550100100</Dial>",
    "Enqueue": "<Enqueue {}>support</Enqueue>",
    "Say": "<Say {}>Hello</Say>",
    "Reject": "<Reject {}/>",
    "Play": "<Play {}>https://x.example/</Play>",
}


@pytest.mark.parametrize(("place", "value"), [*BAD_VALUES.items(), *MORE_BAD_VALUES])
def test_a_value_out_of_its_range_is_a_fault(place: str, value: str) -> None:
    element, attribute = place.split()
    verb = WRAPPED.get(element, f"<{element} {{}}/>").format(f'{attribute}="{value}"')

    assert faults(response(verb, *([] if element == "Reject" else [END]))) == [
        f"<{element}> {attribute} cannot be {value!r}"
    ]


def test_every_rule_of_the_tables_is_broken_once() -> None:
    told = " ".join(fault for _, fault in BROKEN)

    assert VALUES.keys() <= BAD_VALUES.keys()
    assert len(BAD_VALUES) >= len(VALUES) + len(BY_NAME)
    assert [name for name in CHECKS if f"<{name}>" not in told] == []


WAITING: tuple[tuple[Kind, str, list[str]], ...] = (
    ("wait", response("<Say>You are next.</Say>", f"<Redirect>{URL}</Redirect>"), []),
    ("wait", response("<Leave/>"), []),
    ("wait", response("<Play>https://x.example/</Play>", "<Pause/>", END), []),
    ("wait", response(f'<Gather action="{URL}"/>', "<Leave/>"), []),
    ("wait", response("<Dial>+15550100100</Dial>", END), ["<Dial> may not stand in such a document"]),
    ("wait", response(f'<Record action="{URL}"/>', END), ["<Record> may not stand in such a document"]),
    ("wait", response("<Leave/>", END), ["nothing behind <Leave> is reached"]),
    ("conference_wait", response("<Play>https://x.example/</Play>", f"<Redirect>{URL}</Redirect>"), []),
    ("conference_wait", response(END), ["<Hangup> may not stand in such a document"]),
    ("conference_wait", response("<Leave/>"), ["<Leave> may not stand in such a document"]),
    (
        "conference_wait",
        response(f'<Gather action="{URL}"/>', f"<Redirect>{URL}</Redirect>"),
        ["<Gather> may not stand in such a document"],
    ),
    # A conference plays its document once, and then nothing.
    ("conference_wait", response("<Play>https://x.example/</Play>"), ["the document does not end in an action"]),
)


@pytest.mark.parametrize(("kind", "document", "told"), WAITING)
def test_what_a_caller_hears_while_waiting_may_use_fewer_verbs(kind: Kind, document: str, told: list[str]) -> None:
    assert faults(document, kind=kind) == told


def test_a_call_is_rejected_only_by_its_first_document() -> None:
    assert faults(response("<Reject/>")) == []
    assert faults(response("<Reject/>"), first=False) == ["<Reject> must be the first verb of the first document"]


def test_every_fault_is_told_and_each_of_them_once() -> None:
    document = response("<Say/>", "<Say/>", '<Dial timeout="1" action="/a"/>', END)

    assert faults(document) == [
        "<Say> is empty",
        "<Dial> timeout cannot be '1'",
        "<Dial> action cannot be '/a'",
        "<Dial> dials nobody",
        "nothing behind <Dial> is reached",
    ]


def test_the_verbs_and_their_attributes_are_those_of_the_official_library() -> None:
    verbs = nouns(VoiceResponse)

    assert frozenset.union(*VERBS.values()) <= verbs.keys()
    assert verbs["Dial"].attributes >= {"action", "answerOnBridge", "callerId", "referUrl", "timeLimit", "timeout"}
    assert "number" not in verbs["Dial"].attributes
    assert nouns(verbs["Dial"].builder).keys() >= {"Client", "Conference", "Number", "Queue", "Sip"}
    assert nouns(verbs["Gather"].builder).keys() == {"Say", "Play", "Pause"}
    assert {name.partition(" ")[0] for name in VALUES} <= {
        *verbs,
        *nouns(verbs["Dial"].builder),
        *nouns(verbs["Connect"].builder),
    }
