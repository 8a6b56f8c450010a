"""What a caller hears when Twilio got no answer from the rest of Switchboard.

Everything that may have failed is left out: no layer, no network, no secret, and so no signature check. The answer is one
constant, made when the module loads. A caller who comes here is counted, for the alarm.
"""

import os
from html import escape
from time import time

APOLOGY = "We are sorry, we cannot take your call right now. Please try again in a few minutes."


def twiml(apology: str, number: str) -> str:
    """A TwiML document that dials the number, if there is one, and says the apology if nobody answers there."""
    # Characters that are illegal in XML, even as references, are all unprintable.
    words = escape("".join(character for character in apology if character.isprintable())).strip()
    # Twilio lets a number ring for 30 s by default; a caller who has waited for us already is not kept that long.
    dial = f'<Dial timeout="20">{escape(number)}</Dial>' if number else ""
    say = f"<Say>{words or APOLOGY}</Say>"
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{dial}{say}<Hangup/></Response>'


ANSWER = {
    "statusCode": 200,
    "headers": {"content-type": "text/xml; charset=utf-8"},
    "body": twiml(os.environ.get("APOLOGY", ""), os.environ.get("FALLBACK_NUMBER", "")),
}


# One caller who came this far, as a metric in CloudWatch's embedded format: a line in the log, which cannot fail.
COUNT = (
    '{"_aws":{"Timestamp":%d,"CloudWatchMetrics":[{"Namespace":"Switchboard","Dimensions":[["service"]],'
    '"Metrics":[{"Name":"FallbackAnswered","Unit":"Count"}]}]},"service":"%s","FallbackAnswered":1}'
)
SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME", "")
CANARY = "switchboard-canary"  # who is no caller: the User-Agent of `switchboard canary`


def handler(event: object, context: object) -> dict[str, object]:
    """Answer 200 with the constant document, whatever is asked, and count who asks."""
    headers = event.get("headers") if isinstance(event, dict) else None
    if not (isinstance(headers, dict) and headers.get("user-agent") == CANARY):
        print(COUNT % (time() * 1000, SERVICE), flush=True)
    return ANSWER
