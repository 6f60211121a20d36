"""The client of the vendor, as it comes from PyPI, and another implementation of gRPC at our door. Called by .ci/interop."""

import asyncio
import doctest
import pathlib
import re
import ssl
import sys
import time
import traceback

from blickfeld_qb2 import Channel, TokenFactory
from blickfeld_qb2.base import AccessControlLevel as Level
from blickfeld_qb2.base.grpc.device_ca_cert import ca_cert as VENDORS_AUTHORITY
from blickfeld_qb2.secure import services
from blickfeld_qb2.secure.config import Account, AccountState as State
from grpclib import GRPCError, Status

import independent
from people import LOOP, SECRETS, Asynchronously, Way, refused, secret
from server import PASSWORD, Server

NOBODY = "0b7c3f0e-90f1-4a8e-8d8a-6a2b1f0c9d11"
OTHER_PASSWORD = secret("Difference Engine No. 2")
SERIAL = "qb2-1843"
README = pathlib.Path(__file__).parents[2] / "README.md"


def an_account_lives_from_its_making_to_its_end(server, way):
    root = way.enter("root", PASSWORD)
    name = "ada-" + way.name.replace(" ", "-")
    uuid, activation = root.create(name=name)
    waiting = Account(name=name, access_level=Level.LEVEL_AUTHORIZED, state=State.STATE_WAITING_FOR_ACTIVATION)
    assert root.accounts.get(uuid=uuid).account == waiting
    assert root.accounts.list().account[uuid] == waiting

    # With the activation password: another one, and nothing else.
    stranger = way.caller()
    newcomer = way.caller(stranger.log_in(name, activation))
    with refused(Status.PERMISSION_DENIED):
        newcomer.accounts.get()
    with refused(Status.PERMISSION_DENIED):
        newcomer.keys.list()
    newcomer.update_password(activation, PASSWORD)
    with refused(Status.PERMISSION_DENIED):
        newcomer.session.get_nonce()
    with refused(Status.UNAUTHENTICATED):
        stranger.log_in(name, activation)

    # An account of one's own: name, password, keys.
    ada = way.enter(name, PASSWORD)
    own = ada.accounts.get()
    assert own.uuid == uuid and own.account.state == State.STATE_ACTIVE
    ada.accounts.store(account=Account(name=f"{name}.lovelace", access_level=Level.LEVEL_AUTHORIZED))
    name = f"{name}.lovelace"
    assert ada.accounts.get().account.name == name
    ada.update_password(PASSWORD, OTHER_PASSWORD)
    with refused(Status.UNAUTHENTICATED):
        stranger.log_in(name, PASSWORD)
    ada = way.enter(name, OTHER_PASSWORD)

    key, key_secret = ada.create_key("camera")
    assert ada.keys.list().application_key[key].purpose == "camera"
    assert key in root.keys.list(account_uuid=uuid).application_key
    camera = way.caller(stranger.log_in_with_key(key_secret))
    assert camera.accounts.get().uuid == uuid
    with refused(Status.PERMISSION_DENIED):
        ada.accounts.list()

    # Blocked: no way in for anybody, and out at once.
    root.accounts.block(uuid=uuid)
    assert root.accounts.get(uuid=uuid).account.state == State.STATE_BLOCKED
    for somebody in (ada, camera):
        with refused(Status.PERMISSION_DENIED):
            somebody.accounts.get()
    with refused(Status.PERMISSION_DENIED, "blocked"):
        stranger.log_in(name, OTHER_PASSWORD)
    with refused(Status.PERMISSION_DENIED, "blocked"):
        stranger.log_in_with_key(key_secret)

    # Reset: it waits again, the key with it, and both come back.
    activation = secret(root.accounts.reset(uuid=uuid).activation_password)
    assert root.accounts.get(uuid=uuid).account.state == State.STATE_WAITING_FOR_ACTIVATION
    with refused(Status.PERMISSION_DENIED, "activation"):
        stranger.log_in_with_key(key_secret)
    with refused(Status.UNAUTHENTICATED):
        stranger.log_in(name, OTHER_PASSWORD)
    way.activate(name, activation)
    camera = way.caller(stranger.log_in_with_key(key_secret))
    assert camera.accounts.get().account.state == State.STATE_ACTIVE

    # Rights: given and taken by administrators.
    root.accounts.store(uuid=uuid, account=Account(name=name, access_level=Level.LEVEL_ADMIN))
    ada = way.enter(name, PASSWORD)
    assert uuid in ada.accounts.list().account
    read_only = Account(name=name, access_level=Level.LEVEL_ADMIN, access_read_only=True)
    root.accounts.store(uuid=uuid, account=read_only)
    assert ada.accounts.get().account.access_read_only
    assert uuid in ada.accounts.list().account
    with refused(Status.PERMISSION_DENIED):
        ada.create(name="nobody")
    with refused(Status.PERMISSION_DENIED):
        ada.session.invalidate()
    root.accounts.store(uuid=uuid, account=Account(name=name, access_level=Level.LEVEL_AUTHORIZED))
    with refused(Status.PERMISSION_DENIED):
        ada.accounts.list()

    # The end: of the key, and of everything.
    ada.keys.delete(uuid=key)
    with refused(Status.PERMISSION_DENIED):
        camera.session.get_nonce()
    with refused(Status.NOT_FOUND):
        stranger.log_in_with_key(key_secret)
    root.accounts.delete(uuid=uuid)
    with refused(Status.NOT_FOUND):
        root.accounts.get(uuid=uuid)
    assert uuid not in root.accounts.list().account
    # Who carries a key logs in again by it, and hears that it is gone.
    with refused(Status.NOT_FOUND if way.by_key else Status.PERMISSION_DENIED):
        ada.accounts.get()
    with refused(Status.UNAUTHENTICATED):
        stranger.log_in(name, PASSWORD)


def an_administrator_made_on_the_command_line_comes_by_the_activation_password(server, way):
    printed = server.admin("user", "create", "--name", "second", "--admin")
    activation = secret(re.search(r"activation password: (\S+)", printed)[1])
    way.activate("second", activation, OTHER_PASSWORD)
    second = way.enter("second", OTHER_PASSWORD)
    assert second.accounts.get().account.access_level == Level.LEVEL_ADMIN
    second.accounts.delete()
    assert "second" not in {account.name for account in way.enter("root", PASSWORD).accounts.list().account.values()}


def every_refusal_is_the_one_of_the_contract(server, way):
    root, stranger = way.enter("root", PASSWORD), way.caller()
    uuid, activation = root.create(name="bob")
    way.activate("bob", activation)
    bob = way.enter("bob", PASSWORD)
    key, key_secret = bob.create_key()
    long = "x" * 101

    # Nobody in particular.
    with refused(Status.UNAUTHENTICATED, "token"):
        stranger.update_password(PASSWORD, OTHER_PASSWORD)
    for call in (stranger.accounts.get, stranger.accounts.list, stranger.accounts.delete, stranger.keys.list,
                 stranger.session.invalidate):
        with refused(Status.UNAUTHENTICATED, "token"):
            call()
    assert stranger.session.get_nonce().nonce

    # A token that is none.
    for token in ("rubbish", "a.b.c", long):
        with refused(Status.PERMISSION_DENIED, "token"):
            way.caller(token).session.get_nonce()

    # Credentials.
    with refused(Status.UNAUTHENTICATED):
        stranger.log_in("bob", "wrong")
    with refused(Status.UNAUTHENTICATED):
        stranger.log_in("nobody", PASSWORD)
    with refused(Status.NOT_FOUND):
        stranger.log_in_with_key("a" * 32)
    with refused(Status.INVALID_ARGUMENT, "credentials"):
        stranger.authentication.login()
    with refused(Status.INVALID_ARGUMENT, "user.name"):
        stranger.log_in("", PASSWORD)
    with refused(Status.INVALID_ARGUMENT, "user.name"):
        stranger.log_in(long, PASSWORD)
    with refused(Status.INVALID_ARGUMENT, "user.password"):
        stranger.log_in("bob", "")
    with refused(Status.INVALID_ARGUMENT, "application.key"):
        stranger.log_in_with_key("too-short")

    # Rights.
    for call in (lambda: bob.create(name="eve"), lambda: bob.accounts.block(uuid=uuid), lambda: bob.accounts.reset(uuid=uuid),
                 bob.accounts.delete, lambda: bob.accounts.get(uuid=uuid), bob.session.invalidate,
                 lambda: bob.keys.list(account_uuid=uuid), lambda: bob.create_key(level=Level.LEVEL_ADMIN),
                 lambda: bob.accounts.store(account=Account(name="bob", access_level=Level.LEVEL_ADMIN))):
        with refused(Status.PERMISSION_DENIED):
            call()

    # Fields.
    for name in ("", "with space", "ü", long):
        with refused(Status.INVALID_ARGUMENT, "account.name"):
            root.create(name=name)
    with refused(Status.INVALID_ARGUMENT, "account.access_level"):
        root.create(name="eve", access_level=Level.LEVEL_DEVELOPER)
    for call in (root.accounts.block, root.accounts.reset):
        with refused(Status.INVALID_ARGUMENT, "uuid"):
            call()
    with refused(Status.INVALID_ARGUMENT, "uuid"):
        root.accounts.get(uuid="root")
    with refused(Status.INVALID_ARGUMENT, "uuid"):
        bob.keys.delete(uuid="too-short")
    with refused(Status.INVALID_ARGUMENT, "application_key.purpose"):
        bob.create_key("x" * 201)
    with refused(Status.INVALID_ARGUMENT, "password_update.new"):
        bob.update_password(PASSWORD, "short")
    with refused(Status.PERMISSION_DENIED, "password_update.current"):
        bob.update_password("wrong", OTHER_PASSWORD)

    # What is not there, and what is there already.
    for call in (root.accounts.block, root.accounts.reset, root.accounts.delete, root.accounts.get):
        with refused(Status.NOT_FOUND):
            call(uuid=NOBODY)
    with refused(Status.NOT_FOUND):
        root.accounts.store(uuid=NOBODY, account=Account(name="eve"))
    with refused(Status.NOT_FOUND):
        bob.keys.delete(uuid="a" * 32)
    for name in ("bob", "ROOT"):
        with refused(Status.ALREADY_EXISTS):
            root.create(name=name)
    bob.create_key(access_http=True)
    with refused(Status.ALREADY_EXISTS):
        bob.create_key(access_http=True)

    # The last administrator.
    own = root.accounts.get().uuid
    demoted = Account(name="root", access_level=Level.LEVEL_AUTHORIZED)
    for call in (root.accounts.delete, lambda: root.accounts.block(uuid=own), lambda: root.accounts.reset(uuid=own),
                 lambda: root.accounts.store(account=demoted)):
        with refused(Status.FAILED_PRECONDITION):
            call()

    # Services that a device has, and this server has not.
    with refused(Status.UNIMPLEMENTED):
        services.AccessControl(root.channel).get()
    root.accounts.delete(uuid=uuid)


def a_token_that_has_ended_is_renewed_by_itself(server, way):
    root = way.enter("root", PASSWORD)
    key, key_secret = root.create_key("renewal", Level.LEVEL_ADMIN)
    factory = TokenFactory(application_key_secret=key_secret)
    program = way.caller(factory)
    nonce = program.session.get_nonce().nonce
    first = factory.current_token
    assert program.accounts.get().account.name == "root" and factory.current_token == first, "a good token is kept"

    program.session.invalidate()
    assert program.session.get_nonce().nonce != nonce
    assert factory.current_token != first, "a stale token is renewed"
    stale = way.caller(first)
    for call in (stale.session.get_nonce, stale.accounts.get):
        with refused(Status.PERMISSION_DENIED, "old session"):
            call()

    # The key is gone: the application is told.
    second = way.enter("root", PASSWORD)
    second.keys.delete(uuid=key)
    with refused(Status.NOT_FOUND):
        program.accounts.get()
    with refused(Status.NOT_FOUND):
        way.caller(TokenFactory(application_key_secret=key_secret)).accounts.get()


def a_certificate_is_checked_by_authority_and_by_serial_number(server, way):
    """`way` is the one with TLS: its authority is right."""
    root = way.enter("root", PASSWORD)
    token = root.log_in("root", PASSWORD)
    assert way.caller(token, serial_number=SERIAL).accounts.get().account.name == "root"
    for otherwise in ({"device_ca_cert": VENDORS_AUTHORITY}, {"serial_number": "qb2-another"}):
        try:
            way.caller(**otherwise).session.get_nonce()
        except ssl.SSLCertVerificationError:
            continue
        raise AssertionError("a certificate was taken that proves nothing")


def the_two_doors_agree(server, way):
    email = "carol@example.com"
    _, profile = server.rest("POST", "/users", {"email": email, "displayName": "Carol", "password": PASSWORD})
    stranger = way.caller()
    with refused(Status.UNAUTHENTICATED, "verified"):
        stranger.log_in(email, PASSWORD)
    server.admin("user", "verify", email)
    user = profile["id"]
    uuid = user.removeprefix("user-")
    bearer = secret(server.rest("POST", "/auth", basic=(email, PASSWORD))[1]["accessToken"])

    root = way.enter("root", PASSWORD)
    assert root.accounts.list().account[uuid].name == user, "a user of REST is listed"
    carol = way.caller(stranger.log_in(email, PASSWORD))
    own = carol.accounts.get()
    assert own.uuid == uuid and own.account.state == State.STATE_ACTIVE
    with refused(Status.PERMISSION_DENIED):
        carol.accounts.list()
    with refused(Status.UNAUTHENTICATED):
        stranger.log_in(email, "wrong")

    _, events = server.rest("GET", "/users/me/events?service=qb2-accounts", bearer=bearer)
    told = [(event["input"]["path"].rsplit(".", 1)[1], event["serviceData"]["grpcStatus"],
             event["output"]["httpStatusCode"]) for event in events]
    assert told == [
        ("Authentication/Login", 16, 401),
        ("Authentication/Login", 0, 200),
        ("Account/Get", 0, 200),
        ("Account/List", 7, 403),
        ("Authentication/Login", 16, 401),
    ], told
    for event in events:
        assert event["input"]["path"].startswith("/blickfeld.secure.services."), event
        assert event["input"]["userAgent"].startswith("grpc-python-grpclib/"), event

    root.accounts.block(uuid=uuid)
    for basic, token in (((email, PASSWORD), None), (None, bearer)):
        path = ("POST", "/auth") if basic else ("GET", "/users/me")
        status, answer = server.rest(*path, basic=basic, bearer=token)
        assert (status, answer["code"]) == (403, "UserBlocked"), answer
    root.accounts.delete(uuid=uuid)
    assert server.rest("GET", "/users/me", bearer=bearer)[0] == 401

    # And the other way round: made here, at home there.
    uuid, activation = root.create(name="dora")
    way.activate("dora", activation)
    bearer = secret(server.rest("POST", "/auth", basic=("dora", PASSWORD))[1]["accessToken"])
    assert server.rest("GET", "/users/me", bearer=bearer)[1]["id"] == f"user-{uuid}"
    root.accounts.delete(uuid=uuid)


def many_call_at_once(server, way):
    root = way.enter("root", PASSWORD)
    token = root.log_in("root", PASSWORD)
    _, key = root.create_key("many", Level.LEVEL_ADMIN)

    async def on_one_channel(carried):
        async with Channel(token=carried, **way.options) as channel:
            accounts = services.Account(channel, timeout=30)
            answers = await asyncio.gather(*(accounts.async_get() for _ in range(200)))
            assert all(answer.account.name == "root" for answer in answers)

    async def on_channels_of_their_own():
        async def one():
            async with Channel(token=token, **way.options) as channel:
                return await services.Account(channel).async_get(timeout=30)

        answers = await asyncio.gather(*(one() for _ in range(200)))
        assert all(answer.account.name == "root" for answer in answers)

    LOOP.run_until_complete(on_one_channel(token))
    LOOP.run_until_complete(on_channels_of_their_own())
    LOOP.run_until_complete(on_one_channel(TokenFactory(application_key_secret=key)))

    async def names_at_once():
        """Fifty want one name, and one of them gets it."""
        async with Channel(token=token, **way.options) as channel:
            accounts = services.Account(channel)
            made = await asyncio.gather(
                *(accounts.async_create(account=Account(name="one.of.fifty")) for _ in range(50)), return_exceptions=True)
        (winner,) = [one for one in made if not isinstance(one, BaseException)]
        secret(winner.activation_password)
        losers = [one for one in made if isinstance(one, BaseException)]
        assert all(isinstance(one, GRPCError) and one.status is Status.ALREADY_EXISTS for one in losers), losers
        return winner.uuid

    root.accounts.delete(uuid=LOOP.run_until_complete(names_at_once()))


def a_channel_outlives_the_server_and_so_do_tokens(server, way):
    root = way.enter("root", PASSWORD)
    nonce = root.session.get_nonce().nonce
    # The client sees that the server goes only while its loop runs.
    LOOP.run_until_complete(asyncio.to_thread(server.restart))
    assert root.session.get_nonce().nonce == nonce, "a restart ends no session"
    assert root.accounts.get().account.name == "root"


def the_conversation_of_the_readme_goes_as_printed(server, way):
    """With a server of its own, where nobody is yet."""
    text = README.read_text()
    section = text.split("## Administrators over gRPC", 1)[1].split("\n## ", 1)[0]
    (conversation,) = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    with Server(server.binary, server.folder / "readme") as fresh:
        fresh.start()
        said = fresh.admin("user", "create", "--name", "root", "--admin")
        (printed,), (drawn,) = (re.findall(r"^activation password: (\w+)$", words, re.MULTILINE) for words in (text, said))
        assert printed in conversation, "it does not go on from the command line"
        conversation = conversation.replace(printed, drawn).replace("50051", str(fresh.port))
        examples = doctest.DocTestParser().get_doctest(conversation, {}, "README.md", str(README), 0)
        outcome = doctest.DocTestRunner(AsPrinted()).run(examples, out=sys.stderr.write)
        assert outcome.attempted and not outcome.failed, "it goes another way"


class AsPrinted(doctest.OutputChecker):
    """What differs from run to run: passwords that were drawn, and uuids."""

    def check_output(self, wanted, got, options):
        return self.shape(wanted) == self.shape(got)

    @staticmethod
    def shape(text):
        text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
        return re.sub(r"'[0-9A-Za-z]{16}'", "'DRAWN'", text)


def nothing_secret_is_in_the_log(server, way):
    log = server.log()
    for text in SECRETS:
        assert text not in log, "a secret is in the log"
    assert "ERROR" not in log, "the server logged an error"


def main(server):
    authority = server.make_certificates("localhost", "127.0.0.1", f"{SERIAL}.qb2.blickfeld.com")
    server.start()
    server.admin("user", "create", "--name", "root", "--admin", "--password-stdin", stdin=PASSWORD)
    at = {"fqdn_or_ip": "127.0.0.1"}
    plain = Way("plain", at | {"port": server.port, "secure": False})
    tls = Way("TLS", at | {"port": server.tls_port, "device_ca_cert": authority}, Asynchronously)
    key = Way("key", plain.options, by_key=True)
    tls_key = Way("TLS and key", tls.options, Asynchronously, by_key=True)
    checks = [
        (an_account_lives_from_its_making_to_its_end, [plain, tls, key, tls_key]),
        (every_refusal_is_the_one_of_the_contract, [plain, tls]),
        (an_administrator_made_on_the_command_line_comes_by_the_activation_password, [plain]),
        (a_token_that_has_ended_is_renewed_by_itself, [plain, tls]),
        (a_certificate_is_checked_by_authority_and_by_serial_number, [tls]),
        (the_two_doors_agree, [plain]),
        (many_call_at_once, [plain, tls]),
        (a_channel_outlives_the_server_and_so_do_tokens, [plain, tls]),
        (independent.the_door_describes_itself_as_the_vendor_does, [plain]),
        (independent.a_client_that_knows_nothing_calls_by_description, [plain, tls]),
        (independent.the_door_says_that_it_is_well, [plain, tls]),
        (the_conversation_of_the_readme_goes_as_printed, [plain]),
        (nothing_secret_is_in_the_log, [plain]),
    ]
    failed = 0
    for check, ways in checks:
        for way in ways:
            began, outcome = time.monotonic(), "ok"
            try:
                check(server, way)
            except Exception:
                traceback.print_exc()
                failed, outcome = failed + 1, "FAILED"
            finally:
                way.leave()
            took = time.monotonic() - began
            print(f"interop: {took:5.1f} s  {check.__name__.replace('_', ' ')} ({way.name}): {outcome}", flush=True)
    if failed:
        raise SystemExit(f"interop: {failed} of them failed")


if __name__ == "__main__":
    binary, folder = sys.argv[1:]
    with Server(binary, pathlib.Path(folder)) as server:
        main(server)
