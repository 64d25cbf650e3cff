"""The process boundary: what plugins/README.md asks of a plugin, and nothing of mail.

serve(store) answers the gateway's handshake, serves the store on a unix socket, and ends when
the gateway says so or is gone. A store is an object with a coroutine method for each call of
store.proto, named as there.
"""

import asyncio
import datetime
import json
import logging
import os
import signal
import sys
import threading

import grpc
from google.protobuf import any_pb2

import store_pb2 as pb

COOKIE = ("DIPYLON_PLUGIN", "7b1c5e0e-store")
MESSAGE_MOST = 8 << 20  # octets of one gRPC message
GRACE = 4  # seconds that calls under way have to end in

log = logging.getLogger("dipylon-mbox")


class Failed(Exception):
    """A failure with its kind. The text is shown to the client, the detail is for the log."""

    def __init__(self, kind, detail="", text="", code=""):
        super().__init__(detail)
        self.failure = pb.Failure(kind=kind, detail=detail[:2000], text=text, code=code)


def failure_of(error):
    """The failure that an exception stands for. One that nobody thought of is logged."""
    if isinstance(error, Failed):
        return error.failure
    log.error("a call failed", exc_info=error)
    return pb.Failure(kind=pb.KIND_TEMPORARY, detail=f"{type(error).__name__}: {error}"[:2000])


# ---- the calls


def varint(number):
    """A number as protobuf writes it."""
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def status_details(code, failure):
    """The google.rpc.Status of a failed call: code is field 1, and details field 3."""
    detail = any_pb2.Any()
    detail.Pack(failure)
    packed = detail.SerializeToString()
    return b"\x08" + varint(code) + b"\x1a" + varint(len(packed)) + packed


async def fail(context, error):
    """Ends a call with the failure that an exception stands for."""
    details = status_details(grpc.StatusCode.UNKNOWN.value[0], failure_of(error))
    await context.abort(grpc.StatusCode.UNKNOWN, "", (("grpc-status-details-bin", details),))


def guarded(method):
    """A call whose exceptions become its status."""

    async def call(request, context):
        try:
            return await method(request, context)
        except Exception as error:  # a cancellation is none, and ends the call by itself
            await fail(context, error)

    return call


def store_handlers(store):
    """The service dipylon.store.v2.Store. What the store does not have is UNIMPLEMENTED."""
    makers = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    handlers = {}
    for method in pb.DESCRIPTOR.services_by_name["Store"].methods:
        call = getattr(store, method.name, None)
        if call is None:
            continue
        handlers[method.name] = makers[method.client_streaming, method.server_streaming](
            guarded(call),
            request_deserializer=getattr(pb, method.input_type.name).FromString,
            response_serializer=getattr(pb, method.output_type.name).SerializeToString,
        )
    return grpc.method_handlers_generic_handler("dipylon.store.v2.Store", handlers)


def health_handlers():
    """grpc.health.v1.Health, made by hand. The request is field 1, the service's name; the
    answer is field 1, a number: 1 is SERVING."""

    async def check(request, context):
        if request not in (b"", b"\x0a\x06plugin"):
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service")
        return b"\x08\x01"

    return octets_handler("grpc.health.v1.Health", "Check", check)


def shutdown_handlers(stop):
    """plugin.GRPCController, whose messages are empty."""

    async def shutdown(request, context):
        stop.set()
        return b""

    return octets_handler("plugin.GRPCController", "Shutdown", shutdown)


def octets_handler(service, method, call):
    """A service with one call whose messages are octets to us: without a serializer, gRPC
    hands them through."""
    return grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(call)})


# ---- the process


class LogLine(logging.Formatter):
    """A log entry as one line of JSON, in the form that the gateway takes up."""

    def format(self, record):
        entry = {"@level": record.levelname.lower(), "@message": record.getMessage()}
        entry["@level"] = {"warning": "warn", "critical": "error"}.get(entry["@level"], entry["@level"])
        now = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        entry["@timestamp"] = now.isoformat()
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)[-4000:]
        return json.dumps(entry)


def serve(store, usage):
    """Serves a store to the gateway that started this process."""
    if os.environ.get(COOKIE[0]) != COOKIE[1]:
        sys.exit(f"This program is run by the Dipylon gateway.\n{usage}")
    if os.environ.get("PLUGIN_CLIENT_CERT"):
        sys.exit("this plugin does not have AutoMTLS: it needs a system with unix sockets")
    output = logging.StreamHandler(sys.stderr)
    output.setFormatter(LogLine())
    logging.basicConfig(level=logging.INFO, handlers=[output])
    os.umask(0o077)
    asyncio.run(run(store))


async def run(store):
    stop = asyncio.Event()
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MESSAGE_MOST),
            ("grpc.max_send_message_length", MESSAGE_MOST),
        ]
    )
    server.add_generic_rpc_handlers((store_handlers(store), health_handlers(), shutdown_handlers(stop)))
    path = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], "socket")
    if server.add_insecure_port("unix:" + path) == 0:
        raise OSError("no socket at " + path)
    await server.start()
    watch_gateway(stop)
    print(f"1|2|unix|{path}|grpc", flush=True)
    await stop.wait()
    await server.stop(GRACE)
    await store.close()


def watch_gateway(stop):
    """Sets stop on SIGTERM, and when the lifeline ends: then the gateway is gone."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # a terminal's Ctrl-C: the gateway decides

    def watch():
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(stop.set)

    if os.environ.get("DIPYLON_LIFELINE") == "stdin":
        threading.Thread(target=watch, daemon=True).start()
