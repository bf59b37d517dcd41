#!/usr/bin/python3
"""A mail server with AUTH and, given a certificate, STARTTLS, for tests: Debian's python3-aiosmtpd.

usage: mail_server.py PORT FOLDER [CERTIFICATE KEY]     each mail becomes a file N.eml in the folder, its envelope N.json

The user is weir, the password "geheim"; without TLS nobody is asked. Addresses answer by their names: refused@ 550,
busy@ 451 once, any other 250.
"""
import json
import os
import ssl
import sys
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Handler:
    def __init__(self, folder):
        self.folder, self.count, self.busy = folder, 0, True

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address.startswith("refused@"):
            return "550 5.1.1 no such user here"
        if address.startswith("busy@") and self.busy:
            self.busy = False
            return "451 4.7.1 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        path = os.path.join(self.folder, str(self.count))
        with open(path + ".eml", "wb") as file:
            file.write(envelope.content)
        with open(path + ".json", "w", encoding="utf-8") as file:
            json.dump({"from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": session.ssl is not None,
                       "authenticated": bool(session.authenticated)}, file)
        self.count += 1
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"weir", b"geheim"), handled=False)


def main():
    port, folder, *tls = sys.argv[1:]
    settings = {"auth_require_tls": bool(tls)}
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        settings.update(tls_context=context, require_starttls=True, authenticator=authenticate, auth_required=True)
    controller = Controller(Handler(folder), hostname="127.0.0.1", port=int(port), **settings)
    controller.start()
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
