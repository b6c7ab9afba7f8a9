"""Small proxies between a run and its services: they pass on, or do what a fault orders.

Belongs here: sockets, PostgreSQL's messages and HTTP requests as far as events need them. Does
not: what is done at which event (wire.py, faults.py).
"""

import contextlib
import http.client
import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from bq2pg_assets_tests.chaos.wire import Order, Wire

PIECE = 1 << 16
TIMEOUT = 60.0
ASKS_FOR_ENCRYPTION = (80877103, 80877104)
CANCELS = 80877102
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
BUCKET = re.compile(r"/b/[^/]+")


class PostgresProxy:
    """Connections to one server. Reads what the client says, message by message."""

    def __init__(self, wire: Wire, *, port: int) -> None:
        self._wire, self._upstream = wire, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and cut what is open."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            _cut(one)
        self._thread.join(TIMEOUT)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(client)
            try:
                server = socket.create_connection(("127.0.0.1", self._upstream), TIMEOUT)
            except OSError:
                return  # the server is down: the client meets a connection that ends at once
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stack.enter_context(server)
            both = {client, server}
            self._open |= both
            link = _Link(self._wire, client, server)
            answers = threading.Thread(target=link.answers, daemon=True)
            answers.start()
            with suppress(OSError, EOFError):
                link.requests()
            for end in both:
                _cut(end)
            answers.join(TIMEOUT)
            self._open -= both


class _Link:
    """One connection."""

    def __init__(self, wire: Wire, client: socket.socket, server: socket.socket) -> None:
        self._wire, self._client, self._server = wire, client, server
        self._unanswered: Order | None = None

    def requests(self) -> None:
        """Pass on what the client says, asking about each event first."""
        while True:
            head = _read(self._client, 8)
            length, code = struct.unpack("!ii", head)
            message = head + _read(self._client, length - 8)
            if code == CANCELS:
                self._server.sendall(message)
                return
            if code not in ASKS_FOR_ENCRYPTION:
                break
            self._server.sendall(message)
        self._say(message, "connect")
        while True:
            head = _read(self._client, 5)
            message = head + _read(self._client, struct.unpack("!i", head[1:])[0] - 4)
            self._say(message, _statement(message))

    def answers(self) -> None:
        """Pass on what the server says, until an answer is ordered not to arrive."""
        with suppress(OSError):
            while data := self._server.recv(PIECE):
                order = self._unanswered
                if order is not None:
                    if order.after is not None:
                        order.after()
                    break
                self._client.sendall(data)
        for end in (self._client, self._server):
            _cut(end)

    def _say(self, message: bytes, words: str | None) -> None:
        if words is not None:
            order = self._wire.meet("pg", words)
            if order.before is not None:
                order.before()
            if not order.forward:
                raise EOFError
            if not order.relay:
                self._unanswered = order
        self._server.sendall(message)


def _statement(message: bytes) -> str | None:
    """The event that a client's message is; None for what belongs to another."""
    kind, body = message[:1], message[5:]
    if kind == b"Q":
        return body.rstrip(b"\0").decode()
    if kind == b"P":
        return body.split(b"\0")[1].decode()
    return {b"d": "COPY data", b"c": "COPY end"}.get(kind)


def _read(source: socket.socket, count: int) -> bytes:
    pieces = b""
    while len(pieces) < count:
        piece = source.recv(count - len(pieces))
        if not piece:
            raise EOFError
        pieces += piece
    return pieces


def _cut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


class HttpProxy:
    """Requests to one of the emulators."""

    def __init__(self, wire: Wire, *, service: str, upstream: str) -> None:
        address = urlsplit(upstream)
        assert address.hostname is not None
        assert address.port is not None
        handler = type(
            "Handler",
            (_Handler,),
            {"wire": wire, "service": service, "upstream": (address.hostname, address.port)},
        )
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None:
        """The client is gone, as ordered."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wire: Wire
    service: str
    upstream: tuple[str, int]

    def handle_one_request(self) -> None:
        with suppress(OSError):
            super().handle_one_request()
            return
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """The wire keeps the record."""

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        order = self.wire.meet(self.service, _request(self.command, self.path, body))
        if order.before is not None:
            order.before()
        if not order.forward:
            return self._hang_up()
        if order.status is not None:
            said = order.body(self.path, body)
            return self._answer(order.status, {"Content-Type": "application/json"}, said)
        status, headers, answer = self._ask(body)
        if not order.relay:
            if order.after is not None:
                order.after()
            return self._hang_up()
        if order.change is not None:
            answer = order.change(answer)
        return self._answer(status, headers, answer, cut=order.cut)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _any

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        asked = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
        asked["Accept-Encoding"] = "identity"
        with _connected(self.upstream) as conn:
            conn.request(self.command, self.path, body=body, headers=asked)
            answer = conn.getresponse()
            found = answer.read()
        kept = {k: v for k, v in answer.getheaders() if k.lower() not in HOP_BY_HOP}
        return answer.status, kept, found

    def _answer(
        self, status: int, headers: dict[str, str], body: bytes, *, cut: int | None = None
    ) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        _cut(self.connection)


@contextmanager
def _connected(address: tuple[str, int]) -> Iterator[http.client.HTTPConnection]:
    conn = http.client.HTTPConnection(*address, timeout=TIMEOUT)
    try:
        yield conn
    finally:
        conn.close()


def _request(method: str, path: str, body: bytes) -> str:
    """A request in few words: the verb, what it is about, and of a job which."""
    parts = urlsplit(path)
    about = BUCKET.sub("", unquote(parts.path))
    about = re.sub(r"^/(bigquery/v2|(download/)?storage/v1)(/projects/[^/]+)?", r"/\2", about)
    about = re.sub(r"/o/.*", "/o/OBJECT", about.replace("//", "/"))
    if "alt=media" in parts.query:
        about = f"{about} content"
    named = re.search(rb'"dryRun": ?true|bq2pg_\w+_(probe|export)', body + parts.path.encode())
    if named is not None:
        job = (named[1] or b"dry run").decode()
        about = re.sub(r"bq2pg_\w+", "JOB", about)
        return f"{method} {about} {job}"
    return f"{method} {about}"
