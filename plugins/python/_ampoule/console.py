"""Standard output and error: kept up to a bound, the rest counted."""

import io
import sys


class Console:
    """What one call printed: at most `limit` bytes of UTF-8."""

    def __init__(self, limit: int):
        self.left = limit
        self.entries = []
        self.lost_lines = 0
        self.lost_bytes = 0

    def write(self, level: str, text: str) -> None:
        size = len(text) if text.isascii() else len(text.encode("utf-8", "backslashreplace"))
        if not self.left:
            self.lost_bytes += size
            self.lost_lines += text.count("\n")
            return
        if size > self.left:
            data = text[: self.left].encode("utf-8", "backslashreplace")[: self.left]
            kept = data.decode("utf-8", "ignore")
            self.lost_bytes += size - len(data)
            self.lost_lines += text.count("\n") - kept.count("\n")
            text, size, self.left = kept, self.left, 0
            if not text:
                return
        self.left -= size
        if not self.entries or self.entries[-1][0] != level:
            self.entries.append((level, io.StringIO()))
        self.entries[-1][1].write(text)

    def lines(self) -> list:
        """The entries, each all that went to one stream until the other was written to."""
        return [
            {"level": level, "text": printable(text.getvalue().removesuffix("\n"))}
            for level, text in self.entries
        ]

    def cut(self) -> list:
        if self.lost_lines:
            return [f"console: {self.lost_lines} more lines ({self.lost_bytes} bytes)"]
        return [f"console: {self.lost_bytes} more bytes"] if self.lost_bytes else []


class Stream(io.TextIOBase):
    """`sys.stdout` and `sys.stderr`."""

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = True
    mode = "w"

    def __init__(self, level: str, number: int):
        self.level = level
        self.number = number
        self.name = f"<{level}>"
        self.console = None
        self.buffer = Bytes(self)

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.console.write(self.level, text)
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.number

    def reconfigure(self, **options) -> None:
        pass

    def close(self) -> None:
        pass


class Bytes(io.RawIOBase):
    """The binary side of a stream; bytes that are not UTF-8 are shown escaped."""

    def __init__(self, stream: Stream):
        self.stream = stream

    def write(self, data) -> int:
        data = bytes(data)
        self.stream.write(data.decode("utf-8", "backslashreplace"))
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.stream.number

    def close(self) -> None:
        pass


class NoInput(io.TextIOBase):
    """`sys.stdin`: nobody is there to answer."""

    encoding = "utf-8"
    name = "<stdin>"

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0

    def readline(self, size=-1) -> str:
        raise EOFError(NO_INPUT)

    def read(self, size=-1) -> str:
        raise EOFError(NO_INPUT)

    def close(self) -> None:
        pass


NO_INPUT = "nobody can be asked for input here: pass values in the argument `inputs`"

STDOUT = Stream("stdout", 1)
STDERR = Stream("stderr", 2)
STDIN = NoInput()


def printable(text: str) -> str:
    """Lone surrogates, which UTF-8 has no bytes for, as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def begin(console: Console) -> None:
    """Gives the streams to a call, whatever an earlier one has done to them."""
    STDOUT.console = STDERR.console = console
    sys.stdout = sys.__stdout__ = STDOUT
    sys.stderr = sys.__stderr__ = STDERR
    sys.stdin = sys.__stdin__ = STDIN
