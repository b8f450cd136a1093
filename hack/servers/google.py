#!/usr/bin/env python3
"""A stub before drongo of what drongo lacks of Google Cloud. No Google is here.

drongo (https://pypi.org/project/drongo/) keeps global secrets and their versions. This stub is written from Google's public
documentation of its REST APIs, and adds:

- POST /v1/token: the token exchange; the pod's token is verified with the keys of its issuer, also its audience
- POST /token: signatures by service account keys, which are verified
- POST /v1/projects/-/serviceAccounts/EMAIL:generateAccessToken
- GET /computeMetadata/…: the metadata server of a machine
- 401 without an access token of its own, 403 for whom a test denies
- filters of lists, of which drongo has none: labels.KEY=VALUE, with AND between them, and nothing else
- keys of Cloud KMS, which drongo keeps; words for what it refuses are drongo's
- regional secrets, which drongo keeps under another project; Parameter Manager; dataCrc32c; Google's words for a version
  that is disabled or destroyed; `latest` as the newest version, where drongo takes the newest that is enabled

What it cannot show:

- that Google answers so: statuses, names and fields are those of the documentation, texts are shortened
- IAM: `deny` refuses an identity by a regular expression over "METHOD PATH"; attribute mappings and conditions
- quotas (POST /_fault makes a 429), VPC Service Controls, replication, secrets that expire
- encryption: what drongo encrypts is base64, bound to its key and its additional data; its keys have one version
- hosts: all APIs of all regions are one server here, so it cannot show that a call went to the right one
- how a parameter is rendered beyond __REF__("//secretmanager.googleapis.com/NAME")

Orders of tests (POST /_admin):

    {"do": "deny", "who": REGEX, "match": REGEX}        who that is may not do that
    {"do": "allow"}                                     nobody is denied any more
    {"do": "key", "email": EMAIL, "pem": PUBLIC}        this service account has this key (PEM)
    {"do": "act", "who": REGEX, "email": EMAIL}         who that is may act as this service account
    {"do": "lifetime", "seconds": N}                    how long access tokens live that are made from now on
    {"do": "expire"}                                    all access tokens end now
    {"do": "checksum", "send": "right"|"wrong"|"none"}  what dataCrc32c is
    {"do": "page", "size": N}                           how many secrets a page of a list has at most

The bearer token "admin" may do everything.
"""

import base64
import http.client
import json
import re
import time
import uuid

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from stub import Stub, arguments, from_base64url, serve, verify_jwt

NUMBER = "123456789012"
OAUTH = "https://oauth2.googleapis.com/token"
SECRET = re.compile(r"/v1/projects/([^/]+)(?:/locations/([^/]+))?/secrets(/.*)?")
PARAMETER = re.compile(r"/v1/(projects/[^/]+/locations/[^/]+/parameters)(?:/([^/:]+)(?:/versions(?:/([^/:]+)(:render)?)?)?)?")
KEYS = re.compile(r"/v1/projects/[^/]+/locations/[^/]+/keyRings(/.*)?")
REFERENCE = re.compile(r"""__REF__\(\\?["']?//secretmanager\.googleapis\.com/([^"')\\]+)\\?["']?\)""")


def crc32c(data):
    sum = 0xFFFFFFFF
    for byte in data:
        sum = TABLE[(sum ^ byte) & 0xFF] ^ (sum >> 8)
    return sum ^ 0xFFFFFFFF


def table_entry(value):
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
    return value


TABLE = [table_entry(byte) for byte in range(256)]


class Cloud:
    """What the stub knows that drongo does not."""

    def __init__(self, issuer, drongo):
        self.issuer, self.drongo = issuer, drongo
        self.tokens, self.keys, self.parameters = {}, {}, {}
        self.denied, self.acting = [], []
        self.lifetime, self.checksum, self.page = 3599, "right", 25000

    def grant(self, who):
        token = "ya29." + uuid.uuid4().hex
        self.tokens[token] = (who, time.time() + self.lifetime)
        return token

    def owner(self, token):
        who, ends = self.tokens.get(token, (None, 0))
        return who if time.time() < ends else None


class Google(Stub):
    @property
    def cloud(self):
        return self.server.store

    def fail(self, code, status, message):
        self.reply(code, {"error": {"code": code, "message": message, "status": status}})

    # ------------------------------------------------------------------ orders of tests

    def admin_deny(self, who, match):
        self.cloud.denied.append((who, match))
        return {}

    def admin_allow(self):
        self.cloud.denied.clear()
        return {}

    def admin_key(self, email, pem):
        self.cloud.keys[email] = serialization.load_pem_public_key(pem.encode())
        return {}

    def admin_act(self, who, email):
        self.cloud.acting.append((who, email))
        return {}

    def admin_lifetime(self, seconds):
        self.cloud.lifetime = seconds
        return {}

    def admin_expire(self):
        self.cloud.tokens.clear()
        return {}

    def admin_page(self, size):
        self.cloud.page = size
        return {}

    def admin_checksum(self, send):
        self.cloud.checksum = send
        return {}

    # ------------------------------------------------------------------ who is asking

    def route(self):
        path = self.path_only
        if (self.command, path) == ("POST", "/v1/token"):
            return self.exchange()
        if (self.command, path) == ("POST", "/token"):
            return self.signature()
        if path.startswith("/computeMetadata/"):
            return self.metadata()
        who = "admin" if self.bearer() == "admin" else self.cloud.owner(self.bearer())
        if who is None:
            return self.fail(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if path.endswith(":generateAccessToken"):
            return self.act(who, path.split("/")[-1].split(":")[0])
        if any(re.search(one, who) and re.search(match, f"{self.command} {path}") for one, match in self.cloud.denied):
            text = f"Permission 'secretmanager.versions.access' denied for resource '{path[4:]}' (or it may not exist)."
            return self.fail(403, "PERMISSION_DENIED", text)
        if match := PARAMETER.fullmatch(path):
            return self.parameter(*match.groups())
        if KEYS.fullmatch(path):
            return self.reply(*self.ask_drongo(self.command, self.path, self.body))
        if SECRET.fullmatch(path):
            return self.secret()
        return self.fail(404, "NOT_FOUND", "Method not found.")

    def exchange(self):
        asked = json.loads(self.body)
        namespace = re.fullmatch(r"identitynamespace:([^:]+):.+", asked["audience"])
        try:
            if asked["grantType"] != "urn:ietf:params:oauth:grant-type:token-exchange":
                raise ValueError("this is no exchange")
            claims = verify_jwt(asked["subjectToken"], self.cloud.issuer)
            expected = [namespace[1]] if namespace else [asked["audience"], "https:" + asked["audience"]]
            if not set(claims["aud"]) & set(expected):
                raise ValueError(f"The audience in ID Token {claims['aud']} does not match the expected audience.")
        except Exception as fault:
            return self.reply(400, {"error": "invalid_grant", "error_description": str(fault) or "bad signature"})
        self.reply_token(self.cloud.grant(claims["sub"]))

    def reply_token(self, token):
        self.reply(200, {"access_token": token, "token_type": "Bearer", "expires_in": self.cloud.lifetime})

    def signature(self):
        try:
            header, payload, signature = self.form()["assertion"].split(".")
            claims = json.loads(from_base64url(payload))
            signed = f"{header}.{payload}".encode()
            self.cloud.keys[claims["iss"]].verify(from_base64url(signature), signed, padding.PKCS1v15(), hashes.SHA256())
            if claims["aud"] not in (OAUTH, f"http://{self.headers['Host']}/token") or claims["exp"] < time.time():
                raise ValueError("it is for somebody else, or has ended")
        except Exception as fault:
            return self.reply(400, {"error": "invalid_grant", "error_description": f"Invalid JWT Signature. {fault}"})
        self.reply_token(self.cloud.grant(claims["iss"]))

    def metadata(self):
        if self.headers.get("Metadata-Flavor") != "Google":
            return self.reply(403, b"<html>Missing Metadata-Flavor</html>", content_type="text/html")
        self.reply_token(self.cloud.grant("the machine"))

    def act(self, who, email):
        if not any(re.search(one, who) and email == other for one, other in self.cloud.acting):
            return self.fail(403, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied on resource.")
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.cloud.lifetime))
        self.reply(200, {"accessToken": self.cloud.grant(email), "expireTime": ends})

    # ------------------------------------------------------------------ secrets, which drongo keeps

    def secret(self):
        project, location, rest = SECRET.fullmatch(self.path_only).groups()
        kept = f"/v1/projects/{project}{'.at.' + location if location else ''}/secrets"
        if self.command == "GET" and not rest:
            return self.listing(kept, location)
        rest = self.newest(kept, rest or "")
        query = self.path.partition("?")[2]
        status, body = self.ask_drongo(self.command, kept + rest + ("?" + query if query else ""), self.body)
        answer = json.loads(body)
        if status == 200 and rest.endswith(":access"):
            self.add_checksum(answer["payload"])
        if status == 400 and rest.endswith(":access"):
            return self.not_enabled(kept + rest.removesuffix(":access"), project, location)
        text = json.dumps(answer).replace(kept[4:], self.public(location))
        self.reply(status, text.encode())

    def listing(self, kept, location):
        status, body = self.ask_drongo("GET", kept + "?pageSize=10000")
        if status != 200:
            return self.reply(status, body)
        wanted = re.findall(r"labels\.([\w-]+)\s*=\s*\"?([\w-]+)", self.query.get("filter", ""))
        found = [one for one in json.loads(body).get("secrets", []) if all(one.get("labels", {}).get(key) == value for key, value in wanted)]
        size, begin = min(self.cloud.page, int(self.query.get("pageSize", 25000))), int(self.query.get("pageToken", 0))
        page = [{**one, "name": one["name"].replace(kept[4:], self.public(location))} for one in found[begin : begin + size]]
        answer = {"secrets": page} if page else {}
        if begin + size < len(found):
            answer["nextPageToken"] = str(begin + size)
        return self.reply(200, {**answer, "totalSize": len(found)})

    def public(self, location):
        return f"projects/{NUMBER}{'/locations/' + location if location else ''}/secrets"

    def newest(self, kept, rest):
        """`latest` as a number."""
        if not (match := re.fullmatch(r"(/[^/]+/versions/)latest(:.*)?", rest)):
            return rest
        _, body = self.ask_drongo("GET", kept + match[1].rstrip("/"))
        versions = [int(one["name"].split("/")[-1]) for one in json.loads(body).get("versions", [])]
        return f"{match[1]}{max(versions)}{match[2] or ''}" if versions else rest

    def not_enabled(self, path, project, location):
        _, body = self.ask_drongo("GET", path)
        version = json.loads(body)
        name = self.public(location) + version["name"].split("/secrets", 1)[1]
        self.fail(400, "FAILED_PRECONDITION", f"Secret Version [{name}] is in {version['state']} state.")

    def add_checksum(self, payload):
        right = crc32c(base64.b64decode(payload["data"]))
        if self.cloud.checksum != "none":
            payload["dataCrc32c"] = str(right if self.cloud.checksum == "right" else right ^ 1)

    def ask_drongo(self, method, target, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.cloud.drongo, timeout=30)
        connection.request(method, target, body or None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
        connection.close()
        return status, body

    # ------------------------------------------------------------------ parameters

    def parameter(self, parent, name, version, render):
        known = self.cloud.parameters
        if self.command == "POST" and name and not version:
            payload = json.loads(self.body)["payload"]["data"]
            key = (parent, name, self.query["parameterVersionId"])
            known[key] = base64.b64decode(payload)
            return self.reply(200, {"name": self.name_of(key)})
        if self.command == "DELETE":
            known.pop((parent, name, version), None)
            return self.reply(200, {})
        text = known.get((parent, name, version))
        if text is None or not render:
            return self.fail(404, "NOT_FOUND", f"Resource '{self.path_only[4:]}' was not found")
        try:
            rendered = REFERENCE.sub(self.referred, text.decode())
        except LookupError as fault:
            return self.fail(400, "FAILED_PRECONDITION", str(fault))
        encoded = [base64.b64encode(part).decode() for part in (text, rendered.encode())]
        name = self.name_of((parent, name, version))
        self.reply(200, {"parameterVersion": name, "payload": {"data": encoded[0]}, "renderedPayload": encoded[1]})

    def referred(self, match):
        status, body = self.ask_drongo("GET", f"/v1/{match[1]}:access")
        if status != 200:
            raise LookupError(f"Secret version {match[1]} could not be accessed")
        return base64.b64decode(json.loads(body)["payload"]["data"]).decode()

    def name_of(self, key):
        parent, name, version = key
        return re.sub("projects/[^/]+", f"projects/{NUMBER}", f"{parent}/{name}/versions/{version}")


if __name__ == "__main__":
    parser = arguments("A stub before drongo of what drongo lacks of Google Cloud")
    parser.add_argument("--drongo", type=int, required=True, help="the port of drongo on 127.0.0.1")
    given = parser.parse_args()
    serve(given, Google, Cloud(given.issuer, given.drongo))
