"""Keys of the real GnuPG: given, proved, used to read an encrypted mail, fetched again, and found in the Web Key Directory."""

import asyncio
import contextlib
import email
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from server import PASSWORD, Server, bound, hold

KINDS = ["ed25519/cert,sign+cv25519/encr", "rsa3072/cert,sign+rsa3072/encr", "nistp256/cert,sign+nistp256/encr"]


class GnuPG:
    """A home of its own, which somebody has."""

    def __init__(self):
        # Short: the path of the agent's socket has a bound.
        self.home = tempfile.mkdtemp(prefix="gpg-")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def command(self, *arguments):
        return ["gpg", "--homedir", self.home, "--batch", "--pinentry-mode", "loopback", "--passphrase", "", *arguments]

    def run(self, *arguments, stdin=b""):
        done = subprocess.run(self.command(*arguments), input=stdin, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def make(self, address, kind):
        """Makes a key; its fingerprint."""
        primary, subkey = kind.split("+")
        (algorithm, usage), (sub_algorithm, sub_usage) = primary.split("/"), subkey.split("/")
        self.run("--quick-generate-key", f"Ada <{address}>", algorithm, usage, "1y")
        listed = self.run("--with-colons", "--list-keys", address).decode()
        fingerprint = re.search(r"^fpr:+([0-9A-F]{40}):", listed, re.MULTILINE)[1]
        self.run("--quick-add-key", fingerprint, sub_algorithm, sub_usage, "1y")
        return fingerprint.lower()


def account(server, address):
    server.admin("user", "create", "--email", address, "--password-stdin", stdin=PASSWORD)
    server.admin("user", "verify", address)
    status, body = server.rest("POST", "/auth", basic=(address, PASSWORD))
    assert status == 200, body
    return body["accessToken"]


def ask(expected, server, method, path, body=None, token=None):
    status, answer = server.rest(method, path, body, bearer=token)
    assert status == expected, (method, path, status, answer)
    return answer


def proved(server, gnupg, address, token, kind):
    """Gives a key that was just made, and proves it; its fingerprint."""
    fingerprint = gnupg.make(address, kind)
    armor = gnupg.run("--armor", "--export", fingerprint).decode()
    key = ask(201, server, "POST", "/users/me/keys/pgp", {"publicKey": armor}, token)
    assert key["id"] == fingerprint and key["userIds"] == [f"Ada <{address}>"], key
    path = f"/users/me/keys/pgp/{fingerprint}/verification"
    foreign = gnupg.run("--armor", "--detach-sign", "--local-user", fingerprint, stdin=b"something else").decode()
    assert ask(403, server, "POST", path, {"signature": foreign}, token)["code"] == "InvalidSignature"
    text = key["verificationToken"].encode()
    signature = gnupg.run("--armor", "--detach-sign", "--local-user", fingerprint, stdin=text).decode()
    assert ask(200, server, "POST", path, {"signature": signature}, token)["verifiedAt"]
    return fingerprint


def newest_mail(server, address, subject):
    """Waits for it."""
    folder, deadline = server.folder / "data" / "mail", time.monotonic() + 20
    while time.monotonic() < deadline:
        for path in sorted(folder.glob("*.eml"), reverse=True):
            mail = email.message_from_bytes(path.read_bytes())
            if mail["To"] == address and mail["Subject"] == subject:
                return mail
        time.sleep(0.1)
    raise AssertionError(f"no mail to {address}")


def keys_are_given_proved_and_read_an_encrypted_mail(server):
    for number, kind in enumerate(KINDS):
        address = f"ada{number}@example.com"
        token = account(server, address)
        with GnuPG() as gnupg:
            proved(server, gnupg, address, token, kind)
            ask(202, server, "POST", "/users/password-reset", {"email": address})
            mail = newest_mail(server, address, "Choose a new password")
            assert mail.get_content_type() == "multipart/encrypted", mail
            control, message = mail.get_payload()
            assert control.get_content_type() == "application/pgp-encrypted", mail
            inside = email.message_from_bytes(gnupg.run("--decrypt", stdin=message.get_payload(decode=True)))
            text = next(part for part in inside.walk() if part.get_content_type() == "text/plain")
            text = text.get_payload(decode=True).decode()
            user, reset = (re.search(rf"^{label}: +(\S+)", text, re.MULTILINE)[1] for label in ("User id", "Token"))
            new = {"newPassword": "Difference Engine No 2"}
            assert ask(200, server, "PUT", f"/users/{user}/password/{reset}", new)["email"] == address


def a_published_key_is_fetched_by_gnupg(server):
    address = "publisher@example.com"
    token = account(server, address)
    with GnuPG() as gnupg, GnuPG() as stranger:
        fingerprint = proved(server, gnupg, address, token, KINDS[0])
        user = ask(200, server, "GET", "/users/me", token=token)["id"]
        ask(404, server, "GET", f"/users/{user}/keys/pgp.asc")
        ask(200, server, "PATCH", f"/users/me/keys/pgp/{fingerprint}", {"published": True}, token)
        done = subprocess.run(["curl", "-sf", f"{server.url}/users/{user}/keys/pgp.asc"], capture_output=True, check=True)
        stranger.run("--import", stdin=done.stdout)
        assert fingerprint.upper() in stranger.run("--with-colons", "--list-keys").decode()


@contextlib.contextmanager
def forwarded(address, port, to):
    """What comes to the address and port goes to a port of this machine."""
    loop = asyncio.new_event_loop()

    async def pump(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def forward(reader, writer):
        there = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    listening = loop.run_until_complete(asyncio.start_server(forward, address, port))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(listening.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def gnupg_locates_a_key_in_the_web_key_directory(server):
    """Where names, port 443 and trusted authorities can be had for this process alone; elsewhere it says that it cannot."""
    with tempfile.TemporaryDirectory(prefix="wkd-") as folder, GnuPG() as gnupg, GnuPG() as stranger:
        address, authority = "located@example.com", server.folder / "certs" / "ca.pem"
        token = account(server, address)
        fingerprint = proved(server, gnupg, address, token, KINDS[0])
        ask(200, server, "PATCH", f"/users/me/keys/pgp/{fingerprint}", {"published": True}, token)
        hosts = pathlib.Path(folder) / "hosts"
        hosts.write_text("127.0.0.1 localhost\n127.0.0.7 openpgpkey.example.com example.com\n")
        locate = stranger.command("--auto-key-locate", "clear,nodefault,wkd", "--locate-keys", address)
        script = """set -e
            mount --bind "$1" /etc/hosts; mount --bind "$2" /etc/ssl/certs/ca-certificates.crt
            shift 2; exec "$@" """
        alone = ["unshare", "--mount", "sh", "-c", script, "sh", str(hosts), str(authority)]
        if subprocess.run([*alone, "true"], capture_output=True).returncode != 0 or not shutil.which("dirmngr"):
            return "cannot run here"
        try:
            with forwarded("127.0.0.7", 443, int(server.rest_tls_port)):
                done = subprocess.run([*alone, *locate], capture_output=True, text=True, timeout=60)
        except PermissionError:
            return "cannot run here"
        assert done.returncode == 0 and fingerprint.upper() in done.stdout, done
        return "ok"


def main(server):
    server.make_certificates("localhost", "openpgpkey.example.com", "example.com")
    server.start()
    server.rest_tls_port = re.search(r"https://127\.0\.0\.1:(\d+)", (server.folder / "out").read_text())[1]
    hold(server, [
        bound(keys_are_given_proved_and_read_an_encrypted_mail, server),
        bound(a_published_key_is_fetched_by_gnupg, server),
        bound(gnupg_locates_a_key_in_the_web_key_directory, server),
    ])


if __name__ == "__main__":
    binary, folder = sys.argv[1:]
    with Server(binary, pathlib.Path(folder)) as server:
        main(server)
