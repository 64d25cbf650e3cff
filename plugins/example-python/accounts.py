"""The accounts file: a line for each account, its address and the hash of its password.

    anna@sakes.example scrypt$15$8$1$<salt>$<sum>

The parts of a hash are log2 of scrypt's N, r and p (RFC 7914), and salt and sum in base64.
"""

import base64
import hashlib
import hmac
import os
import re
import tempfile

ADDRESS = re.compile(r"[a-z0-9][a-z0-9._+=-]{0,63}@[a-z0-9][a-z0-9.-]{0,252}")
HASH = re.compile(r"scrypt\$(\d{1,2})\$(\d{1,2})\$(\d{1,2})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)")
COST = (15, 8, 1)  # 32 MiB, about 0.1 s
LOG_N_MOST = 17  # 128 MiB: what a hash in the file may make a login cost
SALT, SUM = 16, 32  # octets


def derive(password, salt, cost, length):
    log_n, r, p = cost
    return hashlib.scrypt(password, salt=salt, n=1 << log_n, r=r, p=p, dklen=length, maxmem=192 << 20)


def new_hash(password):
    salt = os.urandom(SALT)
    parts = [*map(str, COST)] + [base64.b64encode(b).decode() for b in (salt, derive(password, salt, COST, SUM))]
    return "scrypt$" + "$".join(parts)


def verify(password, text):
    """Says whether a password has a hash. Without a hash it takes as long, and has not: who
    asks for an account that is not there learns no more from the time."""
    found = HASH.fullmatch(text or "")
    cost, salt, want = COST, bytes(SALT), os.urandom(SUM)
    if found:
        cost = tuple(int(n) for n in found.groups()[:3])
        salt, want = (base64.b64decode(part) for part in found.groups()[3:])
    if cost[0] > LOG_N_MOST or cost[1] > 8 or cost[2] > 4:
        raise ValueError("a hash in the accounts file costs more than is allowed")
    got = derive(password, salt, cost, len(want))
    return hmac.compare_digest(got, want) and found is not None


class Accounts:
    """The accounts of a file, read again when it has changed."""

    def __init__(self, path):
        self.path = path
        self.version = None
        self.hashes = {}  # by address

    def load(self):
        state = os.stat(self.path)
        version = (state.st_ino, state.st_size, state.st_mtime_ns)
        if version != self.version:
            self.hashes = read(self.path)
            self.version = version
        return self.hashes


def read(path):
    """The hashes of a file, by address. A line that is none is an error with its number."""
    hashes = {}
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            address, _, text = line.partition(" ")
            if not ADDRESS.fullmatch(address) or not HASH.fullmatch(text):
                raise ValueError(f"line {number} of {path} is not an address and a hash")
            hashes[address] = text
    return hashes


def set_password(path, address, password):
    """Sets the password of an account, which is made if it is not there."""
    address = address.lower()
    if not ADDRESS.fullmatch(address):
        raise SystemExit(f"{address} is not an address that this store can have")
    if not password:
        raise SystemExit("the password is empty")
    hashes = read(path) if os.path.exists(path) else {}
    hashes[address] = new_hash(password.encode())
    with tempfile.NamedTemporaryFile("w", dir=os.path.dirname(path) or ".", delete=False) as new:
        new.writelines(f"{a} {h}\n" for a, h in sorted(hashes.items()))
        new.flush()
        os.fsync(new.fileno())
    os.replace(new.name, path)
