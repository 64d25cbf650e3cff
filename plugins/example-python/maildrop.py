"""One POP3 session: the stream of the call Maildrop."""

import asyncio
import contextlib

import octets
import store_pb2 as pb
from google.protobuf import timestamp_pb2
from plugin import Failed, failure_of

CHUNK_MOST = 256 << 10  # octets
ENTRIES_MOST = 500  # of one frame
TOP_MOST = 64 << 10  # octets of a top that is told with the size


class Window:
    """What may still be sent of an answer: octets of a fetch, entries of a list."""

    def __init__(self, size):
        self.size = size
        self.ended = False
        self.changed = asyncio.Event()

    def grant(self, more):
        self.size += more
        self.changed.set()

    def end(self):
        """The answer is not wanted any more."""
        self.ended = True
        self.changed.set()

    async def take(self, most):
        """Waits until something may be sent, and takes it: up to most."""
        while self.size <= 0 and not self.ended:
            self.changed.clear()
            await self.changed.wait()
        if self.ended:
            raise Failed(pb.KIND_TEMPORARY, "the request was cancelled, or its session has ended")
        taken = min(self.size, most)
        self.size -= taken
        return taken


class Session:
    def __init__(self, folder, context):
        self.folder = folder
        self.context = context
        self.sending = asyncio.Lock()
        self.requests = {}  # those under way: a task and a window, by id

    async def serve(self, open_id, account, folder_id, frames):
        """Serves the session for as long as its stream lives."""
        self.folder.users += 1
        try:
            await self.send(pb.MaildropResponse(id=open_id, done=True, opened=account, folder_id=folder_id))
            async for frame in frames:
                self.take(frame)
        finally:
            # However the stream ends: what is under way ends, and nothing is removed.
            for _, window in self.requests.values():
                window.end()
            await asyncio.gather(*(task for task, _ in self.requests.values()), return_exceptions=True)
            self.folder.users -= 1
            await asyncio.to_thread(self.folder.rest)

    async def send(self, frame):
        async with self.sending:
            await self.context.write(frame)

    def take(self, frame):
        """Acts on one frame, and waits for nothing: behind it may stand the window or the
        cancellation that a request is waiting for."""
        kind = frame.WhichOneof("request")
        if kind in ("window", "cancel"):
            if frame.id in self.requests:  # it may have ended
                window = self.requests[frame.id][1]
                window.end() if kind == "cancel" else window.grant(frame.window.octets + frame.window.entries)
            return
        work = {"list": self.list, "fetch": self.fetch, "measure": self.measure, "remove": self.remove}.get(kind, self.unknown)
        request = getattr(frame, kind) if kind else None
        window = Window(getattr(request, "window", 0))
        # Tasks are not cancelled, but find their window ended: a frame that was begun has to be
        # sent whole.
        self.requests[frame.id] = (asyncio.create_task(self.answer(frame.id, work, request, window)), window)

    async def answer(self, request_id, work, request, window):
        """Does a request, and sends the answer that is the last one to it."""
        last = pb.MaildropResponse(id=request_id, done=True)
        try:
            await work(request_id, request, window, last)
        except Exception as error:
            last = pb.MaildropResponse(id=request_id, done=True, failure=failure_of(error))
        with contextlib.suppress(Exception):  # a stream that cannot be written to ends by itself
            await self.send(last)
        del self.requests[request_id]

    async def unknown(self, request_id, request, window, last):
        raise Failed(pb.KIND_UNSUPPORTED, "a request of a kind that is not known")

    async def list(self, request_id, request, window, last):
        messages = await asyncio.to_thread(self.folder.list)
        while messages:
            count = await window.take(min(len(messages), ENTRIES_MOST))
            frame = pb.MaildropResponse(id=request_id)
            frame.entries.entries.extend(entry(*message) for message in messages[:count])
            messages = messages[count:]
            await self.send(frame)

    async def fetch(self, request_id, request, window, last):
        check(request.rendering)
        *others, final = request.ids
        for message_id in others:
            end = pb.MaildropResponse(id=request_id, end=True)
            try:
                await self.message(request_id, message_id, request, window, end)
            except Exception as error:  # of this message alone
                end = pb.MaildropResponse(id=request_id, end=True, failure=failure_of(error))
            await self.send(end)
        await self.message(request_id, final, request, window, last)

    async def message(self, request_id, message_id, request, window, last):
        """Sends one message of a fetch, but for its last frame."""
        top = octets.Top(request.lines) if request.top else None
        copy, size = await self.copy(message_id, top)
        with copy:
            await self.send(pb.MaildropResponse(id=request_id, head=pb.FetchHead(size=size)))
            left = size
            while left > 0:
                chunk = copy.read(await window.take(min(left, CHUNK_MOST)))
                left -= len(chunk)
                if left == 0:
                    last.chunk = chunk  # it goes with "end" or "done"
                else:
                    await self.send(pb.MaildropResponse(id=request_id, chunk=chunk))

    async def measure(self, request_id, request, window, last):
        check(request.rendering)
        messages = dict(await asyncio.to_thread(self.folder.list))
        for message_id in request.ids:
            if window.ended:
                raise Failed(pb.KIND_TEMPORARY, "the request was cancelled, or its session has ended")
            measured = pb.Measured(id=message_id)
            try:
                await self.measured(measured, request, messages.get(message_id))
            except Exception as error:  # of this message alone
                measured = pb.Measured(id=message_id, failure=failure_of(error))
            await self.send(pb.MaildropResponse(id=request_id, measured=measured))

    async def measured(self, measured, request, message):
        """Measures one message: the mailbox knows its size, and a top is copied out of it."""
        if message is None:
            raise Failed(pb.KIND_NOT_FOUND, "the message is gone")
        if request.sizes:
            measured.size = message.size
        if request.top:
            copy, size = await self.copy(measured.id, octets.Top(request.lines))
            with copy:
                if size <= TOP_MOST:
                    measured.top = copy.read()

    async def copy(self, message_id, top):
        found = await asyncio.to_thread(self.folder.copy, bytes(message_id), top)
        if found is None:
            raise Failed(pb.KIND_NOT_FOUND, "the message is gone")
        return found

    async def remove(self, request_id, request, window, last):
        if request.disposal != pb.DISPOSAL_REMOVE:
            raise Failed(pb.KIND_UNSUPPORTED, f"disposal {request.disposal}")
        await asyncio.to_thread(self.folder.remove, [bytes(i) for i in request.ids])
        last.removals.removals.extend(pb.Removal(id=i) for i in request.ids)


def check(rendering):
    if rendering.encoding not in pb.Encoding.values() or rendering.body not in pb.BodyForm.values():
        raise Failed(pb.KIND_UNSUPPORTED, "a rendering that is not known")


def entry(message_id, message):
    seconds, nanos = divmod(message.received, 10**9)
    received = timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos)
    return pb.Entry(id=message_id, size=message.size, exact=True, received=received)
