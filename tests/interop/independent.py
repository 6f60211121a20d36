"""Clients of another implementation of gRPC, which know nothing of the contract but what the door says of itself."""

import importlib
import inspect
import sys
from contextlib import contextmanager

import blickfeld_qb2.base.grpc.base_error
import grpc
from blickfeld_qb2 import betterproto, secure
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from people import LOOP
from server import PASSWORD

# The package looks for a part of itself under a name that only the vendor's own machines have.
sys.modules["blickfeld.base.grpc.base_error"] = blickfeld_qb2.base.grpc.base_error
from blickfeld_qb2.base.grpc.aio_channel import AioChannel  # noqa: E402

SERVICES = {f"blickfeld.secure.services.{name}" for name in ("Account", "ApplicationKey", "Authentication", "Session")}
TYPES = {getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name for name in ("string", "bool", "uint32", "enum", "message")}


@contextmanager
def connected(way):
    """A channel of grpcio to the door of this way."""
    target = f"127.0.0.1:{way.options['port']}"
    if way.options.get("secure") is False:
        channel = grpc.insecure_channel(target)
    else:
        authority = way.options["device_ca_cert"].encode()
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(authority))
    with channel:
        yield channel


class AsVersion1:
    """A channel on which the library, which knows the older version alone, asks in the newer one: the messages are the same."""

    def __init__(self, channel):
        self.channel = channel

    def stream_stream(self, path, *arguments, **options):
        return self.channel.stream_stream(path.replace(".v1alpha.", ".v1."), *arguments, **options)


def described(channel):
    """What the door says that there is."""
    return DescriptorPool(ProtoReflectionDescriptorDatabase(channel))


def the_door_describes_itself_as_the_vendor_does(server, way):
    with connected(way) as channel:
        for asked in (channel, AsVersion1(channel)):
            names = set(ProtoReflectionDescriptorDatabase(asked).get_services())
            assert SERVICES <= names, names
            pool, compared = described(asked), set()
            for name in SERVICES:
                service = pool.FindServiceByName(name)
                stub = getattr(secure.services, service.name)
                ours = {method.name: method for method in service.methods}
                theirs = methods(stub)
                assert ours.keys() == {path.rsplit("/")[-1] for path, _, _ in theirs}, name
                for path, request, response in theirs:
                    method = ours[path.rsplit("/")[-1]]
                    assert path == f"/{name}/{method.name}"
                    for message, known in ((method.input_type, request), (method.output_type, response)):
                        compare(message, known, compared)
            package = "blickfeld.secure.services."
            ours = {name.removeprefix(package).replace(".", "") for name in compared if name.startswith(package)}
            assert ours == theirs_of_these(), ours ^ theirs_of_these()


def theirs_of_these():
    """The vendor's messages of these services, by name."""
    prefixes = tuple(name.rsplit(".")[-1] for name in SERVICES)
    return {name for name, known in vars(secure.services).items()
            if inspect.isclass(known) and issubclass(known, betterproto.Message) and name.startswith(prefixes)}


def methods(stub):
    """Path, request and response of every method of a stub of the vendor."""
    found = []

    class Probe(stub):
        async def _unary_unary(self, path, request, response, **_):
            found.append((path, type(request), response))

    for name, method in inspect.getmembers(Probe(None), inspect.iscoroutinefunction):
        if name.startswith("async_"):
            LOOP.run_until_complete(method())
    return found


def compare(message, known, compared):
    """Whether a message and all that is in it are what the vendor's classes know."""
    if message.full_name in compared:
        return
    compared.add(message.full_name)
    path = message.full_name.removeprefix(message.file.package + ".").replace(".", "")
    package = message.file.package.replace("blickfeld", "blickfeld_qb2", 1)
    if package.startswith("blickfeld_qb2"):
        assert known is getattr(importlib.import_module(package), path), message.full_name
    theirs = known()._betterproto
    ours = {field.name: field for field in message.fields}
    assert ours.keys() == theirs.meta_by_field_name.keys(), message.full_name
    for name, field in ours.items():
        meta, inner = theirs.meta_by_field_name[name], theirs.cls_by_field[name]
        assert field.number == meta.number, field.full_name
        assert (field.containing_oneof and field.containing_oneof.name) == meta.group, field.full_name
        entry = field.message_type if field.message_type and field.message_type.GetOptions().map_entry else None
        if entry:
            key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
            assert ("map", (TYPES[key.type], TYPES[value.type])) == (meta.proto_type, meta.map_types), field.full_name
            field, inner = value, theirs.cls_by_field[f"{name}.value"]
        else:
            assert TYPES[field.type] == meta.proto_type, field.full_name
            assert not field.is_repeated, field.full_name
        if field.message_type:
            compare(field.message_type, inner, compared)
        if field.enum_type:
            compared.add(field.enum_type.full_name)
            assert {value.name: value.number for value in field.enum_type.values} == \
                {name: member.value for name, member in inner.__members__.items()}, field.full_name


def method_of(channel, pool, name):
    """A method of the accounts, made of nothing but its description; and the class of its request."""
    method = pool.FindServiceByName("blickfeld.secure.services.Account").FindMethodByName(name)
    request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    path = f"/{method.containing_service.full_name}/{method.name}"
    return channel.unary_unary(path, request.SerializeToString, response.FromString), request


def a_client_that_knows_nothing_calls_by_description(server, way):
    root = way.enter("root", PASSWORD)
    token = root.log_in("root", PASSWORD)
    with connected(way) as channel:
        pool = described(channel)
        get, request = method_of(channel, pool, "Get")
        own = get(request(), metadata=[("token", token)])
        assert own.account.name == "root" and own.uuid
        assert get(request(uuid=own.uuid), metadata=[("token", token)]) == own
        try:
            get(request())
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED and "token" in error.details(), error
            assert dict(error.trailing_metadata())["error-code"] == "Unauthorized", error
        else:
            raise AssertionError("nobody got an account")

    if way.options.get("secure") is not False:
        # The other channel of the vendor's package, which puts a token into the credentials of a call.
        async def by_aio_channel(carried):
            async with AioChannel(token=carried, **way.options) as channel:
                get, request = method_of(channel, pool, "Get")
                return await get(request())

        assert LOOP.run_until_complete(by_aio_channel(token)) == own
        assert LOOP.run_until_complete(by_aio_channel(lambda channel: token)) == own


def the_door_says_that_it_is_well(server, way):
    serving = health_pb2.HealthCheckResponse.SERVING
    with connected(way) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", *SERVICES):
            assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == serving, service
        watching = health.Watch(health_pb2.HealthCheckRequest())
        assert next(watching).status == serving
        watching.cancel()
        try:
            health.Check(health_pb2.HealthCheckRequest(service="nobody"))
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND, error
        else:
            raise AssertionError("a service that is not there is well")
