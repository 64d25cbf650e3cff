"""The store: the calls of store.proto that are not a maildrop's."""

import asyncio
import difflib
import errno
import json
import logging
import os
import re
import tempfile

import accounts
import maildrop
import mbox
import octets
import store_pb2 as pb
from plugin import Failed

log = logging.getLogger("dipylon-mbox")

MESSAGE_SIZE = 50 << 20  # octets of the largest message taken, unless the settings say otherwise
LOGINS_AT_ONCE = 4  # each takes 32 MiB
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,63}")


class Store:
    def __init__(self):
        self.root = None
        self.temporary = None
        self.message_size = MESSAGE_SIZE
        self.accounts = None
        self.folders = {}  # by path
        self.logins = asyncio.Semaphore(LOGINS_AT_ONCE)

    # ---- every store

    async def Describe(self, request, context):
        return pb.Description(
            name="mbox",
            version="1.0.0",
            vendor="Dipylon",
            capabilities=pb.Capabilities(reader=True, receiver=True),
            credentials=[pb.CREDENTIAL_KIND_PASSWORD],
            exact_sizes=True,
            limits=pb.Limits(message_size=self.message_size, fetches_at_once=4),
            reading=pb.Reading(folders=True, measures=True),
        )

    async def Configure(self, request, context):
        settings, problems = read_settings(request)
        if problems or request.check:
            return pb.ConfigureResponse(problems=problems)
        self.root = settings["root"]
        self.message_size = settings["message_size"]
        self.temporary = request.state_dir or tempfile.gettempdir()
        self.accounts = accounts.Accounts(os.path.join(self.root, "accounts"))
        log.info("the store is open", extra={"fields": {"root": self.root}})
        return pb.ConfigureResponse()

    async def Health(self, request, context):
        # It waits for nothing and nobody: who does not answer is killed.
        try:
            self.known()
        except Failed as error:
            return pb.HealthResponse(failure=error.failure)
        return pb.HealthResponse()

    async def Login(self, request, context):
        return account_of(await self.login(request.credential))

    async def close(self):
        for folder in self.folders.values():
            folder.close()

    def known(self):
        """The accounts' hashes, by address."""
        try:
            return self.accounts.load()
        except (OSError, ValueError, AttributeError) as error:
            raise Failed(pb.KIND_TEMPORARY, f"the accounts cannot be read: {error}") from error

    async def login(self, credential):
        """The address of the account that a credential is for."""
        if credential.kind != pb.CREDENTIAL_KIND_PASSWORD:
            raise Failed(pb.KIND_UNSUPPORTED, f"a credential of kind {credential.kind}")
        hashes = self.known()
        address = credential.user.lower()
        async with self.logins:
            right = await asyncio.to_thread(accounts.verify, credential.secret, hashes.get(address))
        if not right:
            raise Failed(pb.KIND_BAD_CREDENTIALS, f"user {credential.user[:200]!r}")
        if credential.act_as.lower() not in ("", address):
            raise Failed(pb.KIND_PERMANENT, f"{address} may not act as {credential.act_as[:200]!r}", code="5.7.1")
        return address

    def folder(self, address, name="INBOX"):
        """A folder of an account. Folders live as long as the store: their locks are in them."""
        path = os.path.join(self.root, address, name)
        if path not in self.folders:
            self.folders[path] = mbox.Folder(path, self.temporary)
        return self.folders[path]

    # ---- reader

    async def Maildrop(self, frames, context):
        frame = await first(frames, "request", "open")
        address = await self.login(frame.open.credential)
        name = frame.open.folder or "INBOX"
        exists = FOLDER.fullmatch(name) and os.path.isfile(os.path.join(self.root, address, name))
        if not exists and name != "INBOX":
            raise Failed(pb.KIND_NOT_FOUND, f"the folder {name[:200]!r}")
        session = maildrop.Session(self.folder(address, name), context)
        await session.serve(frame.id, account_of(address), name, frames)

    # ---- receiver

    async def Resolve(self, request, context):
        return pb.Verdicts(verdicts=self.verdicts(request.recipients, request.size))

    def verdicts(self, recipients, size):
        """What is said of recipients before there is a message: a verdict each, in their order."""
        hashes, verdicts = self.known(), []
        for recipient in recipients:
            failure, account = None, recipient.address.lower()
            if account not in hashes:
                account = ""
                failure = pb.Failure(kind=pb.KIND_NOT_FOUND, detail=f"recipient {recipient.address[:200]!r}")
            elif self.message_size and size > self.message_size:
                failure = pb.Failure(kind=pb.KIND_TOO_LARGE, detail=f"{size} octets")
            verdicts.append(pb.Verdict(recipient=recipient.address, failure=failure, account=account))
        return verdicts

    async def Deliver(self, frames, context):
        delivery = (await first(frames, "frame", "delivery")).delivery
        verdicts = self.verdicts(delivery.recipients, delivery.size)
        if all(v.HasField("failure") for v in verdicts):
            return pb.Verdicts(verdicts=verdicts)
        with tempfile.SpooledTemporaryFile(mbox.IN_MEMORY, dir=self.temporary) as content:
            await self.receive(frames, content)
            for verdict in verdicts:
                if not verdict.HasField("failure"):
                    await asyncio.to_thread(self.deliver_to, verdict, delivery, content)
        return pb.Verdicts(verdicts=verdicts)

    async def receive(self, frames, content):
        """Takes a message in, in mbox form. Without an end frame there is no message."""
        conversion, size = octets.ToMbox(), 0
        async for frame in frames:
            if frame.WhichOneof("frame") == "end":
                content.write(conversion.feed(b"", last=True))
                return
            size += len(frame.chunk)
            if self.message_size and size > self.message_size:
                raise Failed(pb.KIND_TOO_LARGE, f"more than {self.message_size} octets")
            content.write(conversion.feed(frame.chunk))
        raise Failed(pb.KIND_TEMPORARY, "the message ended before its end")

    def deliver_to(self, verdict, delivery, content):
        """Gives a recipient its copy, and fills in the verdict."""
        address = verdict.recipient.lower()
        try:
            self.folder(address).deliver(delivery.key, delivery.retry, delivery.envelope.reverse_path, content)
        except mbox.Locked as error:
            verdict.failure.CopyFrom(pb.Failure(kind=pb.KIND_TEMPORARY, detail=str(error)))
        except OSError as error:
            full = error.errno == errno.EDQUOT
            kind = pb.KIND_OVER_QUOTA if full else pb.KIND_TEMPORARY
            verdict.failure.CopyFrom(pb.Failure(kind=kind, detail=str(error)))
            log.error("a message could not be stored", extra={"fields": {"account": address, "error": str(error)}})


async def first(frames, oneof, kind):
    """The first frame of a stream, which has to be of a kind."""
    async for frame in frames:
        if frame.WhichOneof(oneof) == kind:
            return frame
        break
    raise Failed(pb.KIND_TEMPORARY, f"the stream does not begin with {kind}")


def account_of(address):
    return pb.Account(id=address, address=address, addresses=[address])


# ---- settings

SETTINGS = {"root": (str, "a folder"), "message_size": (int, "octets, or 0 for no limit")}


def read_settings(request):
    """The settings, and all that is wrong with them. No value stands in a problem: it may be a
    secret that was put in the wrong place."""
    settings = {"root": "", "message_size": MESSAGE_SIZE}
    try:
        given = json.loads(request.raw or b"{}")
    except ValueError:
        return settings, [pb.SettingsProblem(problem="the settings are not JSON")]
    if not isinstance(given, dict):
        return settings, [pb.SettingsProblem(problem="expected a mapping")]
    problems = []
    for key, value in given.items():
        if key not in SETTINGS:
            near = difflib.get_close_matches(key, SETTINGS, 1)
            suggest = f"did you mean {near[0]}?" if near else ""
            problems.append(pb.SettingsProblem(path=key, problem="there is no such setting", suggest=suggest))
        elif type(value) is not SETTINGS[key][0]:
            problems.append(pb.SettingsProblem(path=key, problem=f"expected {SETTINGS[key][1]}"))
        else:
            settings[key] = value
    if settings["message_size"] < 0:
        problems.append(pb.SettingsProblem(path="message_size", problem="expected octets, or 0 for no limit"))
    root = os.path.join(request.base_dir, settings["root"])
    if not any(p.path == "root" for p in problems) and not (settings["root"] and os.path.isdir(root)):
        problems.append(pb.SettingsProblem(path="root", problem="expected a folder that is there"))
    settings["root"] = root
    return settings, problems
