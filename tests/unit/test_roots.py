"""Root certificates as OpenSSL looks them up, and which of them are Amazon's."""

import ssl
from pathlib import Path
from typing import Any

import certifi
import pytest

from layers.dependencies import roots

BUNDLE = Path(certifi.where())
# As `openssl x509 -subject_hash` says it: a country in another kind of text, an organisation with commas, a long name.
HASHES = {
    "ISRG Root X1": "4042bcee",
    "Amazon Root CA 1": "ce5e74ef",
    "Amazon Root CA 3": "8cb5ee0f",
    "Starfield Services Root Certificate Authority - G2": "09789157",
    "GTS Root R1": "1001acf7",
}


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A layer with certifi in it."""
    (tmp_path / "python/certifi").mkdir(parents=True)
    (tmp_path / "python/certifi/cacert.pem").write_bytes(BUNDLE.read_bytes())
    return tmp_path


def name_of(certificate: bytes) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate)
    parts: Any = context.get_ca_certs()[0]["subject"]
    return str(dict(pair for part in parts for pair in part).get("commonName", ""))


def test_every_root_has_a_file_of_its_own(layer: Path) -> None:
    roots.main(layer)

    files = sorted((layer / "roots").glob("*.[0-9]"))
    assert sorted(roots.read(file)[0] for file in files) == sorted(roots.read(BUNDLE))
    assert len(files) > 100


@pytest.mark.parametrize(("name", "hashed"), HASHES.items())
def test_a_root_is_called_what_openssl_calls_it(layer: Path, name: str, hashed: str) -> None:
    roots.main(layer)

    assert name_of(roots.read(layer / "roots" / f"{hashed}.0")[0]) == name


def test_two_roots_of_one_name_are_numbered(tmp_path: Path) -> None:
    certificate = roots.read(BUNDLE)[0]
    roots.add(tmp_path, certificate)
    roots.add(tmp_path, certificate)

    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".0", ".1"]


def test_amazons_own_are_in_a_file_of_theirs(layer: Path) -> None:
    roots.main(layer)

    names = {name_of(certificate) for certificate in roots.read(layer / "roots/amazon.pem")}
    assert {f"Amazon Root CA {number}" for number in range(1, 5)} < names
    assert {name.partition(" ")[0] for name in names} == {"Amazon", "Starfield"}


def test_openssl_reads_what_is_written(layer: Path) -> None:
    roots.main(layer)

    context = ssl.create_default_context(cafile=str(layer / "roots/amazon.pem"))
    assert len(context.get_ca_certs()) == len(roots.read(layer / "roots/amazon.pem"))


def test_names_of_all_kinds_of_texts_are_read() -> None:
    text = "\N{LATIN SMALL LETTER E WITH ACUTE}A  b"
    kinds = {0x0C: "utf-8", 0x14: "latin-1", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}

    def name(tag: int, encoding: str) -> bytes:
        pair = roots.element(0x06, bytes.fromhex("55040a")) + roots.element(tag, text.encode(encoding))
        return roots.element(roots.SET, roots.element(roots.SEQUENCE, pair))

    assert {roots.organisation(name(*kind)) for kind in kinds.items()} == {text}
    assert len({roots.name_hash(name(*kind)) for kind in kinds.items()}) == 1


def test_long_elements_are_written_as_they_are_read() -> None:
    content = bytes(300)

    assert list(roots.elements(roots.element(0x04, content))) == [(0x04, content)]


@pytest.mark.parametrize(("bundle", "words"), [(None, "certifi is not among"), (b"", "is Amazon's")])
def test_a_layer_without_amazons_roots_is_not_built(tmp_path: Path, bundle: bytes | None, words: str) -> None:
    (tmp_path / "python/certifi").mkdir(parents=True)
    if bundle is not None:
        (tmp_path / "python/certifi/cacert.pem").write_bytes(bundle)

    with pytest.raises(ValueError, match=words):
        roots.main(tmp_path)
