"""Whom we believe over TLS, on real handshakes: a root that lies in the folder, and nobody else."""

import select
import ssl
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest

from devkit.vapi_fake import VapiFake
from layers.dependencies import roots
from switchboard import signed, trust
from switchboard.errors import NotDone
from switchboard.https import Sender
from switchboard.signed import Client, Keys, Unreachable
from switchboard.vapi import Vapi
from tests.benchmarks.rig.front import CONNECTION, Authority, Front


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """A context is made once for a process, and these tests change what it is made from."""
    trust.context.cache_clear()
    yield
    trust.context.cache_clear()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path)


@pytest.fixture
def vapi(authority: Authority) -> Iterator[Front]:
    """The fake Vapi behind TLS."""
    with VapiFake(0) as fake, Front(fake.url, authority) as front:
        yield front


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Roots as a layer has them."""
    made = tmp_path / "roots"
    made.mkdir()
    monkeypatch.setattr(trust, "ROOTS", str(made))
    return made


def believe(folder: Path, authority: Authority) -> None:
    bundle = folder.parent / "root.pem"
    bundle.write_text(authority.root)
    roots.add(folder, roots.read(bundle)[0])


def test_a_root_in_the_folder_is_believed(folder: Path, authority: Authority, vapi: Front) -> None:
    believe(folder, authority)

    send = Sender()
    with pytest.raises(NotDone, match="http_401"):
        Vapi(vapi.url, send).create_call("not the key", {}, timeout=5)
    signed.dial(vapi.url).close()


def test_the_tickets_that_follow_a_handshake_are_no_reason_to_connect_again(
    folder: Path, authority: Authority, vapi: Front
) -> None:
    believe(folder, authority)
    vapi.watch = lambda _name, _body, _send: (200, [], b"{}")
    client = Client("dynamodb", vapi.url, "eu-central-1", Keys("a", "b"))
    client.connect()
    assert select.select(client._idle, [], [], 5)[0]  # a ticket of TLS 1.3, as it looks from outside

    client.get_item()
    client.close()
    assert vapi.take()[CONNECTION] == 1


def test_nobody_else_is_believed(folder: Path, authority: Authority, vapi: Front, tmp_path: Path) -> None:
    believe(folder, Authority.make(tmp_path))  # another one of the same name

    with pytest.raises(NotDone, match="unreachable"):
        Vapi(vapi.url).create_call("key", {}, timeout=5)
    with pytest.raises(Unreachable, match="SSLError"):
        signed.dial(vapi.url)


def test_a_believed_root_does_not_vouch_for_another_name(folder: Path, authority: Authority, vapi: Front) -> None:
    believe(folder, authority)

    with pytest.raises(Unreachable, match="SSLError"):
        signed.dial(vapi.url.replace("127.0.0.1", "localhost"))


def test_without_a_folder_certifis_roots_are_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "ROOTS", "/nonexistent")

    context = trust.context()

    assert len(context.get_ca_certs()) == len(roots.read(Path(certifi.where())))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert trust.context() is context


def test_amazons_roots_are_a_file_where_there_is_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "AMAZON", str(folder / "amazon.pem"))
    assert trust.amazon() is None

    (folder / "amazon.pem").write_text("a root")
    assert trust.amazon() == str(folder / "amazon.pem")
