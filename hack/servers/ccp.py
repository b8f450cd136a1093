#!/usr/bin/env python3
"""A stub of CyberArk's Central Credential Provider (AIMWebService). No CyberArk is here.

It is written from what is public about the REST API. What it cannot show:

- that CCP answers so. Which status comes with which error code is not public everywhere: only the codes count here.
- the vault: members of safes, platforms, a CPM that changes passwords (POST /_fault shows an answer meanwhile).
- other ways to know an application: its operating system's user, path or address.
- how the properties of an account are named on a platform.

Orders of tests (POST /_admin):

    {"do": "application", "id": ID, "client": NAME, "safes": [SAFE]}    the certificate with this common name is it
    {"do": "account", "properties": {"Safe": …, "Name": …, "Content": …}}    replaces one of that safe and name
    {"do": "remove", "safe": SAFE, "name": NAME}
"""

import ssl

from stub import Server, Stub, arguments

PARTS = {"safe": "Safe", "folder": "Folder", "object": "Name", "username": "UserName", "address": "Address",
         "database": "Database", "policyid": "PolicyID"}


class Store:
    def __init__(self):
        self.applications, self.accounts = {}, []


class Ccp(Stub):
    def refuse(self, status, code, message):
        self.reply(status, {"ErrorCode": code, "ErrorMsg": message})

    def client(self):
        subject = (self.connection.getpeercert() or {}).get("subject", ())
        return dict(part[0] for part in subject).get("commonName")

    def route(self):
        if self.path_only.lower().rstrip("/") != "/aimwebservice/api/accounts" or self.command != "GET":
            return self.reply(404, b"<html>IIS</html>", content_type="text/html")
        asked = {name.lower(): value for name, value in self.query.items()}
        if "appid" not in asked:
            return self.refuse(400, "AIMWS031E", "Invalid request. The AppID parameter is required")
        application = self.server.store.applications.get(asked["appid"])
        if application is None:
            return self.refuse(403, "APPAP008E", f"ITATS982E User app [{asked['appid']}] is not defined")
        if self.client() != application["client"]:
            return self.refuse(403, "APPAP306E", "Failed to verify application authentication data")
        parts = {name: value for name, value in asked.items() if name in PARTS}
        for part in filter(None, asked.get("query", "").split(";")):
            name, _, value = part.partition("=")
            parts[name.lower()] = value
        fits = [account for account in self.server.store.accounts if self.fits(account, parts, application)]
        if not parts or not fits:
            return self.refuse(404, "APPAP004E", "Password object matching query was not found")
        if len(fits) > 1:
            return self.refuse(400, "APPAP229E", "Too many password objects matching query were found")
        return self.reply(200, {"Folder": "Root", "PasswordChangeInProcess": "False", **fits[0]})

    @staticmethod
    def fits(account, parts, application):
        same = (str(account.get(PARTS.get(name, name), "")).lower() == value.lower() for name, value in parts.items())
        return account["Safe"] in application["safes"] and all(same)

    def admin_application(self, id, client, safes):
        self.server.store.applications[id] = {"client": client, "safes": safes}

    def admin_account(self, properties):
        self.admin_remove(properties["Safe"], properties["Name"])
        self.server.store.accounts.append(properties)

    def admin_remove(self, safe, name):
        others = [one for one in self.server.store.accounts if (one["Safe"], one["Name"]) != (safe, name)]
        self.server.store.accounts = others


if __name__ == "__main__":
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--clients", required=True, help="who signs certificates of applications (PEM)")
    options = parser.parse_args()
    server = Server(options.port, Ccp, Store())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    context.load_verify_locations(options.clients)
    # The tests' own orders come without a certificate.
    context.verify_mode = ssl.CERT_OPTIONAL
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()
