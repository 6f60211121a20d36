"""The real binary, in a folder of its own, and its other two doors: REST and the command line."""

import functools
import json
import os
import re
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from base64 import b64encode

PASSWORD = "Analytical Engine 1843"


def bound(check, *arguments):
    """A check that needs nothing more to be done."""
    return functools.wraps(check)(functools.partial(check, *arguments))


def hold(server, checks):
    """Does one check after another and says how each went; fails in the end if one did."""
    failed = 0
    for check in checks:
        began, outcome = time.monotonic(), "ok"
        try:
            outcome = check() or outcome
        except Exception:
            traceback.print_exc()
            failed, outcome = failed + 1, "FAILED"
        took = time.monotonic() - began
        print(f"interop: {took:5.1f} s  {check.__name__.replace('_', ' ')}: {outcome}", flush=True)
    assert "ERROR" not in server.log(), "the server logged an error"
    if failed:
        raise SystemExit(f"interop: {failed} of them failed")


class Server:
    """A server that listens wherever there is room, with TLS as well once it has made certificates."""

    def __init__(self, binary, folder):
        self.binary, self.folder = os.path.abspath(binary), folder
        folder.mkdir(mode=0o711, exist_ok=True)
        # Cheap hashes, and no limits: what is asked here is what clients make of the answers. Limits have tests of their own.
        self.environment = {
            "PATH": os.environ["PATH"],
            "BLOQ_ACCOUNTS_DATA_DIR": str(folder / "data"),
            "BLOQ_ACCOUNTS_SERVER__LISTEN": "127.0.0.1:0",
            "BLOQ_ACCOUNTS_SERVER__TLS_LISTEN": "127.0.0.1:0",
            "BLOQ_ACCOUNTS_GRPC__LISTEN": "127.0.0.1:0",
            "BLOQ_ACCOUNTS_GRPC__TLS_LISTEN": "127.0.0.1:0",
            "BLOQ_ACCOUNTS_PASSWORD__ARGON2_MEMORY_KIB": "64",
            "BLOQ_ACCOUNTS_PASSWORD__ARGON2_ITERATIONS": "1",
            "BLOQ_ACCOUNTS_RATE_LIMIT__ENABLED": "false",
            # On a slow disk an answer may wait for its event; that is no failure of the answer.
            "BLOQ_ACCOUNTS_EVENTS__COMMIT_DEADLINE_MS": "15000",
        }
        self.options = []
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, failure, *_):
        if self.process and self.process.poll() is None:
            self.stop()
        if failure:
            print("\n".join(self.log().splitlines()[-20:]), file=sys.stderr)

    def make_certificates(self, *hosts):
        """Configures TLS by what the command prints; answers the authority that clients are to trust."""
        names = [option for host in hosts for option in ("--host", host)]
        configuration = self.admin("certs", "create", "--out", str(self.folder / "certs"), *names)
        (self.folder / "config.toml").write_text(configuration)
        self.options = ["--config", str(self.folder / "config.toml")]
        return (self.folder / "certs" / "ca.pem").read_text()

    def start(self):
        with open(self.folder / "out", "w") as out, open(self.folder / "log", "a") as log:
            arguments = [self.binary, *self.options, "serve"]
            self.process = subprocess.Popen(arguments, env=self.environment, stdout=out, stderr=log)
        deadline = time.monotonic() + 30
        where = r"listens on (http://[^\s,]+).*, gRPC on 127\.0\.0\.1:(\d+)(?: and 127\.0\.0\.1:(\d+) \(TLS\))?,"
        while not (greeting := re.search(where, (self.folder / "out").read_text())):
            assert self.process.poll() is None and time.monotonic() < deadline, "the server does not start"
            time.sleep(0.05)
        self.url, self.port, self.tls_port = greeting[1], int(greeting[2]), greeting[3] and int(greeting[3])

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=20) == 0, "the server does not stop well"

    def restart(self):
        """Stops, and starts again where it was."""
        self.stop()
        self.environment["BLOQ_ACCOUNTS_GRPC__LISTEN"] = f"127.0.0.1:{self.port}"
        self.environment["BLOQ_ACCOUNTS_GRPC__TLS_LISTEN"] = f"127.0.0.1:{self.tls_port}"
        self.start()

    def log(self):
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def admin(self, *arguments, stdin=""):
        """What `bloq-accounts admin …` prints."""
        done = subprocess.run(
            [self.binary, *self.options, "admin", *arguments],
            env=self.environment, input=stdin, capture_output=True, text=True, timeout=60,
        )
        assert done.returncode == 0, done
        return done.stdout

    def rest(self, method, path, body=None, basic=None, bearer=None):
        """Status and body of an answer of the REST door."""
        headers = {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if basic:
            headers["Authorization"] = "Basic " + b64encode(":".join(basic).encode()).decode()
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as answer:
            return answer.code, json.load(answer)
