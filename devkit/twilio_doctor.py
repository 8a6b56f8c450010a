"""Why a request of Twilio does not verify: what is supposed here is the URL, the token and the fields that it signed."""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import permutations, product
from typing import NamedTuple, Self
from urllib.parse import quote, unquote, urlsplit

from devkit import development
from devkit.captured import Captured, query_pairs
from devkit.diagnosis import Diagnosis, Expected, Step, Stored, fault, foreign
from devkit.refusals import refused_all_the_same
from devkit.twilio_mistakes import MISTAKES
from switchboard import signatures
from switchboard.errors import SignatureRefused

HEADER = "x-twilio-signature"
SHARED_KEY_HEADER = "x-twilio-webhooks-signature-settings"
# What stands before a path where an API has a stage or a mapping.
PREFIXES = ("prod", "Prod", "production", "staging", "stage", "Stage", "dev", "test", "live", "default", "api", "v1")
PORTS = ("", "80", "443", "3000", "5000", "8000", "8080", "8443")
PLACES = tuple(product(("City", "State", "Zip", "Country"), (("Called", "To"), ("Caller", "From"))))

_CALL_SID = re.compile(r"CA[0-9a-f]{32}", re.ASCII)
_TOKEN = re.compile(r"[0-9a-f]{32}", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,255}", re.ASCII)

type Fields = tuple[tuple[str, str], ...]


class Url(NamedTuple):
    """A URL as Twilio may have been given it; `literal` ones keep a port that Twilio would drop."""

    scheme: str
    host: str
    path: str
    query: str
    literal: bool = False

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}{self.path}" + (f"?{self.query}" if self.query else "")


class Attempt(NamedTuple):
    """One supposition of what Twilio signed, and the mistakes that it takes."""

    url: Url
    fields: Fields
    token: Stored
    claim: str
    steps: tuple[Step, ...] = ()

    def supposing(self, name: str, details: dict[str, str] | None = None, **changed: object) -> Self:
        """The same with one more mistake."""
        return self._replace(**changed, steps=(*self.steps, Step(name, details or {})))  # type: ignore[arg-type]  # fields by name

    def at(self, name: str, details: dict[str, str] | None = None, **changed: object) -> Self:
        """The same for another URL."""
        return self.supposing(name, details, url=self.url._replace(**changed))  # type: ignore[arg-type]  # fields by name

    @property
    def fits(self) -> bool:
        """Whether signing so gives what arrived."""
        url, fields = str(self.url), self.fields
        if self.url.literal:
            # One field without a URL before it is signed as it is.
            ordered = sorted(set(fields))
            url, fields = "", ((url + "".join(name + value for name, value in ordered), ""),)
        try:
            made = signatures.sign_twilio(url, fields, self.token.value)
        except ValueError:
            return False
        return hmac.compare_digest(made.encode(), self.claim.encode("utf-8", "replace"))


class Case(NamedTuple):
    """One request before one stack."""

    captured: Captured
    headers: dict[str, str]
    expected: Expected


type Supposition = Callable[[Case, Attempt], Iterator[Attempt]]


def examine(captured: Captured, expected: Expected) -> Diagnosis:
    """Say why `captured` fails at the stack that is `expected`, or that it verifies."""
    case = Case(captured, captured.fields, expected)
    try:
        fields = tuple(signatures.parse_form(captured.body))
    except ValueError:
        fields = None
    try:
        url = str(_url(case))
    except ValueError:
        return fault(MISTAKES, [Step("url_malformed")])
    try:
        token = signatures.verify_twilio(url, fields or (), case.headers.get(HEADER, ""), expected.active)
    except SignatureRefused:
        return fault(MISTAKES, _explain(case, fields or ()))
    return _refusal(case, fields) or Diagnosis(True, f"The signature verifies, by the auth token {token}.")


def _url(case: Case) -> Url:
    base, captured = urlsplit(case.expected.base_url), case.captured
    return Url(base.scheme, base.netloc, base.path.rstrip("/") + captured.path, captured.query)


def _refusal(case: Case, fields: Fields | None) -> Diagnosis | None:
    """Why a request that is rightly signed is refused all the same."""
    if case.captured.method == "GET":
        return fault(MISTAKES, [Step("fields_in_query")])
    if fields is None:
        return refused_all_the_same("form_malformed")
    values = dict(fields)
    if len(values) != len(fields) or not _CALL_SID.fullmatch(values.get("CallSid", "")):
        return refused_all_the_same("fields")
    if case.expected.account_sids and values.get("AccountSid") not in case.expected.account_sids:
        return refused_all_the_same("account")
    return None


def _explain(case: Case, fields: Fields) -> list[Step]:
    claim = case.headers.get(HEADER, "")
    if not claim:
        return [Step("header_empty" if HEADER in case.headers else "header_missing")]
    if not case.expected.active:
        ended = any(not one.where for one in case.expected.secrets)
        return [Step("unreadable" if case.expected.unreadable else "all_ended" if ended else "no_secret")]
    starts = [Attempt(_url(case), fields, token, claim, foreign(token)) for token in case.expected.secrets]
    found = next((attempt for attempt in _supposed(case, starts) if attempt.fits), None)
    if found:
        return [*found.steps, *_changed_json(case, found.steps)]
    return [_by_shape(case, fields)]


def _changed_json(case: Case, steps: Iterable[Step]) -> list[Step]:
    if not any(step.name == "json_body" for step in steps):
        return []
    signed = dict(query_pairs(case.captured.query)).get("bodySHA256", "")
    return [] if hashlib.sha256(case.captured.body).hexdigest() == signed.lower() else [Step("json_body_changed")]


def _by_shape(case: Case, fields: Fields) -> Step:
    claim, expected = case.headers[HEADER], case.expected
    if SHARED_KEY_HEADER in case.headers or re.fullmatch(r"[A-Za-z0-9+/]{43}=", claim):
        return Step("shared_key")
    if not re.fullmatch(r"[A-Za-z0-9+/]{27}=", claim):
        return Step("header_twice" if "," in claim else "malformed")
    size = case.headers.get("content-length", "")
    if size.isdecimal() and int(size) != len(case.captured.body):
        return Step("body_length")
    if expected.account_sids and dict(fields).get("AccountSid") not in expected.account_sids:
        return Step("wrong_account")
    for token in expected.active:
        if not _TOKEN.fullmatch(token.value) and token.value != development.TWILIO_AUTH_TOKEN:
            return Step("token_shape", {"id": token.id})
    return Step("wrong_token")


def _supposed(case: Case, starts: Sequence[Attempt]) -> Iterator[Attempt]:
    """The starts themselves, then with one mistake more, then with two."""
    yield from starts
    for attempt in starts:
        for change in SUPPOSITIONS:
            yield from change(case, attempt)
    for attempt in starts:
        for number, first in enumerate(SUPPOSITIONS):
            for changed in first(case, attempt):
                for second in SUPPOSITIONS[number + 1 :]:
                    yield from second(case, changed)


def _twice(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    pieces = attempt.claim.split(",")
    if len(pieces) > 1:
        for piece in pieces:
            yield attempt.supposing("header_twice", claim=piece.strip())


def _scheme(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    mine = attempt.url.scheme
    other = "http" if mine == "https" else "https"
    yield attempt.at("url_scheme", {"found": other, "expected": mine}, scheme=other)


def _host(case: Case, attempt: Attempt) -> Iterator[Attempt]:
    names = (
        *(urlsplit(url).netloc for url in case.expected.signed_urls),
        case.captured.host,
        case.headers.get("host", ""),
        case.headers.get("x-forwarded-host", ""),
        case.headers.get("x-original-host", ""),
    )
    mine = attempt.url.host
    for name in dict.fromkeys(names):
        if name.partition(":")[0] != mine.partition(":")[0] and _HOST.fullmatch(name):
            yield attempt.at("host", {"found": name, "expected": mine}, host=name)


def _port(case: Case, attempt: Attempt) -> Iterator[Attempt]:
    name, _, mine = attempt.url.host.partition(":")
    given = (urlsplit(url).netloc for url in case.expected.signed_urls)
    seen = (case.captured.host, case.headers.get("host", ""), *given)
    others = {*(one.partition(":")[2] for one in seen), case.headers.get("x-forwarded-port", ""), *PORTS}
    for other in sorted(one for one in others if one == "" or one.isdecimal()):
        host = f"{name}:{other}" if other else name
        if host == attempt.url.host and attempt.url.scheme != "https":
            continue
        details = {"found": _with_port(other), "expected": _with_port("" if attempt.url.scheme == "https" else mine)}
        yield attempt.at("port", details, host=host, literal=True)


def _with_port(port: str) -> str:
    return f"with the port {port}" if port else "without a port"


def _path(case: Case, attempt: Attempt) -> Iterator[Attempt]:
    path = attempt.url.path
    given = [urlsplit(url).path for url in case.expected.signed_urls]
    mapped = [one.removesuffix(path).strip("/") for one in given if one.endswith(path) and one != path]
    before = (*mapped, case.captured.stage, case.headers.get("x-forwarded-prefix", "").strip("/"), *PREFIXES)
    for prefix in dict.fromkeys(filter(None, before)):
        yield attempt.at("path_mapping", {"found": "longer than"}, path=f"/{prefix}{path}")
    first, slash, rest = path[1:].partition("/")
    if first and slash and rest:
        yield attempt.at("path_mapping", {"found": "shorter than"}, path=f"/{rest}")
    for other in given:
        if other not in ("", path):
            yield attempt.at("path_mapping", {"found": "another than"}, path=other)


def _slash(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    path = attempt.url.path
    if path.endswith("/"):
        yield attempt.at("trailing_slash", {"found": "without"}, path=path.rstrip("/"))
    else:
        yield attempt.at("trailing_slash", {"found": "with"}, path=f"{path}/")


def _query(case: Case, attempt: Attempt) -> Iterator[Attempt]:
    query = attempt.url.query
    for lost in (case.captured.lost_query, *(urlsplit(url).query for url in case.expected.signed_urls)):
        if lost and lost != query:
            yield attempt.at("query_lost", query=lost)
    if not query:
        return
    yield attempt.at("query_added", query="")
    parts = query.split("&")
    orders = permutations(parts) if len(parts) <= 5 else iter([tuple(sorted(parts)), tuple(reversed(parts))])
    for order in orders:
        if list(order) != parts:
            yield attempt.at("query_order", query="&".join(order))
    pairs = query_pairs(query)
    escaped = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    for other in (unquote(query), escaped, escaped.replace("%20", "+"), query.replace("+", "%20")):
        if other != query:
            yield attempt.at("query_escapes", query=other)


def _fields_in_query(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    if attempt.fields:
        query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in attempt.fields)
        for other in (query, query.replace("%20", "+")):
            both = f"{attempt.url.query}&{other}" if attempt.url.query else other
            yield attempt.at("fields_in_query", query=both)._replace(fields=())


def _json(case: Case, attempt: Attempt) -> Iterator[Attempt]:
    if "bodySHA256=" in attempt.url.query:
        yield attempt.supposing("json_body", fields=())


def _blank(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    there = {name for name, _ in attempt.fields}
    if not there:
        return
    kept = tuple(pair for pair in attempt.fields if pair[1])
    if kept != attempt.fields:
        yield attempt.supposing("blank_ignored", fields=kept)
    # A caller's place and that of the number called come twice each, and are empty together.
    for choice in product((False, True), repeat=len(PLACES)):
        names = [side + what for (what, sides), chosen in zip(PLACES, choice, strict=True) if chosen for side in sides]
        added = tuple((name, "") for name in names if name not in there)
        if added:
            yield attempt.supposing("blank_dropped", fields=(*attempt.fields, *added))


def _plus(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    mended = tuple((name, re.sub(r"^ (?=[0-9])", "+", value)) for name, value in attempt.fields)
    if mended != attempt.fields:
        yield attempt.supposing("plus_as_space", fields=mended)


def _repeated(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    for chosen in (dict(attempt.fields), dict(reversed(attempt.fields))):
        if len(chosen) != len(attempt.fields):
            yield attempt.supposing("field_repeated", fields=tuple(chosen.items()))


def _token(_case: Case, attempt: Attempt) -> Iterator[Attempt]:
    token, value = attempt.token, attempt.token.value
    for name, other in (("token_space", value.strip()), ("token_quoted", value.strip("\"'"))):
        if other != value:
            yield attempt.supposing(name, {"id": token.id}, token=token._replace(value=other))


SUPPOSITIONS: tuple[Supposition, ...] = (
    _twice,
    _token,
    _scheme,
    _host,
    _port,
    _path,
    _slash,
    _query,
    _fields_in_query,
    _json,
    _plus,
    _repeated,
    _blank,
)
