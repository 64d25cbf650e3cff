"""Messages go into an mbox file and come back, wherever their chunks end. Run in test/e2e."""

import random
import re
import unittest

import octets

PIECES = [b">", b"From ", b"F", b"ro", b"m", b" ", b"\r\n", b"x", b">>", b">From ", b"\r\nFrom ", b"\r\n>"]


def in_chunks(conversion, data, most):
    out = b""
    while data:
        cut = random.randint(1, most)
        out, data = out + conversion.feed(data[:cut]), data[cut:]
    return out + conversion.feed(b"", last=True)


class Octets(unittest.TestCase):
    def setUp(self):
        random.seed(1939)

    def messages(self):
        for _ in range(5000):
            yield b"".join(random.choices(PIECES, k=random.randint(0, 14))) + b"\r\n"

    def test_there_and_back(self):
        for message in self.messages():
            inside = in_chunks(octets.ToMbox(), message, random.choice([1, 2, 7, 100]))
            self.assertEqual(inside, re.sub(rb"(?m)^(>*From )", rb">\1", message.replace(b"\r\n", b"\n")))
            self.assertEqual(in_chunks(octets.FromMbox(), inside, random.choice([1, 2, 7, 100])), message)

    def test_what_others_have_written(self):
        for inside, canonical in [
            (b"", b""),
            (b"no end", b"no end\r\n"),
            (b"CRLF\r\nLF\n", b"CRLF\r\nLF\r\n"),
            (b"a CR\ralone\r", b"a CR alone \r\n"),
        ]:
            for most in (1, 2, 100):
                self.assertEqual(in_chunks(octets.FromMbox(), inside, most), canonical)

    def test_top(self):
        for message in self.messages():
            message = random.choice([b"", b"A: b\r\n", b"\r\n"]) + message
            wanted, lines = random.randint(0, 3), message.split(b"\r\n")[:-1]
            header = lines.index(b"") + 1 if b"" in lines else len(lines)
            top, out, rest = octets.Top(wanted), b"", message
            while rest and not top.done:
                out, rest = out + top.feed(rest[:3]), rest[3:]
            self.assertEqual(out, b"".join(line + b"\r\n" for line in lines[: header + wanted]))


if __name__ == "__main__":
    unittest.main()
