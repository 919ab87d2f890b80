"""Values as JSON, cut at a number of bytes, and what was cut."""

import array
import base64
import collections
import dataclasses
import datetime
import enum
import json
import math
import types

from .console import printable

# The host reads JSON to a depth of 100; a result lies in an object.
MAX_DEPTH = 90
# Integers beyond this are strings (the contract).
MAX_INTEGER = 1 << 53
# The most remarks on what was cut.
MAX_CUTS = 20
# The most bytes of an object's own text.
MAX_TEXT = 2000

quoted = json.encoder.encode_basestring
float_text = float.__repr__
int_text = int.__repr__

Views = (type({}.keys()), type({}.values()), type({}.items()))


class Writer:
    """Writes one value as JSON into at most about `limit` bytes."""

    def __init__(self, name: str, limit: int):
        self.left = limit
        self.parts = []
        self.cuts = []
        self.above = set()
        self.trail = [name]

    def write(self, value) -> str:
        self.value(value)
        return "".join(self.parts)

    def put(self, text: str) -> None:
        self.parts.append(text)
        self.left -= len(text)

    def note(self, remark: str) -> None:
        if len(self.cuts) < MAX_CUTS:
            self.cuts.append(f"{self.place()}: {remark}")
        elif len(self.cuts) == MAX_CUTS:
            self.cuts.append("and more")

    def place(self) -> str:
        text = self.trail[0]
        for step in self.trail[1:]:
            text += f"[{step}]" if isinstance(step, int) else f".{short(step)}"
        return short(printable(text), 120)

    def value(self, value) -> None:
        kind = type(value)
        if kind is str:
            self.string(value)
        elif value is None:
            self.put("null")
        elif kind is bool:
            self.put("true" if value else "false")
        elif kind is int:
            self.integer(value)
        elif kind is float:
            self.number(value)
        elif kind is list or kind is tuple:
            self.entries(value, list.__len__(value) if kind is list else len(value))
        elif kind is dict:
            self.pairs(value)
        else:
            self.other(value)

    def string(self, text: str) -> None:
        most = max(self.left, 0)
        kept = printable(text[:most])
        cut = len(text) > most
        if not kept.isascii() and len(kept.encode()) > most:
            kept = kept.encode()[:most].decode("utf-8", "ignore")
            cut = True
        if cut:
            self.note(f"a text of {len(text)} characters, the first {len(kept)} are shown")
        kept = quoted(kept)
        self.parts.append(kept)
        self.left -= len(kept) if kept.isascii() else len(kept.encode())

    def integer(self, value: int) -> None:
        if -MAX_INTEGER <= value <= MAX_INTEGER:
            self.put(int_text(value))
            return
        try:
            self.string(int_text(value))
        except ValueError:
            self.put(f'"an integer of {value.bit_length()} bits"')
            self.note("the integer is too long to be written out")

    def number(self, value: float) -> None:
        if math.isfinite(value):
            self.put(float_text(value))
        elif value != value:
            self.put('"NaN"')
        else:
            self.put('"Infinity"' if value > 0 else '"-Infinity"')

    def enter(self, value) -> bool:
        """Whether a container may be gone into; else what is written instead."""
        if id(value) in self.above:
            self.put('"[Circular]"')
            return False
        if len(self.above) >= MAX_DEPTH - 1:
            self.put('"[…]"')
            self.note("deeper values are not shown")
            return False
        self.above.add(id(value))
        return True

    def entries(self, values, count: int) -> None:
        if not self.enter(values):
            return
        self.put("[")
        shown = 0
        for item in values:
            if self.left <= 0:
                self.note(f"{count} entries, the first {shown} are shown")
                break
            if shown:
                self.put(",")
            self.trail.append(shown)
            self.value(item)
            self.trail.pop()
            shown += 1
        self.put("]")
        self.above.discard(id(values))

    def pairs(self, values: dict) -> None:
        if not self.enter(values):
            return
        self.put("{")
        shown = 0
        seen = set()
        for key, item in dict.items(values):
            if self.left <= 0:
                self.note(f"{dict.__len__(values)} keys, the first {shown} are shown")
                break
            key = key if type(key) is str else key_text(key)
            if key in seen:
                self.note(f"the key {short(key)} stands more than once; the first is shown")
                continue
            seen.add(key)
            if shown:
                self.put(",")
            self.trail.append(key)
            self.string(key)
            self.put(":")
            self.value(item)
            self.trail.pop()
            shown += 1
        self.put("}")
        self.above.discard(id(values))

    def other(self, value) -> None:
        """Everything but the plain types, subclasses of which come here too."""
        if isinstance(value, enum.Enum):
            inner = value._value_
            if isinstance(inner, (str, int, float)):
                self.value(inner)
            else:
                self.string(text_of(value))
        elif isinstance(value, str):
            self.string(str.__str__(value))
        elif isinstance(value, int):
            self.integer(int.__add__(value, 0))
        elif isinstance(value, float):
            self.number(float.__add__(value, 0.0))
        elif isinstance(value, dict):
            self.pairs(value)
        elif isinstance(value, (list, tuple, set, frozenset, collections.deque)):
            self.entries(value, len(value))
        elif isinstance(value, Views) or type(value) is range or type(value) is array.array:
            self.entries(value, len(value))
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self.binary(value)
        elif isinstance(value, (datetime.date, datetime.time)):
            self.string(value.isoformat())
        elif isinstance(value, (collections.UserDict, types.MappingProxyType)):
            self.pairs(dict(value))
        elif isinstance(value, collections.UserList):
            self.entries(value.data, len(value.data))
        elif isinstance(value, types.SimpleNamespace):
            self.pairs(vars(value))
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            self.pairs({name: getattr(value, name, None) for name in names})
        else:
            self.string(text_of(value))

    def binary(self, value) -> None:
        size = value.nbytes if type(value) is memoryview else len(value)
        most = max(0, self.left - 16) // 4 * 3
        part = memoryview(value).cast("B")[:most] if size > most and size else value
        if size > most:
            self.note(f"{size} bytes, the first {most} are shown")
        text = base64.b64encode(part).decode()
        self.put('{"base64":"')
        self.put(text)
        self.put('"}')


def text_of(value) -> str:
    """An object's own text, whatever its methods do."""
    try:
        text = repr(value) if isinstance(value, BaseException) else str(value)
    except Exception as error:
        return f"<{type(value).__name__} without a text: {type(error).__name__}>"
    return short(text, MAX_TEXT)


def key_text(key) -> str:
    """A key that is no string, as JSON would write it."""
    if key is None:
        return "null"
    if key is True or key is False:
        return "true" if key else "false"
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, (datetime.date, datetime.time)):
        return key.isoformat()
    return text_of(key)


def short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[:most] + "…"
