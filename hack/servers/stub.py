"""What the stubs of stores share: faults on demand, a log of all requests, and the check of a service account's token.

A stub stands for a store whose own server nobody can install. It is written from the vendor's public documentation of its
HTTP API. A test that passes against it shows that secretfs agrees with our reading of that documentation, and no more.

Every stub also answers, for tests only:

    GET    /_health   200 when it is ready
    GET    /_log      every other request since the start: {"at", "method", "target", "headers", "body"}
    POST   /_fault    {"match": REGEX, "status": 429, "headers": {}, "body": {}, "times": 1, "delay_ms": 0}
                      the next requests whose method and target match are answered so; without "status" they are only late
    DELETE /_fault    no faults any more
    POST   /_admin    {"do": NAME, …}: what the stub itself offers to tests

One lock serialises the requests, so a stub says nothing about load.
"""

import argparse
import base64
import json
import re
import ssl
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

LONGEST_LOG = 10_000


def to_base64url(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_base64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(text):
    return int.from_bytes(from_base64url(text), "big")


def verify_jwt(token, issuer, audience=None):
    """The claims of `token`, if `issuer` signed it (RS256 or ES256), it has not expired and it is for `audience`."""
    header, payload, signature = token.split(".")
    kid = json.loads(from_base64url(header))["kid"]
    with urllib.request.urlopen(f"{issuer}/openid/v1/jwks", timeout=3) as answer:
        key = next(key for key in json.load(answer)["keys"] if key["kid"] == kid)
    verify_signature(key, from_base64url(signature), f"{header}.{payload}".encode())
    claims = json.loads(from_base64url(payload))
    if claims.get("exp", 0) < time.time():
        raise ValueError("the token has expired")
    audiences = claims.get("aud", [])
    audiences = [audiences] if isinstance(audiences, str) else audiences
    if audience is not None and audience not in audiences:
        raise ValueError(f"the token is for {audiences} and not for {audience}")
    return claims


def verify_signature(key, signature, signed):
    if key["kty"] == "RSA":
        public = rsa.RSAPublicNumbers(number(key["e"]), number(key["n"])).public_key()
        public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    else:
        public = ec.EllipticCurvePublicNumbers(number(key["x"]), number(key["y"]), ec.SECP256R1()).public_key()
        half = len(signature) // 2
        pair = (int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
        public.verify(encode_dss_signature(*pair), signed, ec.ECDSA(hashes.SHA256()))


class Stub(BaseHTTPRequestHandler):
    """One request. A store is a subclass with `route`, and with a method `admin_NAME` for each order of tests.

    `self.server.store` is the store's own state, `self.path_only`, `self.query` and `self.body` are the request.
    """

    protocol_version = "HTTP/1.1"
    server_version = "stub"

    def log_message(self, *_):
        """Says nothing: standard error is for faults of the stub."""

    def reply(self, status, body=None, headers=None, content_type="application/json"):
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(raw)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(raw)

    def form(self):
        """The fields of a body that is a form."""
        return dict(urllib.parse.parse_qsl(self.body.decode()))

    def bearer(self):
        """The token of the request; empty if there is none."""
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if kind.lower() == "bearer" else ""

    def answer(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        split = urllib.parse.urlsplit(self.path)
        self.path_only = urllib.parse.unquote(split.path)
        self.query = dict(urllib.parse.parse_qsl(split.query))
        if self.path_only.startswith("/_"):
            return self.answer_test()
        with self.server.lock:
            self.note()
            fault = self.take_fault()
        if fault is not None:
            time.sleep(fault.get("delay_ms", 0) / 1000)
            if "status" in fault:
                return self.reply(fault["status"], fault.get("body", {}), fault.get("headers"))
        with self.server.lock:
            return self.route()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def answer_test(self):
        server = self.server
        with server.lock:
            if self.path_only == "/_health":
                return self.reply(200, {})
            if self.path_only == "/_log":
                return self.reply(200, server.seen)
            if self.path_only == "/_fault":
                server.faults = [] if self.command == "DELETE" else server.faults + [json.loads(self.body)]
                return self.reply(204)
            if self.path_only == "/_admin":
                order = json.loads(self.body)
                return self.reply(200, getattr(self, "admin_" + order.pop("do"))(**order))
        return self.reply(404)

    def note(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.body.decode(errors="replace")
        entry = {"at": time.time(), "method": self.command, "target": self.path, "headers": headers, "body": body}
        self.server.seen = (self.server.seen + [entry])[-LONGEST_LOG:]

    def take_fault(self):
        for fault in self.server.faults:
            if re.search(fault["match"], f"{self.command} {self.path}"):
                fault["times"] = fault.get("times", 1) - 1
                if fault["times"] <= 0:
                    self.server.faults.remove(fault)
                return fault
        return None

    def route(self):
        raise NotImplementedError


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # Some tests open many connections at the same time.
    request_queue_size = 128

    def __init__(self, port, handler, store):
        super().__init__(("127.0.0.1", port), handler)
        self.store, self.faults, self.seen, self.lock = store, [], [], threading.RLock()


def arguments(description):
    """The options that every stub has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    parser.add_argument("--issuer", help="URL of who signs service accounts' tokens")
    parser.add_argument("--certificate", help="serve HTTPS with this certificate (PEM)")
    parser.add_argument("--key", help="its key (PEM)")
    return parser


def serve(options, handler, store):
    """Serves until it is killed."""
    server = Server(options.port, handler, store)
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()
