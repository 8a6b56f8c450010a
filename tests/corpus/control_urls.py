"""Control URLs: one exact form is followed, and every trick by which one reader sees another host than the next."""

# ruff: noqa: RUF001, S104 - odd characters and addresses are the subject

from collections.abc import Iterator
from typing import Any

Entry = dict[str, Any]
CALL = "c0ffee00-0000-4000-8000-0000000000c0"
HOST = "phone-call-websocket.aws-us-west-2-backend-production1.vapi.ai"
GOOD = f"https://{HOST}/{CALL}/control"


def entry(name: str, url: Any, host: str = "", **fields: Any) -> Entry:
    """One entry: `host` is where it may lead, or '' for nowhere."""
    return {"name": name, "url": url, **fields, "expect": host}


def entries() -> Iterator[Entry]:
    """Every entry."""
    yield from good()
    yield from schemes()
    yield from authorities()
    yield from hosts()
    yield from addresses()
    yield from paths()
    yield from characters()
    yield from calls()


def good() -> Iterator[Entry]:
    """The hosts that have been seen, and what else the rule lets through."""
    for host in (
        HOST,
        "phone-call-websocket.aws-us-west-2-backend-production2.vapi.ai",
        "phone-call-websocket.aws-us-west-2-backend-production3.vapi.ai",
        "aws-us-west-2-production1-phone-call-websocket.vapi.ai",
        "aws-us-west-2-production3-phone-call-websocket.vapi.ai",
        "phone-call-websocket.eu.vapi.ai",
        "a.vapi.ai",
        "a.b.c.d.e.f.vapi.ai",
        "1.2.3.4.vapi.ai",
        "127.0.0.1.vapi.ai",
        "-.vapi.ai",
        "vapi.ai.vapi.ai",
        "localhost.vapi.ai",
        f"{'a' * 63}.vapi.ai",
    ):
        yield entry(f"host {host}", f"https://{host}/{CALL}/control", host)
    yield entry("in angle brackets, as the documentation has it", f"<{GOOD}>", HOST)
    for call in ("c-1", "A_b-9", "0", "i" * 100):
        yield entry(f"call {call}", f"https://a.vapi.ai/{call}/control", "a.vapi.ai", call=call)


def schemes() -> Iterator[Entry]:
    """Other ways to ask for it."""
    listed = "http wss ws ftp file gopher dict ldap data javascript jar unix HTTPS Https https+http httpss ttps h"
    for scheme in listed.split():
        yield entry(f"scheme {scheme}", f"{scheme}://{HOST}/{CALL}/control")
    for name, start in {
        "no scheme": "",
        "no scheme and slashes": "//",
        "one slash": "https:/",
        "no slash": "https:",
        "three slashes": "https:///",
        "backslashes": "https:\\\\",
        "a slash and a backslash": "https:/\\",
        "a space before it": " https://",
        "a NUL before it": "\x00https://",
        "a line feed in it": "ht\ntps://",
        "a tab in it": "https:\t//",
        "view-source": "view-source:https://",
        "url": "url:https://",
        "two schemes": "http:https://",
    }.items():
        yield entry(f"scheme: {name}", f"{start}{HOST}/{CALL}/control")


def authorities() -> Iterator[Entry]:
    """Between the slashes: users, ports, and signs at which readers part."""
    for name, authority in {
        "a user": f"user@{HOST}",
        "a user and a password": f"user:password@{HOST}",
        "an empty user": f"@{HOST}",
        "another host behind the user": f"{HOST}@evil.example",
        "another host behind the user and a port": f"{HOST}:443@evil.example",
        "two users": f"{HOST}@{HOST}@evil.example",
        "two users and Vapi last": f"evil.example@evil.example@{HOST}",
        "an encoded at sign": f"evil.example%40{HOST}",
        "the usual port": f"{HOST}:443",
        "another port": f"{HOST}:8443",
        "port 80": f"{HOST}:80",
        "no port behind the colon": f"{HOST}:",
        "a port that is too large": f"{HOST}:65536",
        "a port with a plus": f"{HOST}:+443",
        "a port of letters": f"{HOST}:https",
        "a port with zeros": f"{HOST}:00443",
        "two ports": f"{HOST}:443:80",
        "a port of another host": f"evil.example:80#{HOST}",
        "a hash": f"evil.example#{HOST}",
        "a hash and an at sign": f"evil.example#@{HOST}",
        "a question mark": f"evil.example?{HOST}",
        "a question mark and an at sign": f"evil.example?@{HOST}",
        "a slash": f"evil.example/{HOST}",
        "a backslash": f"evil.example\\{HOST}",
        "a backslash and an at sign": f"evil.example\\@{HOST}",
        "an at sign and a backslash": f"{HOST}@evil.example\\",
        "a semicolon": f"evil.example;{HOST}",
        "a comma": f"evil.example,{HOST}",
        "a space": f"evil.example {HOST}",
        "a plus": f"evil.example+{HOST}",
        "an ampersand": f"evil.example&@{HOST}",
        "a bar": f"evil.example|{HOST}",
        "an encoded slash": f"evil.example%2f{HOST}",
        "an encoded hash": f"evil.example%23{HOST}",
        "an encoded backslash": f"evil.example%5c{HOST}",
        "an encoded dot": HOST.replace(".vapi", "%2evapi"),
        "an encoded letter": HOST.replace("vapi", "v%61pi"),
        "an encoded NUL": f"evil.example%00.{HOST}",
        "a NUL": f"evil.example\x00.{HOST}",
        "a line feed": f"evil.example\n.{HOST}",
        "CRLF and a header": f"evil.example\r\nHost: {HOST}",
        "a tab": f"evil.example\t.{HOST}",
        "brackets": f"[{HOST}]",
        "brackets before it": f"[::1].{HOST}",
        "a star": "*.vapi.ai",
        "nothing": "",
    }.items():
        yield entry(f"authority with {name}", f"https://{authority}/{CALL}/control")


def hosts() -> Iterator[Entry]:
    """Names that are nearly Vapi's."""
    for host in (
        "vapi.ai",
        ".vapi.ai",
        "..vapi.ai",
        "a..vapi.ai",
        "a.vapi.ai.",
        "a.vapi.ai..",
        "a.vapi.ai.evil.example",
        "a.vapi.aix",
        "a.vapi.a",
        "a.vapi.co",
        "a.vapi-ai.com",
        "evilvapi.ai",
        "a.evilvapi.ai",
        "a-vapi.ai",
        "a_b.vapi.ai",
        "A.vapi.ai",
        "a.VAPI.AI",
        "a.Vapi.ai",
        "avapi.ai",
        "a.vapi.ai.vapi.a",
        "example.com",
        "api.vapi.ai.example.com",
        "a.vapi。ai",  # an ideographic full stop, which some readers take for a dot
        "a.vapi．ai",  # a fullwidth one
        "a.vаpi.ai",  # the second letter is Cyrillic
        "a.ｖapi.ai",  # the first letter is fullwidth
        "a.vapı.ai",  # the dotless i
        "é.vapi.ai",
        "ß.vapi.ai",
        "a\u00ad.vapi.ai",
        "a\u200d.vapi.ai",
        "xn--.vapi.ai",
        "xn--a.vapi.ai",
        "xn--e1afmkfd.vapi.ai",
        "a.xn--e1afmkfd.vapi.ai",
        "a.vapi.xn--ai-x",
        f"{'a' * 64}.vapi.ai",
        f"b.{'a' * 64}.vapi.ai",
        f"{'a' * 300}.vapi.ai",
    ):
        yield entry(f"name {host if len(host) < 70 else len(host)}", f"https://{host}/{CALL}/control")


def addresses() -> Iterator[Entry]:
    """Addresses of this machine, of the network, and of metadata services, in all their spellings."""
    for host in (
        "127.0.0.1",
        "127.1",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.nip.io",
        "localhost",
        "localhost.localdomain",
        "switchboard.localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[fe80::1%25lo]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "169.254.170.2",
        "metadata.google.internal",
        "instance-data.ec2.internal",
        "100.100.100.200",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "①②⑦.⓪.⓪.①",
    ):
        for scheme in ("https", "http"):
            yield entry(f"address {host} over {scheme}", f"{scheme}://{host}/{CALL}/control")
    yield entry("a simulator's address", f"http://127.0.0.1:4567/{CALL}/control")
    yield entry("a metadata service's path", "http://169.254.169.254/latest/meta-data/iam/security-credentials/")
    yield entry("a runtime's own interface", "http://127.0.0.1:9001/2018-06-01/runtime/invocation/next")


def paths() -> Iterator[Entry]:
    """Behind the host."""
    for name, path in {
        "none": "",
        "a slash": "/",
        "listen": f"/{CALL}/listen",
        "transport": f"/{CALL}/transport",
        "capitals": f"/{CALL}/CONTROL",
        "a slash more": f"/{CALL}/control/",
        "two slashes": f"//{CALL}/control",
        "two slashes within": f"/{CALL}//control",
        "a part more": f"/{CALL}/control/more",
        "a part before": f"/v1/{CALL}/control",
        "no call": "/control",
        "an empty call": "//control",
        "a way up": f"/../{CALL}/control",
        "a way up within": f"/{CALL}/x/../control",
        "a dot": f"/./{CALL}/control",
        "an encoded way up": f"/%2e%2e/{CALL}/control",
        "an encoded slash": f"/{CALL}%2fcontrol",
        "an encoded letter": f"/{CALL}/c%6fntrol",
        "a backslash": f"/{CALL}\\control",
        "a query": f"/{CALL}/control?a=1",
        "an empty query": f"/{CALL}/control?",
        "a fragment": f"/{CALL}/control#a",
        "an empty fragment": f"/{CALL}/control#",
        "a parameter": f"/{CALL}/control;a=1",
        "a space behind it": f"/{CALL}/control ",
        "a line feed behind it": f"/{CALL}/control\n",
        "a NUL behind it": f"/{CALL}/control\x00",
        "a second URL": f"/{CALL}/control,{GOOD}",
        "a template": "/{{call.id}}/control",
    }.items():
        yield entry(f"path with {name}", f"https://{HOST}{path}")


def characters() -> Iterator[Entry]:
    """Something around it, or instead of it."""
    for name, url in {
        "nothing": "",
        "a space": " ",
        "empty angle brackets": "<>",
        "an angle bracket before it": f"<{GOOD}",
        "an angle bracket behind it": f"{GOOD}>",
        "two angle brackets": f"<<{GOOD}>>",
        "angle brackets with a space": f"< {GOOD} >",
        "a label in angle brackets": f"<URL:{GOOD}>",
        "quotes": f'"{GOOD}"',
        "brackets": f"[{GOOD}]",
        "markdown": f"[control]({GOOD})",
        "a byte order mark": f"\ufeff{GOOD}",
        "a zero-width space": f"{GOOD}\u200b",
        "a mark that turns text around": f"\u202e{GOOD}",
        "a no-break space": f"{GOOD}\xa0",
        "CRLF and a second line": f"{GOOD}\r\nHost: evil.example",
        "half a surrogate pair": f"{GOOD}\ud83d",
        "a tab before it": f"\t{GOOD}",
        "null": "null",
        "undefined": "undefined",
    }.items():
        yield entry(f"the whole with {name}", url)
    yield entry("a hundred kilobytes", ["https://", {"repeat": "a.", "times": 50_000}, f"vapi.ai/{CALL}/control"])
    for length, fits in ((500, True), (501, False)):
        name = "a." * 200 + "a" * (length - len(f"https://{'a.' * 200}.vapi.ai/{CALL}/control")) + ".vapi.ai"
        yield entry(f"{length} characters", f"https://{name}/{CALL}/control", name if fits else "")


def calls() -> Iterator[Entry]:
    """Of another call than the message is about."""
    for name, call in {
        "another call": "c0ffee00-0000-4000-8000-0000000000c1",
        "the call in capitals": CALL.upper(),
        "the call and more": f"{CALL}0",
        "the cut call": CALL[:-1],
        "the call without dashes": CALL.replace("-", ""),
        "the call with braces": f"{{{CALL}}}",
        "an encoded call": CALL.replace("-", "%2d"),
        "a call with a space": f"{CALL} ",
        "a call with an accent": "café",
    }.items():
        yield entry(f"for {name}", f"https://{HOST}/{call}/control")
    for name, call in {
        "none": "",
        "of a slash": "a/b",
        "of dots": "..",
        "of a space": "a b",
        "of an escape": "a%2fb",
        "of a line feed": "a\n",
        "of 101 characters": "i" * 101,
        "of a hash": "a#b",
        "of an accent": "é",
    }.items():
        yield entry(f"for a call {name}, which is the session's", f"https://{HOST}/{call}/control", call=call)
