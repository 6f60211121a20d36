"""People who come to the gRPC door with the client of the vendor, each in one of the ways that it knows."""

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field

from blickfeld_qb2 import Channel, TokenFactory
from blickfeld_qb2.base import AccessControlLevel as Level
from blickfeld_qb2.secure import services
from blickfeld_qb2.secure.config import Account, ApplicationKey
from blickfeld_qb2.secure.services import (
    AccountStoreRequestPasswordUpdate,
    AuthenticationLoginRequestApplication,
    AuthenticationLoginRequestUser,
)
from grpclib import GRPCError

from server import PASSWORD

# The client's synchronous methods use the loop of their thread.
LOOP = asyncio.new_event_loop()
asyncio.set_event_loop(LOOP)

# What was handed out so far, and must be in no log.
SECRETS = {PASSWORD}


def secret(text):
    SECRETS.add(text)
    return text


class Asynchronously:
    """A stub whose methods are called by their asynchronous names."""

    def __init__(self, stub):
        self.stub = stub

    def __getattr__(self, method):
        call = getattr(self.stub, f"async_{method}")
        return lambda **fields: LOOP.run_until_complete(call(**fields))


class Caller:
    """The services behind a channel."""

    def __init__(self, channel, wrap):
        self.channel = channel
        self.accounts = wrap(services.Account(channel))
        self.keys = wrap(services.ApplicationKey(channel))
        self.authentication = wrap(services.Authentication(channel))
        self.session = wrap(services.Session(channel))

    def log_in(self, name, password):
        """A token for a password."""
        user = AuthenticationLoginRequestUser(name=name, password=password)
        return secret(self.authentication.login(user=user).token)

    def log_in_with_key(self, key):
        application = AuthenticationLoginRequestApplication(key=key)
        return secret(self.authentication.login(application=application).token)

    def create(self, **account):
        """Makes an account; its uuid and its activation password."""
        made = self.accounts.create(account=Account(**account))
        return made.uuid, secret(made.activation_password)

    def update_password(self, current, new, **more):
        update = AccountStoreRequestPasswordUpdate(current=current, new=new)
        self.accounts.store(password_update=update, **more)

    def create_key(self, purpose="", level=Level.LEVEL_UNSPECIFIED, **more):
        """Makes an application key; its uuid and its secret."""
        key = ApplicationKey(purpose=purpose, access_level=level, **more)
        made = self.keys.create(application_key=key)
        return made.uuid, secret(made.key)


@dataclass
class Way:
    """How people come to the door."""

    name: str
    options: dict
    wrap: callable = lambda stub: stub
    # Whether they go on with an application key once they have logged in.
    by_key: bool = False
    channels: list = field(default_factory=list)

    def caller(self, token=None, **more):
        """Somebody who carries a token, or what makes one, or nothing."""
        channel = Channel(token=token, **self.options | more)
        self.channels.append(channel)
        return Caller(channel, self.wrap)

    def leave(self):
        """Everybody goes."""
        while self.channels:
            self.channels.pop().close()

    def enter(self, name, password):
        """Somebody who knows the password."""
        somebody = self.caller(self.caller().log_in(name, password))
        if not self.by_key:
            return somebody
        level = somebody.accounts.get().account.access_level
        wanted = level if level == Level.LEVEL_ADMIN else Level.LEVEL_UNSPECIFIED
        _, key = somebody.create_key("interop", wanted)
        return self.caller(TokenFactory(application_key_secret=key))

    def activate(self, name, activation, password=PASSWORD):
        """Exchanges an activation password for one of the own choice."""
        newcomer = self.caller(self.caller().log_in(name, activation))
        newcomer.update_password(activation, secret(password))


@contextmanager
def refused(status, *words):
    """What is done inside is refused with this status, in a sentence that has these words."""
    try:
        yield
    except GRPCError as error:
        assert error.status is status, f"{error} instead of {status}"
        assert error.message, f"{error} says nothing"
        for word in words:
            assert word in error.message, f"{word!r} is not in {error}"
    else:
        raise AssertionError(f"{status} was expected")
