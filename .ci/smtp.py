"""The bad moods of a mail server, one after another. Called by .ci/smtp."""

import asyncio
import email
import json
import logging
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import time
import urllib.request

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

binary, folder = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])
USER, PASSWORD = b"accounts@example.com", b"p@ss/word:4711"
began = time.monotonic()
# That clients go away and certificates are refused is what this is about.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)


def say(what):
    print(f"smtp: {time.monotonic() - began:5.1f} s  {what}", flush=True)


def until(what, happened, within=12):
    deadline = time.monotonic() + within
    while not (found := happened()):
        if time.monotonic() > deadline:
            raise SystemExit(f"smtp: never happened: {what}\n{mails()}\n{log()}")
        time.sleep(0.1)
    return found


class Server:
    """A server that takes mails over STARTTLS from whoever knows the password, unless it is told otherwise."""

    def __init__(self):
        self.taken, self.asked_for_password, self.mood = [], 0, {}

    def authenticate(self, server, session, envelope, mechanism, data):
        self.asked_for_password += 1
        is_right = (data.login, data.password) == (USER, PASSWORD) and "AUTH" not in self.mood
        return AuthResult(success=is_right, handled=False)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if answer := self.mood.get(address):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server, session, envelope):
        if self.mood.get("DATA") == envelope.rcpt_tos[0]:
            await asyncio.sleep(3600)
        if self.mood.get("DATA") == "drop":
            server.transport.abort()
            return "451 nobody hears this"
        self.taken.append(email.message_from_bytes(envelope.content))
        return "250 taken"

    def to(self, address):
        return [mail for mail in self.taken if mail["To"] == address]

    def open(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self.controller = Controller(
            self, hostname="127.0.0.1", port=PORT, tls_context=context, require_starttls=True,
            authenticator=self.authenticate, auth_required=True, auth_require_tls=True)
        self.controller.start()

    def close(self):
        self.controller.stop()


with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    PORT = probe.getsockname()[1]

environment = {
    "PATH": os.environ["PATH"],
    "BLOQ_ACCOUNTS_DATA_DIR": str(folder / "data"),
    "BLOQ_ACCOUNTS_MAIL__TRANSPORT": "smtp",
    "BLOQ_ACCOUNTS_MAIL__SMTP_URL": f"smtp://accounts%40example.com:p%40ss%2Fword%3A4711@localhost:{PORT}?tls=required",
    "BLOQ_ACCOUNTS_MAIL__FROM": "Bloq Accounts <accounts@example.com>",
    "BLOQ_ACCOUNTS_MAIL__TIMEOUT_SECONDS": "5",
}


def log():
    return (folder / "log").read_text()


class Service:
    """The real binary."""

    def __init__(self, **more):
        out = open(folder / "out", "w")
        arguments = [binary, "serve", "--listen", "127.0.0.1:0"]
        with open(folder / "log", "a") as errors:
            self.process = subprocess.Popen(arguments, env=environment | more, stdout=out, stderr=errors)
        greeting = lambda: re.search(r"listens on (http://[^ ,]+)", (folder / "out").read_text())
        try:
            self.url = until("the service starts", greeting, within=30)[1]
        except BaseException:
            self.stop()
            raise

    def request(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if body else {}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def sign_up(self, name):
        body = {"email": f"{name}@example.com", "displayName": "Somebody", "password": "Analytical Engine 1843"}
        self.request("POST", "/users", body)
        return body["email"]

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=20) == 0, log()


def admin(*arguments):
    done = subprocess.run([binary, "admin", "mail", *arguments], env=environment, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done
    return done.stdout


def mails():
    """The listed mails by recipient: id, state, tries, and the rest of the line."""
    found = {}
    for line in admin("list").splitlines()[1:]:
        key, state, tries = line.split()[:3]
        recipient, error = re.search(r" (\S+@example\.com)(?:, (.*))?$", line).groups(default="")
        found[recipient] = (key, state, int(tries), error)
    return found


def becomes(address, state, *words):
    def happened():
        mail = mails().get(address)
        return mail and mail[1] == state and all(word in mail[3] for word in words) and mail
    return until(f"the mail to {address} is {state}, {words}", happened)


def tried_again(address):
    admin("retry", mails()[address][0])
    becomes(address, "sent")
    assert len(server.to(address)) == 1, server.to(address)


server = Server()
server.open()
service = Service()
try:
    stranger = service.sign_up("stranger")
    becomes(stranger, "waiting", "certificate")
    assert server.asked_for_password == 0 and not server.taken, "nothing was said to a server that proved nothing"
    say("a certificate of an unknown authority: the mail waits, the password was not sent")
    service.stop()

    service = Service(SSL_CERT_FILE=str(folder / "authority.pem"))
    tried_again(stranger)
    text = server.to(stranger)[0].get_payload(0).get_payload()
    curl = re.search(r"curl -X PUT \S+(/users/\S+/token/\S+)", text)
    assert service.request("PUT", curl[1])["code"] == "UserVerified"
    say("the authority is trusted: STARTTLS, AUTH, the mail arrives and proves the address")

    server.mood = {"AUTH": "wrong"}
    locked = service.sign_up("locked")
    becomes(locked, "waiting", "535")
    server.mood = {}
    tried_again(locked)
    say("a password that the server refuses: the mail waits until it is mended")

    server.mood = {"later@example.com": "451 4.7.1 greylisted", "never@example.com": "550 5.1.1 <never@example.com>: no such mailbox"}
    later, never = service.sign_up("later"), service.sign_up("never")
    becomes(later, "waiting", "451")
    becomes(never, "failed", "550", "no such mailbox")
    server.mood = {}
    tried_again(later)
    admin("retry", "--all-failed")
    becomes(never, "sent")
    say("refused for now: it waits; refused for good: it is given up, and sent when an operator tries again")

    server.mood = {"DATA": "drop"}
    dropped = service.sign_up("dropped")
    becomes(dropped, "waiting")
    server.mood = {}
    tried_again(dropped)
    say("a connection that breaks in the middle: the mail waits, and arrives once")

    server.mood = {"DATA": "slow@example.com"}
    slow = service.sign_up("slow")
    becomes(slow, "sending")
    quick = service.sign_up("quick")
    until("the mail of others goes on", lambda: server.to(quick), within=4.5)
    becomes(slow, "waiting", "longer than 5s")
    server.mood = {}
    tried_again(slow)
    say("a server that hangs over one mail: others go on, and it is tried again")

    server.close()
    with socket.create_server(("127.0.0.1", PORT)):
        silent = service.sign_up("silent")
        becomes(silent, "waiting", "longer than 5s")
    tries = mails()[silent][2]
    server.open()
    tried_again(silent)
    say("a server that never says a word: the mail waits")

    server.close()
    early = service.sign_up("early")
    becomes(early, "waiting", "Connection error")
    server.open()
    until("the mail is tried again by itself", lambda: server.to(early), within=30)
    becomes(early, "sent")
    say("a server that is down at first: the mail arrives by itself")
    server.close()

    ids = [mail["Message-ID"] for mail in server.taken]
    assert len(ids) == len(set(ids)) == 9, "every mail arrived once"
    service.stop()
    for secret in [PASSWORD.decode(), "p%40ss"]:
        assert secret not in log(), f"{secret} is in the log"
    for mail in mails():
        assert mail not in log(), f"{mail} is in the log"
    say("no password and no recipient is in the log")
finally:
    if service.process.poll() is None:
        service.stop()
