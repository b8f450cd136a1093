#!/usr/bin/env python3
"""A stub of Azure Key Vault and of the token endpoints of Microsoft Entra ID and of a virtual machine. No Azure is here.

It is written from the public documentation of the REST APIs. What it cannot show:

- that Azure answers so. Statuses and error codes are those of the documentation. Texts are shortened.
- signatures of access tokens: they are opaque here, as they are to every client.
- role assignments and access policies: `deny` refuses an application by a regular expression over "METHOD PATH".
- firewalls, private links, throttling by itself (POST /_fault makes it), replication, purge protection, HSMs, rotation by policy.
- certificates of a real authority: an intermediate of its own signs them.
- the order in which Azure lists versions: here it is shuffled on purpose.

GET /metadata/… is the endpoint of a virtual machine (IMDS), anything below /TENANT/oauth2/ is Entra ID. Several vaults are
one server: /vault/NAME/secrets/… is the vault NAME, and /secrets/… is one more. Orders of tests (POST /_admin):

    {"do": "trust", "client": ID, "subject": SUB}    tokens of this subject log in as this application
    {"do": "secret", "client": ID, "secret": TEXT}   this client secret logs in as this application
    {"do": "deny", "client": ID, "match": REGEX}     this application may not do that ("" as match: it may do all again)
    {"do": "expire"}                                 all access tokens end now

The bearer token "admin" may do everything.
"""

import base64
import datetime
import json
import re
import time
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from stub import Stub, arguments, serve, to_base64url, verify_jwt

AUDIENCE = "api://AzureADTokenExchange"
RESOURCE = "https://vault.azure.net"
LONGEST_VALUE = 25_600
PAGE = 25
LIFETIME = 3599
CURVES = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1, "P-256K": ec.SECP256K1}
KINDS = {"secrets": "Secret", "keys": "Key", "certificates": "Certificate"}


class Vault:
    """What one vault holds: versions of each name, the newest last; what was deleted stays recoverable."""

    def __init__(self):
        self.live = {kind: {} for kind in KINDS}
        self.deleted = {kind: {} for kind in KINDS}

    def add(self, kind, name, version, number=None):
        versions = self.live[kind].setdefault(name, [])
        # Times are whole seconds, and distinguish versions by their age. They grow with each version, even if a test
        # makes several versions within one second.
        created = max([int(time.time())] + [older["created"] + 1 for older in versions])
        version.update(version=number or uuid.uuid4().hex, created=created, updated=created)
        versions.append(version)
        return version


class Entra:
    """Who may log in as which application, and which access tokens are good until when."""

    def __init__(self, issuer):
        self.issuer, self.subjects, self.secrets, self.denied, self.tokens = issuer, {}, {}, {}, {}
        self.vaults = {}
        self.authority = Authority()

    def grant(self, client):
        token = f"{to_base64url(b'{}')}.{to_base64url(uuid.uuid4().bytes)}.{to_base64url(b'signature')}"
        self.tokens[token] = (client, time.time() + LIFETIME)
        return token


class Authority:
    """A root, and an intermediate that signs what vaults issue."""

    def __init__(self):
        self.root_key, self.key = new_rsa(), new_rsa()
        self.root = certificate("Stub root", self.root_key, "Stub root", self.root_key, is_authority=True)
        self.intermediate = certificate("Stub intermediate", self.key, "Stub root", self.root_key, is_authority=True)

    def issue(self, name, key):
        return certificate(name, key, "Stub intermediate", self.key, is_authority=False)


def new_rsa(size=2048):
    return rsa.generate_private_key(65537, size)


def certificate(subject, key, issuer, issuer_key, is_authority):
    def named(name):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named(issuer))
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=365))
    builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


class KeyVault(Stub):
    @property
    def entra(self):
        return self.server.store

    # ------------------------------------------------------------------ orders of tests

    def admin_trust(self, client, subject):
        self.entra.subjects.setdefault(client, set()).add(subject)

    def admin_secret(self, client, secret):
        self.entra.secrets[client] = secret

    def admin_deny(self, client, match):
        self.entra.denied[client] = match

    def admin_expire(self):
        self.entra.tokens.clear()

    # ------------------------------------------------------------------ who is asked

    def route(self):
        if self.path_only.startswith("/metadata/"):
            return self.machine()
        if self.path_only.endswith("/oauth2/v2.0/token"):
            return self.token()
        parts = self.path_only.strip("/").split("/")
        self.prefix = ""
        if parts[0] == "vault":
            self.prefix, parts = f"/vault/{parts[1]}", parts[2:]
        self.vault = self.entra.vaults.setdefault(self.prefix, Vault())
        return self.in_vault(parts)

    def machine(self):
        if self.headers.get("Metadata") != "true":
            return self.reply(400, {"error": "invalid_request", "error_description": "Required metadata header not specified"})
        client = self.query.get("client_id", "machine")
        token = self.entra.grant(client)
        # A virtual machine's endpoint writes numbers as strings. Entra ID does not.
        return self.reply(200, {"access_token": token, "client_id": client, "expires_in": str(LIFETIME), "token_type": "Bearer"})

    def token(self):
        form = self.form()
        client = form.get("client_id", "")
        if form.get("scope") != RESOURCE + "/.default":
            return self.refuse_login(400, "invalid_scope", f"AADSTS70011: The scope {form.get('scope')} is not valid.")
        if "client_assertion" in form:
            return self.token_of_assertion(client, form["client_assertion"])
        if "client_secret" in form and self.entra.secrets.get(client) == form["client_secret"]:
            return self.granted(client)
        return self.refuse_login(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")

    def token_of_assertion(self, client, assertion):
        try:
            claims = verify_jwt(assertion, self.entra.issuer, AUDIENCE)
        except Exception as error:  # whatever is wrong with it, Entra tells its caller
            return self.refuse_login(401, "invalid_client", f"AADSTS700212: No matching federated identity record: {error}")
        if claims["sub"] not in self.entra.subjects.get(client, ()):
            return self.refuse_login(
                401,
                "invalid_client",
                f"AADSTS700213: No matching federated identity record found for presented assertion subject '{claims['sub']}'.",
            )
        return self.granted(client)

    def granted(self, client):
        token = self.entra.grant(client)
        self.reply(200, {"token_type": "Bearer", "expires_in": LIFETIME, "ext_expires_in": LIFETIME, "access_token": token})

    def refuse_login(self, status, error, description):
        text = f"{description} Trace ID: {uuid.uuid4()} Timestamp: 2026-01-01 00:00:00Z"
        self.reply(status, {"error": error, "error_description": text, "error_codes": [70021]})

    # ------------------------------------------------------------------ one vault

    @property
    def base(self):
        return f"http://{self.headers['Host']}{self.prefix}"

    def refuse(self, status, code, message, inner=None, headers=None):
        error = {"code": code, "message": message}
        if inner:
            error["innererror"] = {"code": inner}
        self.reply(status, {"error": error}, headers)

    def caller(self):
        token = self.bearer()
        if token == "admin":
            return "admin"
        client, ends = self.entra.tokens.get(token, (None, 0))
        return client if ends > time.time() else None

    def in_vault(self, parts):
        client = self.caller()
        if client is None:
            # The challenge names an authority to which no client may send a token.
            challenge = f'Bearer authorization="http://127.0.0.1:9/elsewhere", resource="{RESOURCE}"'
            return self.refuse(401, "Unauthorized", "AKV10022: Invalid token.", headers={"WWW-Authenticate": challenge})
        if "api-version" not in self.query:
            return self.refuse(400, "BadParameter", "api-version is required")
        match = self.entra.denied.get(client)
        if match and re.search(match, f"{self.command} {self.path_only}"):
            message = f"Caller is not authorized to perform action on resource. Caller: appid={client}"
            return self.refuse(403, "Forbidden", message, "ForbiddenByRbac")
        if parts == ["secrets"] and self.command == "GET":
            return self.secrets()
        kind = parts[0].removeprefix("deleted")
        if kind not in KINDS or len(parts) < 2:
            return self.refuse(404, "NotFound", "no such resource")
        if not re.fullmatch("[0-9A-Za-z-]{1,127}", parts[1]):
            return self.refuse(400, "BadParameter", "The request URI contains an invalid name")
        if parts[0].startswith("deleted"):
            return self.deleted(kind, parts)
        return self.live(kind, parts)

    def deleted(self, kind, parts):
        name, gone = parts[1], self.vault.deleted[kind]
        if name not in gone:
            return self.absent(kind, name)
        if self.command == "DELETE":
            del gone[name]
            return self.reply(204)
        if parts[2:] == ["recover"]:
            self.vault.live[kind][name] = gone.pop(name)
            return self.reply(200, self.item(kind, name, self.vault.live[kind][name][-1]))
        return self.reply(200, self.deletion(kind, name))

    def deletion(self, kind, name):
        item = self.item(kind, name, self.vault.deleted[kind][name][-1], is_listed=True)
        now = int(time.time())
        link = {"recoveryId": f"{self.base}/deleted{kind}/{name}", "deletedDate": now, "scheduledPurgeDate": now + 90 * 86400}
        return {**item, **link}

    def absent(self, kind, name):
        one = KINDS[kind]
        message = f"A {one.lower()} with (name/id) {name} was not found in this key vault. "
        message += f"If you recently deleted this {one.lower()} you may be able to recover it."
        return self.refuse(404, f"{one}NotFound", message)

    def live(self, kind, parts):
        name, names, method = parts[1], self.vault.live[kind], self.command
        if method == "DELETE":
            if name not in names:
                return self.absent(kind, name)
            self.vault.deleted[kind][name] = names.pop(name)
            return self.reply(200, self.deletion(kind, name))
        if method in ("PUT", "POST"):
            return self.create(kind, name)
        if name not in names:
            return self.absent(kind, name)
        if parts[2:] == ["versions"]:
            return self.versions(kind, name)
        if method == "PATCH":
            return self.patch(kind, name, parts)
        return self.one(kind, name, parts)

    def version_of(self, kind, name, parts):
        """The version that the path names; the newest if it names none."""
        versions = self.vault.live[kind][name]
        if len(parts) < 3 or not parts[2]:
            return versions[-1]
        return next((version for version in versions if version["version"] == parts[2]), None)

    def one(self, kind, name, parts):
        version = self.version_of(kind, name, parts)
        if version is None:
            return self.absent(kind, f"{name}/{parts[2]}")
        if version["attributes"].get("enabled") is False and kind != "certificates":
            message = f"Operation get is not allowed on a disabled {KINDS[kind].lower()}."
            return self.refuse(403, "Forbidden", message, f"{KINDS[kind]}Disabled")
        return self.reply(200, self.item(kind, name, version))

    def patch(self, kind, name, parts):
        version, body = self.version_of(kind, name, parts), json.loads(self.body)
        version["attributes"].update(body.get("attributes") or {})
        return self.reply(200, self.item(kind, name, version, is_listed=True))

    def versions(self, kind, name):
        ordered = sorted(self.vault.live[kind][name], key=lambda version: version["version"])
        size, begin = int(self.query.get("maxresults", PAGE)), int(self.query.get("$skiptoken", 0))
        page = [self.item(kind, name, version, is_listed=True) for version in ordered[begin : begin + size]]
        more = begin + size < len(ordered)
        link = f"{self.base}/{kind}/{name}/versions?api-version={self.query['api-version']}&maxresults={size}&$skiptoken={begin + size}"
        return self.reply(200, {"value": page, "nextLink": link if more else None})

    def secrets(self):
        """All secrets, the newest version of each without its value."""
        ordered = sorted(self.vault.live["secrets"].items())
        size, begin = int(self.query.get("maxresults", PAGE)), int(self.query.get("$skiptoken", 0))
        page = [self.item("secrets", name, versions[-1], is_listed=True) for name, versions in ordered[begin : begin + size]]
        for item in page:
            item["id"] = item["id"].rpartition("/")[0]
        more = begin + size < len(ordered)
        link = f"{self.base}/secrets?api-version={self.query['api-version']}&maxresults={size}&$skiptoken={begin + size}"
        return self.reply(200, {"value": page, "nextLink": link if more else None})

    # ------------------------------------------------------------------ what is created

    def create(self, kind, name):
        body = json.loads(self.body or b"{}")
        if name in self.vault.deleted[kind]:
            message = f"{KINDS[kind]} {name} is currently in a deleted but recoverable state, and its name cannot be reused"
            return self.refuse(409, "Conflict", message, "ObjectIsDeletedButRecoverable")
        if kind == "secrets":
            return self.create_secret(name, body)
        version = self.create_key(name, body) if kind == "keys" else self.create_certificate(name, body)
        return self.reply(200, self.item(kind, name, version))

    def create_secret(self, name, body):
        if "value" not in body:
            return self.refuse(400, "BadParameter", "The request body is missing 'value'")
        if len(body["value"].encode()) > LONGEST_VALUE:
            return self.refuse(400, "BadParameter", f"The value is longer than {LONGEST_VALUE} bytes")
        version = {"value": body["value"], "contentType": body.get("contentType"), "attributes": body.get("attributes") or {}}
        version["tags"] = body.get("tags") or {}
        return self.reply(200, self.item("secrets", name, self.vault.add("secrets", name, version)))

    def create_key(self, name, body):
        kty = body.get("kty", "RSA")
        key = ec.generate_private_key(CURVES[body.get("crv", "P-256")]()) if kty.startswith("EC") else new_rsa()
        return self.vault.add("keys", name, {"key": key, "kty": kty, "attributes": body.get("attributes") or {}})

    def create_certificate(self, name, body):
        """At once, where Azure answers with an operation that is in progress. A secret and a key of its name go with it."""
        policy = body.get("policy") or {}
        content = (policy.get("secret_props") or {}).get("contentType", "application/x-pkcs12")
        key = new_rsa()
        leaf, above = self.entra.authority.issue(name, key), self.entra.authority.intermediate
        version = self.vault.add("certificates", name, {"certificate": leaf, "attributes": {}})
        if content == "application/x-pem-file":
            value = in_pem(key, [leaf, above])
        else:
            value = base64.b64encode(pkcs12.serialize_key_and_certificates(None, key, leaf, [above], serialization.NoEncryption())).decode()
        secret = {"value": value, "contentType": content, "is_managed": True, "attributes": {}}
        self.vault.add("secrets", name, secret, version["version"])
        self.vault.add("keys", name, {"key": key, "kty": "RSA", "attributes": {}}, version["version"])
        return version

    # ------------------------------------------------------------------ how it is told

    def item(self, kind, name, version, is_listed=False):
        number, one = version["version"], f"{self.base}/{kind}/{name}/{version['version']}"
        attributes = {"enabled": True, **version["attributes"], "created": version["created"], "updated": version["updated"]}
        attributes.update(recoveryLevel="Recoverable+Purgeable", recoverableDays=90)
        told = {"attributes": attributes, **({"tags": version["tags"]} if version.get("tags") else {})}
        if kind == "keys":
            return {**told, "kid": one} if is_listed else {**told, "key": {"kid": one, **public_jwk(version)}}
        told["id"] = one
        if kind == "certificates" and not is_listed:
            told["cer"] = base64.b64encode(version["certificate"].public_bytes(serialization.Encoding.DER)).decode()
            told.update(kid=f"{self.base}/keys/{name}/{number}", sid=f"{self.base}/secrets/{name}/{number}")
        if kind == "secrets":
            told.update({"contentType": version["contentType"]} if version.get("contentType") else {})
            told.update({"managed": True, "kid": f"{self.base}/keys/{name}/{number}"} if version.get("is_managed") else {})
            told.update({} if is_listed else {"value": version["value"]})
        return told


def in_pem(key, certificates):
    pem = serialization.Encoding.PEM
    text = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (text + b"".join(one.public_bytes(pem) for one in certificates)).decode()


def public_jwk(version):
    numbers = version["key"].public_key().public_numbers()
    if isinstance(numbers, rsa.RSAPublicNumbers):
        size = (numbers.n.bit_length() + 7) // 8
        return {"kty": version["kty"], "n": to_base64url(numbers.n.to_bytes(size, "big")), "e": "AQAB"}
    name = next(name for name, curve in CURVES.items() if isinstance(numbers.curve, curve))
    size = (numbers.curve.key_size + 7) // 8
    x, y = (to_base64url(value.to_bytes(size, "big")) for value in (numbers.x, numbers.y))
    return {"kty": version["kty"], "crv": name, "x": x, "y": y}


if __name__ == "__main__":
    given = arguments("A stub of Azure Key Vault, Entra ID and a machine's token endpoint").parse_args()
    serve(given, KeyVault, Entra(given.issuer))
