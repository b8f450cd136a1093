#!/usr/bin/env python3
"""A stub of CyberArk Conjur. No Conjur is here.

It is written from the public documentation of the REST API. What it cannot show:

- that Conjur answers so. Statuses and error codes are those of the documentation. Texts are shortened.
- policy: `permit` gives a host privileges on the variables that a regular expression finds, and there is nothing else.
- the claims that an authenticator enforces and maps: a host has one subject here.
- signatures of access tokens: they are opaque here, as they are to every client.
- rotators, expiry of values, followers, authn-k8s, authn-oidc and the other authenticators.

Orders of tests (POST /_admin):

    {"do": "host", "id": "host/shop", "subject": SUB}    tokens of this subject log in as this host
    {"do": "host", "id": "host/shop", "key": KEY}        this API key logs in as this host
    {"do": "permit", "host": ID, "match": REGEX, "privileges": ["read", "execute"]}    and no others any more
    {"do": "set", "variable": ID, "value": BASE64}       a new version; without "value" only the variable
    {"do": "drop", "variable": ID}                       the variable is in no policy any more
    {"do": "expire"}                                     all access tokens end now
"""

import base64
import json
import re
import time
import urllib.parse
import uuid

from stub import Stub, arguments, serve, to_base64url, verify_jwt

ACCOUNT = "acme"
AUDIENCE = "conjur"
SERVICE = "kube"
LIFETIME = 480
KEPT = 20


class Store:
    def __init__(self, issuer):
        self.issuer = issuer
        self.hosts, self.grants, self.variables, self.tokens = {}, {}, {}, {}

    def may(self, host, privilege, variable):
        grants = self.grants.get(host, [])
        return any(privilege in privileges and re.fullmatch(match, variable) for match, privileges in grants)

    def sees(self, host, variable):
        known = variable in self.variables
        return known and any(self.may(host, privilege, variable) for privilege in ("read", "execute", "update"))


class Conjur(Stub):
    def refuse(self, status, code=None, message=""):
        self.reply(status, {"error": {"code": code, "message": message}} if code else None)

    def missing(self, variable):
        self.refuse(404, "not_found", f"CONJ00076E Variable {ACCOUNT}:variable:{variable} is empty or not found.")

    def route(self):
        # A component may hold an encoded slash, so the path is taken apart before it is decoded.
        path = [urllib.parse.unquote(part) for part in urllib.parse.urlsplit(self.path).path.strip("/").split("/")]
        match (self.command, path):
            case ("POST", ["authn", account, host, "authenticate"]) if account == ACCOUNT:
                return self.grant(host, self.by_key(host))
            case ("POST", ["authn-jwt", service, account, *host, "authenticate"]):
                wanted = host[0] if host else None
                known = service == SERVICE and account == ACCOUNT
                found = self.by_token(wanted) if known else None
                return self.grant(found, found is not None)
        host = self.holder()
        if host is None:
            return self.reply(401)
        match (self.command, path):
            case ("GET", ["secrets"]):
                return self.batch(host)
            case ("GET", ["secrets", account, "variable", variable]) if account == ACCOUNT:
                return self.value(host, variable)
            case ("POST", ["secrets", account, "variable", variable]) if account == ACCOUNT:
                return self.add(host, variable)
            case ("GET", ["resources", account, "variable", variable]) if account == ACCOUNT:
                return self.resource(host, variable)
        return self.reply(404)

    def by_key(self, host):
        key = self.server.store.hosts.get(host, {}).get("key")
        return key is not None and key == self.body.decode()

    def by_token(self, wanted):
        store = self.server.store
        try:
            subject = verify_jwt(self.form()["jwt"], store.issuer, AUDIENCE)["sub"]
        except Exception:
            return None
        hosts = [host for host, known in store.hosts.items() if known.get("subject") == subject]
        return next((host for host in hosts if wanted in (None, host)), None)

    def grant(self, host, is_known):
        if not is_known:
            return self.reply(401)
        now = int(time.time())
        payload = to_base64url(json.dumps({"sub": host, "iat": now, "exp": now + LIFETIME}).encode())
        token = {"protected": to_base64url(b"{}"), "payload": payload, "signature": uuid.uuid4().hex}
        raw = json.dumps(token).encode()
        encoded = "base64" in self.headers.get("Accept-Encoding", "")
        self.server.store.tokens[base64.b64encode(raw).decode()] = (host, now + LIFETIME)
        return self.reply(200, base64.b64encode(raw) if encoded else raw)

    def holder(self):
        sent = re.fullmatch('Token token="(.+)"', self.headers.get("Authorization", ""))
        host, until = self.server.store.tokens.get(sent[1], (None, 0)) if sent else (None, 0)
        return host if until > time.time() else None

    def refused(self, host, variable):
        """Whether a refusal was sent."""
        store = self.server.store
        if not store.sees(host, variable):
            self.missing(variable)
        elif not store.may(host, "execute", variable):
            self.refuse(403, "forbidden", "CONJ00122E The host lacks the privilege execute")
        elif not store.variables[variable]:
            self.missing(variable)
        else:
            return False
        return True

    def batch(self, host):
        ids = self.query.get("variable_ids", "")
        if not ids:
            return self.refuse(422, "unprocessable_entity", "variable_ids")
        encoded, values = "base64" in self.headers.get("Accept-Encoding", ""), {}
        for full in ids.split(","):
            variable = full.split(":", 2)[2]
            if self.refused(host, variable):
                return None
            value = self.server.store.variables[variable][-1][1]
            try:
                values[full] = base64.b64encode(value).decode() if encoded else value.decode()
            except UnicodeDecodeError:
                return self.refuse(406, "not_acceptable", f"CONJ00087E Failed to encode variable {full}")
        return self.reply(200, values, {"Content-Encoding": "base64"} if encoded else None)

    def value(self, host, variable):
        if self.refused(host, variable):
            return None
        versions = dict(self.server.store.variables[variable])
        number = int(self.query.get("version", max(versions)))
        if number not in versions:
            return self.missing(variable)
        return self.reply(200, versions[number], content_type="application/octet-stream")

    def add(self, host, variable):
        store = self.server.store
        if not store.sees(host, variable):
            return self.missing(variable)
        if not store.may(host, "update", variable):
            return self.refuse(403, "forbidden", "CONJ00122E The host lacks the privilege update")
        self.admin_set(variable, base64.b64encode(self.body))
        return self.reply(201)

    def resource(self, host, variable):
        store = self.server.store
        if not store.sees(host, variable):
            return self.missing(variable)
        if not store.may(host, "read", variable):
            return self.refuse(403, "forbidden", "CONJ00122E The host lacks the privilege read")
        secrets = [{"version": number, "expires_at": None} for number, _ in store.variables[variable]]
        return self.reply(200, {"id": f"{ACCOUNT}:variable:{variable}", "secrets": secrets, "annotations": []})

    def admin_host(self, id, subject=None, key=None):
        self.server.store.hosts[id] = {"subject": subject, "key": key}

    def admin_permit(self, host, match, privileges):
        self.server.store.grants[host] = [(match, privileges)]

    def admin_set(self, variable, value=None):
        versions = self.server.store.variables.setdefault(variable, [])
        if value is not None:
            versions.append((versions[-1][0] + 1 if versions else 1, base64.b64decode(value)))
            del versions[:-KEPT]

    def admin_drop(self, variable):
        self.server.store.variables.pop(variable, None)

    def admin_expire(self):
        self.server.store.tokens = {}


if __name__ == "__main__":
    options = arguments(__doc__.splitlines()[0]).parse_args()
    serve(options, Conjur, Store(options.issuer))
