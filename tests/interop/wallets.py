"""Wallets that npm packages made sign in to the real binary, and services that read docs/verifying-tokens.md verify their tokens."""

import base64
import concurrent.futures
import http.server
import json
import os
import pathlib
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from server import PASSWORD, Server, bound, hold

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOMAIN = "accounts.example"


def node(tools, *arguments):
    """What a script of the folder of the npm packages prints."""
    done = subprocess.run(["node", *arguments], cwd=tools, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def key():
    return "0x" + secrets.token_hex(32)


def a_wallet_that_an_npm_library_made_signs_in(server, tools):
    keys = [key(), key()]
    for number, address in enumerate(node(tools, "wallets.mjs", "addresses", *keys)):
        name = f"staker{number}"
        server.admin("user", "create", "--name", name, "--password-stdin", stdin=PASSWORD)
        server.admin("address", "enable", address, "--user", name)
    node(tools, "wallets.mjs", "sign-in", server.url, DOMAIN, *keys)


def a_person_links_a_wallet_which_an_operator_enables(server, tools):
    server.admin("user", "create", "--name", "linker", "--password-stdin", stdin=PASSWORD)
    status, body = server.rest("POST", "/auth", basic=("linker", PASSWORD))
    assert status == 200, body
    _, profile = server.rest("GET", "/users/me", bearer=body["accessToken"])
    secret = key()
    (address,) = node(tools, "wallets.mjs", "link", server.url, body["accessToken"], profile["id"], secret)
    server.admin("address", "enable", address, "--user", "linker")
    node(tools, "wallets.mjs", "sign-in", server.url, DOMAIN, secret)


def blocks(language, document="docs/verifying-tokens.md"):
    """The examples of a document in this language."""
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def a_newcomer_signs_in_with_the_script_of_the_readme(server, tools):
    (script,) = blocks("js", "README.md")
    (tools / "sign-in.mjs").write_text(script)
    server.admin("user", "create", "--name", "newcomer", "--password-stdin", stdin=PASSWORD)
    secret = key()
    (address,) = node(tools, "wallets.mjs", "addresses", secret)
    server.admin("address", "enable", address, "--user", "newcomer")
    environment = {"KEY": secret.removeprefix("0x"), "URL": server.url, "PATH": os.environ["PATH"]}
    said = subprocess.run(["node", "sign-in.mjs"], cwd=tools, env=environment, capture_output=True, text=True, timeout=60)
    assert re.fullmatch(r"\{\s*token: +'eyJ[\w.-]+'\s*\}\s*", said.stdout), said


def free_port():
    with socket.socket() as somewhere:
        somewhere.bind(("127.0.0.1", 0))
        return somewhere.getsockname()[1]


def get(port, authorization=None):
    headers = {"Authorization": authorization} if authorization else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/", headers=headers), timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as answer:
        return answer.code, json.load(answer)


def tokens(server, tools):
    """One of every kind, with what it is good for."""
    server.admin("user", "create", "--name", "verified", "--password-stdin", stdin=PASSWORD)
    _, account = server.rest("POST", "/auth", basic=("verified", PASSWORD))
    _, keys = server.rest("POST", "/users/me/client-keys", bearer=account["accessToken"])
    _, client = server.rest("POST", "/auth/token", {"grantType": "clientCredentials", **{name: keys[name] for name in ("clientId", "clientSecret")}})
    secret = key()
    (address,) = node(tools, "wallets.mjs", "addresses", secret)
    server.admin("address", "enable", address, "--user", "verified")
    (stake,) = node(tools, "wallets.mjs", "stake", server.url, secret)
    return {
        "account": (account["accessToken"], {"nodes"}, None),
        "client access": (client["accessToken"], {"nodes"}, None),
        "client refresh": (client["refreshToken"], set(), None),
        "wallet": (stake, {"stake"}, address),
    }


class Publisher:
    """Publishes keys as the server does, or whatever else it is told to."""

    def __init__(self, server):
        with urllib.request.urlopen(f"{server.url}/.well-known/jwks.json", timeout=10) as answer:
            self.keys = answer.read()
        self.status, self.body, self.delay = 200, self.keys, 0
        publisher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                time.sleep(publisher.delay)
                self.send_response(publisher.status)
                self.end_headers()
                self.wfile.write(publisher.body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def settings(port, jwks_url, audience="nodes"):
    """What an example needs to know."""
    return {
        "PORT": str(port), "AUDIENCE": audience, "ISSUER": f"https://{DOMAIN}", "JWKS_URL": jwks_url, "PATH": os.environ["PATH"],
    }


def refuses_to_start_without_what_it_needs(tools, command):
    """Whoever forgets the audience must not accept every token."""
    complete = settings(free_port(), "http://127.0.0.1:1/")
    for name in ("AUDIENCE", "ISSUER", "JWKS_URL", "PORT"):
        environment = {key: value for key, value in complete.items() if key != name}
        said = subprocess.run(command, env=environment, cwd=tools, capture_output=True, text=True, timeout=20)
        assert said.returncode != 0 and f"{name} is not set" in said.stderr, (name, said)


def takes_a_crowd_before_it_has_keys(server, tools, command, good):
    """Whether all of a crowd wait for the keys that one of them fetches."""
    publisher, port = Publisher(server), free_port()
    service = subprocess.Popen(command, env=settings(port, publisher.url), cwd=tools)
    try:
        started(service, port)
        publisher.delay = 0.4
        with concurrent.futures.ThreadPoolExecutor(20) as crowd:
            statuses = list(crowd.map(lambda _: get(port, f"Bearer {good}")[0], range(20)))
        assert statuses == [200] * 20, statuses
    finally:
        service.terminate()
        service.wait(timeout=10)
        publisher.server.shutdown()


def outlives_bad_days(server, tools, command, good):
    """Whether a service tells keys that it cannot have from tokens that are no good."""
    publisher, port = Publisher(server), free_port()
    environment = settings(port, publisher.url)
    publisher.status, publisher.body = 500, b"{}"
    service = subprocess.Popen(command, env=environment, cwd=tools)
    try:
        started(service, port)
        for status, body in ((500, b"{}"), (200, b'{"error":1}'), (200, b'{"keys":[]}'), (200, b"nonsense")):
            publisher.status, publisher.body = status, body
            time.sleep(1.1)
            assert get(port, f"Bearer {good}")[0] == 503, (status, body)
        publisher.status, publisher.body = 200, publisher.keys
        time.sleep(1.1)
        assert get(port, f"Bearer {good}")[0] == 200
        publisher.server.shutdown()
        publisher.server.server_close()
        head = base64.urlsafe_b64encode(b'{"alg":"ES256","kid":"unknown"}').decode().rstrip("=")
        assert get(port, f"Bearer {head}.{good.split('.', 1)[1]}")[0] == 403
        assert get(port, f"Bearer {good}")[0] == 200, "the keys that it has are good"
    finally:
        service.terminate()
        service.wait(timeout=10)


def started(service, port):
    """Waits until a service answers; the status of its first answer."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return get(port)[0]
        except OSError:
            assert service.poll() is None and time.monotonic() < deadline, "the example does not start"
            time.sleep(0.05)


def holds(server, tools, command):
    """Whether a service that copied the example tells tokens apart as the document says."""
    made = tokens(server, tools)
    _, profile = server.rest("GET", "/users/me", bearer=made["account"][0])
    for audience in ("nodes", "stake"):
        port = free_port()
        environment = settings(port, f"{server.url}/.well-known/jwks.json", audience)
        service = subprocess.Popen(command, env=environment, cwd=tools)
        try:
            assert started(service, port) == 401, "nothing shown"
            assert get(port, "Basic eDp5")[0] == 401, "another scheme"
            for name, (token, audiences, address) in made.items():
                status, body = get(port, f"Bearer {token}")
                if audience in audiences:
                    assert (status, body) == (200, {"user": profile["id"], "address": address}), (name, status, body)
                else:
                    assert status == 403, (name, audience, status, body)
            good = next(token for token, audiences, _ in made.values() if audience in audiences)
            head, payload, signature = good.split(".")
            none = "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0"
            changed = ("A" if signature[0] != "A" else "B") + signature[1:]
            for forged in (f"{head}.{payload}.{changed}", f"{head}.{payload}.", f"{none}.{payload}.", "x.y.z", "x"):
                assert get(port, f"Bearer {forged}")[0] == 403, forged
        finally:
            service.terminate()
            service.wait(timeout=10)
    refuses_to_start_without_what_it_needs(tools, command)
    takes_a_crowd_before_it_has_keys(server, tools, command, made["account"][0])
    outlives_bad_days(server, tools, command, made["account"][0])
    server.admin("user", "delete", "verified")


def a_service_in_node_verifies_tokens_as_the_document_says(server, tools):
    (script,) = blocks("js")
    (tools / "service.mjs").write_text(script)
    holds(server, tools, ["node", "service.mjs"])


def a_service_in_rust_verifies_tokens_as_the_document_says(server, tools):
    project = tools / "service"
    (project / "src").mkdir(parents=True, exist_ok=True)
    (manifest,), (main,) = blocks("toml"), blocks("rust")
    (project / "Cargo.toml").write_text(manifest)
    (project / "src" / "main.rs").write_text(main)
    # The versions that everything here is tested with.
    (project / "Cargo.lock").write_bytes((ROOT / "Cargo.lock").read_bytes())
    subprocess.run(["cargo", "build", "--quiet"], cwd=project, check=True, timeout=900)
    holds(server, tools, [str(project / "target" / "debug" / "service")])


def main(server, tools):
    server.environment["BLOQ_ACCOUNTS_SERVER__PUBLIC_URL"] = f"https://{DOMAIN}"
    server.start()
    hold(server, [
        bound(a_newcomer_signs_in_with_the_script_of_the_readme, server, tools),
        bound(a_wallet_that_an_npm_library_made_signs_in, server, tools),
        bound(a_person_links_a_wallet_which_an_operator_enables, server, tools),
        bound(a_service_in_node_verifies_tokens_as_the_document_says, server, tools),
        bound(a_service_in_rust_verifies_tokens_as_the_document_says, server, tools),
    ])


if __name__ == "__main__":
    binary, folder, packages = sys.argv[1:]
    with Server(binary, pathlib.Path(folder)) as server:
        main(server, pathlib.Path(packages))
