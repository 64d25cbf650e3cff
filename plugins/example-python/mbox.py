"""Mailbox folders as mbox files, which other programs may use at the same time.

Each message has an id, in a header field of its own that stands first: time in nanoseconds, a
hyphen, and something nobody else has. A delivery's message gets it from the delivery's key, so
that a second attempt finds the first; a message that another program has put there gets one
when it is first seen, as other POP3 servers do with their X-UIDL.

A delivered message's id is PENDING until all of it is on the disk. What is PENDING later was
cut short by a crash, has never been confirmed to anybody, and is taken out.
"""

import collections
import contextlib
import errno
import fcntl
import hashlib
import mailbox
import os
import re
import secrets
import struct
import tempfile
import threading
import time

import octets

ID_FIELD = b"X-Mbox-Id: "
ID_LINE = re.compile(rb"X-Mbox-Id: ([0-9]{1,19})-([0-9a-z]{8,64})\r?\n")
PENDING = b"0" * 32
PATIENCE = 10  # seconds to wait for the lock of another program
STALE = 300  # seconds after which a lock file that tells no process is nobody's
IN_MEMORY = 1 << 20  # octets of a message beyond which a copy of it is on the disk
KEYS_KEPT = 7 * 24 * 3600  # seconds for which a delivery is remembered whose message is gone
PRUNE_EVERY = 24 * 3600  # seconds

Message = collections.namedtuple("Message", "key size received")


class Locked(Exception):
    """Another program holds the mailbox."""


class Folder:
    """One mbox file. Its methods wait for locks and disks: they are called in threads."""

    def __init__(self, path, temporary):
        self.path = path
        self.temporary = temporary  # the folder for copies
        self.mutex = threading.Lock()
        self.users = 0  # sessions that have it open
        self.box = None
        self.version = None  # of the file that box and messages are about
        self.messages = {}  # Message by id, oldest first
        self.keys = Keys(path + ".keys")

    @contextlib.contextmanager
    def locked(self):
        """The file, locked against this process's threads and against other programs."""
        if not self.mutex.acquire(timeout=PATIENCE):
            raise Locked("another call holds the mailbox")
        try:
            with open_locked(self.path) as file, dot_locked(self.path):
                yield file
        finally:
            if self.users == 0:
                self.close()
            self.mutex.release()

    def rest(self):
        """Closes the file when nobody has the folder open any more."""
        with self.mutex:
            if self.users == 0:
                self.close()

    def list(self):
        """The messages as they are now: (id, Message), oldest first."""
        if not os.path.exists(self.path):
            return []
        with self.locked():
            self.refresh()
            return list(self.messages.items())

    def copy(self, message_id, top=None):
        """A file with a copy of a message in canonical form, and its size; None: it is gone.
        What the copy is for takes as long as the client likes, and the lock must not."""
        if not os.path.exists(self.path):
            return None
        with self.locked():
            self.refresh()
            message = self.messages.get(message_id)
            if message is None:
                return None
            copy = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=self.temporary)
            for chunk in self.canonical(message.key):
                copy.write(top.feed(chunk) if top else chunk)
                if top and top.done:
                    break
        size = copy.tell()
        copy.seek(0)
        return copy, size

    def remove(self, ids):
        """Removes messages; those that are gone already are gone."""
        if not os.path.exists(self.path):
            return
        with self.locked():
            self.refresh()
            for message_id in set(ids) & self.messages.keys():
                self.box.remove(self.messages[message_id].key)
            self.rewrite()

    def deliver(self, key, retry, reverse_path, content):
        """Appends a message in mbox form, unless it has been delivered under this key before.
        When it returns, the message is on the disk."""
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        create(self.path)
        with self.locked() as file:
            if self.keys.has(name) or retry and self.delivered(name):
                return
            now = time.time_ns()
            append(file, head_of(reverse_path, now), name.encode(), content)
            self.version = None
            self.keys.add(name, now)

    def delivered(self, name):
        """Says whether a message is here that was delivered under a key. An attempt that came
        to its end is in the keys; one that was killed just before may be in the file alone."""
        self.refresh()
        return any(message_id.endswith(b"-" + name.encode()) for message_id in self.messages)

    def refresh(self):
        """Makes box and messages tell what is in the file. The caller holds the lock."""
        if self.version == version_of(self.path):
            return
        self.close()
        self.box = mailbox.mbox(self.path, create=False)
        if self.mend():
            self.rewrite()
            self.box = mailbox.mbox(self.path, create=False)
        for key in self.box.keys():
            self.index(key)
        self.version = version_of(self.path)

    def mend(self):
        """Takes out what is PENDING, and gives an id to each message that has none, or that of
        another one (a copy that somebody has put back). It says whether there was anything."""
        known, mended = set(), False
        for key in self.box.keys():
            found = ID_LINE.fullmatch(self.box.get_file(key).readline(200))
            if found and found[2] != PENDING and found[0] not in known:
                known.add(found[0])
                continue
            mended = True
            if found and found[2] == PENDING:
                self.box.remove(key)
                continue
            from_line, _, rest = self.box.get_bytes(key, from_=True).partition(b"\n")
            field = ID_FIELD + b"%d-%s\n" % (time.time_ns(), secrets.token_hex(16).encode())
            self.box[key] = from_line + b"\n" + field + rest
        return mended

    def index(self, key):
        received, name = ID_LINE.fullmatch(self.box.get_file(key).readline(200)).groups()
        size = sum(len(chunk) for chunk in self.canonical(key))
        self.messages[received + b"-" + name] = Message(key, size, int(received))

    def canonical(self, key):
        """The chunks of a message in canonical form, without the id in front."""
        file = self.box.get_file(key)
        file.readline()
        return octets.blocks(file, octets.FromMbox())

    def rewrite(self):
        """Puts a new file in the place of the old one, in one step, and on the disk."""
        self.box.flush()
        sync_folder(os.path.dirname(self.path))
        self.close()

    def close(self):
        if self.box is not None:
            self.box.close()
        self.box, self.version, self.messages = None, None, {}


class Keys:
    """What has been delivered, one line each: time and name. A message may be read and removed
    before its second attempt comes. The calls are made while the folder is locked."""

    def __init__(self, path):
        self.path = path
        self.forget()

    def forget(self):
        self.names, self.inode, self.read, self.since = set(), None, 0, time.monotonic()

    def has(self, name):
        """Looks at what has been added, maybe by another process, since it last looked."""
        if not os.path.exists(self.path):
            return False
        if os.stat(self.path).st_ino != self.inode or time.monotonic() - self.since > PRUNE_EVERY:
            self.forget()
            self.prune()
        with open(self.path, "rb") as file:
            self.inode = os.fstat(file.fileno()).st_ino
            file.seek(self.read)
            self.names.update(entry[1].decode() for entry in entries(file))
            self.read = file.tell()
        return name in self.names

    def prune(self):
        """Makes the file anew without what is too old."""
        oldest = time.time_ns() - KEYS_KEPT * 10**9
        with open(self.path, "rb") as file:
            all = list(entries(file))
        kept = [entry for entry in all if int(entry[0]) >= oldest]
        if len(kept) < len(all):
            with open(self.path + ".new", "wb") as file:
                file.writelines(b"%s %s\n" % tuple(entry) for entry in kept)
                file.flush()
                os.fsync(file.fileno())
            os.replace(self.path + ".new", self.path)

    def add(self, name, now):
        with open(self.path, "ab") as file:
            # The line end in front parts it from what a crash has cut off.
            file.write(b"\n%d %s\n" % (now, name.encode()))
            file.flush()
            os.fsync(file.fileno())


def entries(file):
    """The entries of a keys file: what a crash has cut off is none."""
    for line in file:
        parts = line.split()
        if len(parts) == 2 and parts[0].isdigit():
            yield parts


# ---- locks. Debian's policy (11.6) is what mail programs agree on: first fcntl, then a lock file.


@contextlib.contextmanager
def open_locked(path):
    """The file, opened and locked with fcntl. The lock is one of the open file (F_OFD_SETLK):
    it keeps others' fcntl locks out all the same, and does not go when another descriptor of
    the same file is closed, as module mailbox does."""
    deadline = time.monotonic() + PATIENCE
    request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    while True:
        file = open(path, "rb+", buffering=0)
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, request)
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                break  # else somebody has put a new file in its place meanwhile
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                file.close()
                raise
        file.close()
        wait(deadline)
    with file:
        yield file


@contextlib.contextmanager
def dot_locked(path):
    """The lock file. It tells our process, so that nobody waits for it when we were killed."""
    deadline = time.monotonic() + PATIENCE
    lock = path + ".lock"
    while True:
        try:
            file = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            break
        except FileExistsError:
            if abandoned(lock):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(lock)
            else:
                wait(deadline)
    try:
        with open(file, "wb") as text:
            text.write(b"%d\n" % os.getpid())
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(lock)


def abandoned(lock):
    """Says whether a lock file is nobody's: that of a process that is gone, or too old."""
    try:
        with open(lock, "rb") as file:
            text = file.read(20).strip()
            age = time.time() - os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return False
    if not text.isdigit() or int(text) == 0:
        return age > STALE
    try:
        os.kill(int(text), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return int(text) == os.getpid()  # we hold it once at the most, and do not hold it now


def wait(deadline):
    if time.monotonic() > deadline:
        raise Locked("another program holds the mailbox")
    time.sleep(0.02)


# ---- files


def create(path):
    """Makes a mailbox that is not there yet."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.makedirs(folder, 0o700, exist_ok=True)
        sync_folder(os.path.dirname(folder))
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        sync_folder(folder)


def append(file, head, name, content):
    """Appends a message to an mbox file and brings it to the disk, or leaves no trace of it. The
    name takes the place of PENDING in the head when all else is there."""
    end = file.seek(0, os.SEEK_END)
    try:
        head = separator(file, end) + head
        write(file, head)
        content.seek(0)
        while block := content.read(octets.BLOCK):
            write(file, block)
        write(file, b"\n")  # the empty line behind it
        os.fsync(file.fileno())
        file.seek(end + head.index(b"-" + PENDING + b"\n") + 1)
        write(file, name)
        os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), end)
        raise


def write(file, data):
    """Writes all of it: a file without a buffer may take a part."""
    data = memoryview(data)
    while data:
        data = data[file.write(data) :]


def separator(file, end):
    """What is needed so that the next line begins a message: other programs may have left out
    the empty line, or the end of the last one."""
    file.seek(max(0, end - 2))
    tail = file.read(2)
    file.seek(end)
    if end == 0 or tail == b"\n\n":
        return b""
    return b"\n" if tail.endswith(b"\n") else b"\n\n"


def head_of(reverse_path, now):
    """What stands in front of a delivered message: its From line, whose sender can have no
    spaces, its id, and the Return-Path (RFC 5321 section 4.4)."""
    sender = re.sub(r"[\x00-\x1f\x7f]", "", reverse_path)
    mark = sender.replace(" ", "-") or "MAILER-DAEMON"
    head = f"From {mark} {time.asctime(time.gmtime(now // 10**9))}\n".encode()
    return head + ID_FIELD + b"%d-%s\n" % (now, PENDING) + f"Return-Path: <{sender}>\n".encode()


def version_of(path):
    state = os.stat(path)
    return state.st_ino, state.st_size, state.st_mtime_ns


def sync_folder(path):
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
