"""A TLS server before a plain one on loopback, which counts requests and connections; and a root certificate for it."""

import http.client
import ipaddress
import re
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

HOP = frozenset({"connection", "transfer-encoding", "server", "date", "content-length"})
CONNECTION = "connection"

type Reply = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers, body."""


class Authority(NamedTuple):
    """A root certificate, and one of loopback that it has signed with its key (PEM). RSA of 2048 bits, as AWS's are."""

    root: str
    chain: Path

    @classmethod
    def make(cls, folder: Path) -> Self:
        """Make both, good for a day."""
        root_key, key = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Switchboard benchmark")])
        leaf = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
        begin = datetime.now(UTC) - timedelta(hours=1)
        identifier = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())

        def builder(subject: x509.Name, public: rsa.RSAPublicKey) -> x509.CertificateBuilder:
            made = x509.CertificateBuilder().subject_name(subject).issuer_name(name).public_key(public)
            made = made.serial_number(x509.random_serial_number())
            return made.not_valid_before(begin).not_valid_after(begin + timedelta(days=1))

        signer = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        root = builder(name, root_key.public_key()).add_extension(x509.BasicConstraints(True, 0), critical=True)
        root = root.add_extension(signer, critical=True).add_extension(identifier, critical=False)
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        signed = builder(leaf, key.public_key()).add_extension(alternative, critical=False)
        signed = signed.add_extension(issuer, critical=False)
        chain = folder / "server.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain.write_bytes(private + signed.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        made = root.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return cls(made.decode(), chain)


class Front:
    """HTTPS on a free port of loopback; every request goes on to `upstream`, unchanged. A context manager."""

    def __init__(self, upstream: str, authority: Authority) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.watch: Callable[[str, bytes, Callable[[], Reply]], Reply] = lambda name, body, send: send()
        """Sees each request, by the name that it is counted by, and sends it on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.chain)
        self._server = _Server(("127.0.0.1", 0), _handler(self), context)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self) -> Counter[str]:
        """What has been counted since it was asked last."""
        with self.lock:
            taken, self.counts = self.counts, Counter()
        return taken

    def note(self, what: str) -> None:
        """Count one."""
        with self.lock:
            self.counts[what] += 1

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """Ask the server behind."""
        with closing(http.client.HTTPConnection(*self._upstream, timeout=60)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext
    ) -> None:
        super().__init__(address, handler)
        self._context = context

    def get_request(self) -> tuple[Any, Any]:
        """Accept; the handshake is the handler's, so that a slow client holds nobody else up."""
        accepted, address = super().get_request()
        return self._context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever was measured has been killed, perhaps in the middle of a sentence."""


def _handler(front: Front) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True  # as in `runtime`

        def setup(self) -> None:
            super().setup()
            front.note(CONNECTION)

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def log_message(self, format: str, *args: Any) -> None:
            """Counted, not logged."""

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            name = named(self.command, self.path, self.headers.get("x-amz-target", ""))
            front.note(name)
            given = dict(self.headers.items())
            status, headers, content = front.watch(
                name, body, lambda: front.forward(self.command, self.path, given, body)
            )
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in HOP:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


def named(method: str, path: str, target: str) -> str:
    """`DynamoDB.UpdateItem` for one of AWS's, `POST /call` for another, without ids."""
    if target:
        service, _, action = target.partition(".")
        return f"{re.split(r'[_\d]', service)[0]}.{action}"
    return f"{method} {re.sub(r'/[0-9a-f-]{32,}', '/…', urlsplit(path).path)}"
