"""The two forms of a message, and the way between them, a chunk at a time.

On the wire a message is canonical: each line ends with CRLF. In an mbox file lines end with LF,
and a line that begins with "From ", behind any number of ">", has one ">" more, so that it is
not taken for the next message's beginning (the form called mboxrd).
"""

import re

BLOCK = 256 << 10  # octets
QUOTE = re.compile(rb"^(>*)(?=From )", re.MULTILINE)
UNQUOTE = re.compile(rb"^(>*)>(?=From )", re.MULTILINE)
UNDECIDED = re.compile(rb">?(F(r(om?)?)?)?\Z")  # what may yet become "From ", with a ">" to take away


class Lines:
    """Applies a pattern that looks at the beginnings of lines to a text that comes in chunks.

    Only a few octets are held back, however long a line is: as a ">" may be put in and taken
    away at the end of a run of them, it is enough to know that the line has had nothing else.
    """

    def __init__(self, pattern, replacement):
        self.pattern, self.replacement = pattern, replacement
        self.held = b""
        self.quotes = True  # the line so far is nothing, or ">" alone

    def feed(self, data, last=False):
        data = self.held + data
        cut = len(data)
        start = data.rfind(b"\n") + 1
        line = data[start:]
        only_quotes = self.quotes or start > 0
        if not last and only_quotes and not line.strip(b">From "):
            cut -= len(UNDECIDED.search(line).group())
        out, self.held = data[:cut], data[cut:]
        result = self._apply(out)
        rest = out[out.rfind(b"\n") + 1 :]
        self.quotes = (self.quotes or b"\n" in out) and not rest.strip(b">")
        return result

    def _apply(self, data):
        # The pattern is applied at the very beginning, too: it must not be where that is the
        # middle of a line.
        if b"From " not in data:
            return data
        if self.quotes:
            return self.pattern.sub(self.replacement, data)
        first = data.find(b"\n") + 1
        return data[:first] + self.pattern.sub(self.replacement, data[first:]) if first else data


class ToMbox:
    """From canonical to mbox form."""

    def __init__(self):
        self.lines = Lines(QUOTE, rb"\1>")
        self.cr = b""

    def feed(self, chunk, last=False):
        chunk = self.cr + chunk
        self.cr = b"\r" if chunk.endswith(b"\r") and not last else b""
        if self.cr:
            chunk = chunk[:-1]
        return self.lines.feed(chunk.replace(b"\r\n", b"\n"), last)


class FromMbox:
    """From mbox to canonical form. Other programs may have left CRLF in the file, or a CR that
    stands alone, which no protocol may carry: it becomes a space."""

    def __init__(self):
        self.lines = Lines(UNQUOTE, rb"\1")
        self.cr = b""
        self.end = b"\n"

    def feed(self, block, last=False):
        block = self.cr + block
        self.cr = b"\r" if block.endswith(b"\r") and not last else b""
        if self.cr:
            block = block[:-1]
        text = self.lines.feed(block.replace(b"\r\n", b"\n").replace(b"\r", b" "), last)
        if text:
            self.end = text[-1:]
        if last and self.end != b"\n":
            text += b"\n"
        return text.replace(b"\n", b"\r\n")


def blocks(file, conversion):
    """What is left of a file, converted, a block at a time."""
    while block := file.read(BLOCK):
        yield conversion.feed(block)
    yield conversion.feed(b"", last=True)


class Top:
    """Cuts a canonical message behind the header, the empty line, and some lines of the body."""

    def __init__(self, lines):
        self.left = max(lines, 0)
        self.body = self.done = False
        self.tail = b"\r\n"  # a message may begin with the empty line

    def feed(self, chunk):
        at = 0
        if not self.body:
            joined = self.tail + chunk
            end = joined.find(b"\r\n\r\n")
            if end < 0:
                self.tail = joined[-3:]
                return chunk
            at = end + 4 - len(self.tail)
            self.body = True
        while self.left > 0:
            end = chunk.find(b"\n", at)
            if end < 0:
                return chunk
            at, self.left = end + 1, self.left - 1
        self.done = True
        return chunk[:at]
