"""Writes certifi's root certificates as one file each, named as OpenSSL looks them up: python3.13 roots.py LAYER.

A function that is given such a folder reads the one root that it needs, where certifi's own file has it read more than a
hundred at each start. The names are those of `openssl rehash`: the first four bytes of a digest over the subject, written
the one way that OpenSSL compares names by (X509_NAME_hash, https://docs.openssl.org/3.0/man3/X509_NAME_hash/).
"""

import base64
import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDER, AMAZON = "roots", "amazon.pem"
CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)
SET, SEQUENCE, UTF8 = 0x31, 0x30, 0x0C
TEXTS = {
    0x0C: "utf-8",
    0x13: "ascii",
    0x14: "latin-1",
    0x16: "ascii",
    0x1A: "ascii",
    0x1C: "utf-32-be",
    0x1E: "utf-16-be",
}
ORGANISATION = bytes.fromhex("55040a")  # 2.5.4.10
# Whose certificates AWS's services have, https://www.amazontrust.com/repository/
OURS = ("Amazon", "Starfield Technologies, Inc.")


def main(layer: Path) -> None:
    """Write the folder `roots` into a layer, from the certifi in its `python`.

    Raises:
        ValueError: certifi is not there, or none of its roots is Amazon's.
    """
    bundle = layer / "python" / "certifi" / "cacert.pem"
    if not bundle.is_file():
        raise ValueError("certifi is not among the packages")
    target = layer / FOLDER
    target.mkdir()
    amazon = []
    for certificate in read(bundle):
        add(target, certificate)
        if organisation(subject(certificate)) in OURS:
            amazon.append(pem(certificate))
    if not amazon:
        raise ValueError("none of certifi's roots is Amazon's")
    (target / AMAZON).write_text("".join(amazon))


def read(bundle: Path) -> list[bytes]:
    """The certificates of a PEM file, as DER."""
    return [base64.b64decode(found) for found in CERTIFICATE.findall(bundle.read_bytes())]


def add(target: Path, certificate: bytes) -> None:
    """Write one certificate under its name; a second one of that name gets the next number."""
    name = name_hash(subject(certificate))
    number = sum(1 for _ in target.glob(f"{name}.*"))
    (target / f"{name}.{number}").write_text(pem(certificate))


def pem(certificate: bytes) -> str:
    """A certificate as text."""
    lines = re.findall(".{1,64}", base64.b64encode(certificate).decode())
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def name_hash(name: bytes) -> str:
    """What OpenSSL calls a file by in which it looks for this subject (DER)."""
    canonical = b"".join(_canonical(part) for _, part in elements(name))
    return hashlib.sha1(canonical, usedforsecurity=False).digest()[3::-1].hex()


def subject(certificate: bytes) -> bytes:
    """The subject of a certificate: the content of its Name (RFC 5280, 4.1)."""
    ((_, whole),) = elements(certificate)
    (_, signed), *_ = elements(whole)
    fields = [content for tag, content in elements(signed) if tag != 0xA0]  # the version, which the oldest ones lack
    return fields[4]


def organisation(name: bytes) -> str:
    """The organisation in a name, or ''."""
    for _, part in elements(name):
        for _, pair in elements(part):
            (_, kind), (tag, value) = elements(pair)
            if kind == ORGANISATION:
                return value.decode(TEXTS[tag])
    return ""


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The tags and contents of DER that stand side by side."""
    at = 0
    while at < len(data):
        tag, size, at = data[at], data[at + 1], at + 2
        if size & 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(data[at : at + count]), at + count
        yield tag, data[at : at + size]
        at += size


def element(tag: int, content: bytes) -> bytes:
    """DER of one element."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def _canonical(part: bytes) -> bytes:
    """One part of a name in lower case, with single spaces, as UTF-8."""
    pairs = []
    for _, pair in elements(part):
        (kind_tag, kind), (tag, value) = elements(pair)
        if tag in TEXTS:
            words = re.sub(rb"[ \t\n\v\f\r]+", b" ", value.decode(TEXTS[tag]).encode()).strip(b" ")
            tag, value = UTF8, bytes(byte | 0x20 if 0x41 <= byte <= 0x5A else byte for byte in words)
        pairs.append(element(SEQUENCE, element(kind_tag, kind) + element(tag, value)))
    return element(SET, b"".join(sorted(pairs)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
