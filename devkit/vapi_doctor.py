"""Why a request of Vapi does not verify, found by supposing mistakes until the signature that arrived comes out.

One mistake is supposed first, then two at once. What no supposition explains is told by its shape, and what has no
peculiar shape was signed with another secret.
"""

import re
from collections.abc import Iterator
from itertools import chain

from devkit.captured import Captured
from devkit.diagnosis import Diagnosis, Expected, Step, age, fault, foreign
from devkit.refusals import refused_all_the_same
from devkit.suppositions import ALONE, FORMS, STAMP, Attempt, Case, claims, decoded, supposed
from devkit.vapi_mistakes import MISTAKES
from switchboard import messages, signatures
from switchboard.errors import MessageRefused, SignatureRefused
from switchboard.signatures import PRESETS


def examine(captured: Captured, expected: Expected, *, judge_age: bool = True) -> Diagnosis:
    """Say why `captured` fails at the stack that is `expected`, or that it verifies."""
    case = Case(captured, captured.fields, expected)
    try:
        secret = _verify(case)
    except SignatureRefused as refused:
        return fault(MISTAKES, _explain(case, refused.reason))
    late = _age(case) if judge_age else None
    if late and late.name:
        return fault(MISTAKES, [late])
    if refusal := _refusal(case):
        return refusal
    unjudged = "" if late is None and judge_age else "; its age was not judged"
    return Diagnosis(True, f"The signature verifies, by the secret {secret}{unjudged}.")


def _verify(case: Case) -> str:
    """The functions' own verification, the age of the request set aside."""
    expected = case.expected
    text = case.headers.get(expected.scheme.timestamp_header, "")
    now = _seconds(text) if STAMP.fullmatch(text) else expected.now
    return signatures.verify(
        expected.scheme,
        case.headers,
        case.captured.body,
        expected.active,
        now=now,
        tolerance=expected.tolerance,
    )


def _seconds(text: str) -> float:
    return int(text) / (1000 if len(text) == 13 else 1)


def _age(case: Case) -> Step | None:
    """What is wrong with the age; None where nothing is, and a step without a name where nobody can know."""
    expected = case.expected
    if not expected.scheme.timestamp_header:
        return None
    late = expected.now - _seconds(case.headers[expected.scheme.timestamp_header])
    if abs(late) <= expected.tolerance:
        return None
    if late > 0 and not expected.arrival_known:
        return Step("")
    return Step("stale" if late > 0 else "future", {"age": age(late), "tolerance": str(expected.tolerance)})


def _refusal(case: Case) -> Diagnosis | None:
    """Why a request that is rightly signed is refused all the same."""
    try:
        message = messages.read(case.captured.body)
        if case.expected.org_ids and message.org_id not in case.expected.org_ids:
            raise MessageRefused(403, "org_not_allowed")
        if (
            message.assistant_id
            and case.expected.assistant_ids
            and message.assistant_id not in case.expected.assistant_ids
        ):
            raise MessageRefused(403, "assistant_not_allowed")
    except MessageRefused as refused:
        return refused_all_the_same(refused.reason)
    return None


def _explain(case: Case, reason: str) -> list[Step]:
    if not case.expected.active:
        ended = any(not one.where for one in case.expected.secrets)
        return [Step("unreadable" if case.expected.unreadable else "all_ended" if ended else "no_secret")]
    starts = list(_starts(case))
    guesses = chain(supposed(case, starts), supposed(case, starts, ALONE))
    found = next((attempt for attempt in guesses if attempt.fits), None)
    if found:
        return list(found.steps)
    if not case.headers.get(case.expected.scheme.signature_header):
        return [_absent(case)]
    return _by_shape(case, starts, reason)


def _starts(case: Case) -> Iterator[Attempt]:
    """The request as it is, with every secret that is known: the parameter's own first."""
    scheme = case.expected.scheme
    value = case.headers.get(scheme.signature_header, "")
    stamp = case.headers.get(scheme.timestamp_header, "")
    message_id = case.headers.get(scheme.id_header, "")
    steps: list[Step] = []
    if value and scheme.prefix not in value:
        steps.append(Step("prefix_missing", {"expected": scheme.prefix.strip()}))
    if stamp and not STAMP.fullmatch(stamp):
        steps.append(Step("timestamp_form", {"header": scheme.timestamp_header}))
    for secret in case.expected.secrets:
        for claim in claims(scheme, value):
            whose = foreign(secret)
            yield Attempt(scheme, secret, case.captured.body, stamp, message_id, claim, (*whose, *steps))


def _absent(case: Case) -> Step:
    """Why there is no signature where this stack looks for one."""
    scheme, headers = case.expected.scheme, case.headers
    for name in (scheme.signature_header, "x-vapi-secret"):
        if headers.get(name) == "":
            return Step("header_empty", {"header": name})
    if headers.get("x-vapi-secret"):
        return Step("x_vapi_secret", {"expected": scheme.name})
    for other in PRESETS.values():
        if headers.get(other.signature_header):
            return Step("other_preset_only", {"other": other.name, "expected": scheme.name})
    plain = re.sub(r"[^a-z0-9]", "", scheme.signature_header)
    for name, value in headers.items():
        if value and re.sub(r"[^a-z0-9]", "", name) in (plain, plain.removeprefix("x")):
            return Step("header_name_similar", {"header": name, "expected": scheme.signature_header})
    return Step("header_missing", {"expected": scheme.signature_header})


def _by_shape(case: Case, starts: list[Attempt], reason: str) -> list[Step]:
    """What the request shows by itself; the secret, which nobody can see, is in doubt as well."""
    scheme = case.expected.scheme
    if reason == "timestamp_missing":
        return [Step("timestamp_missing", {"header": scheme.timestamp_header})]
    if reason.startswith("message_id"):
        return [Step("message_id", {"header": scheme.id_header})]
    size = case.headers.get("content-length", "")
    if size.isdecimal() and int(size) != len(case.captured.body):
        return [Step("body_length")]
    for secret in case.expected.active:
        if scheme.secret_encoding == "base64" and not decoded(secret.value.removeprefix("whsec_").encode()):  # noqa: S105
            return [Step("secret_not_base64", {"id": secret.id})]
    own = [attempt for attempt in starts if not foreign(attempt.secret)]
    shape = next((attempt.steps for attempt in supposed(case, own, FORMS) if attempt.formed), None)
    if shape is None:
        return [Step("malformed", {"header": scheme.signature_header})]
    return [*shape, Step("wrong_secret")]
