"""Lays the heap out so that a call writes to few pages of it, and those together.

A page of the snapshot that a call writes to is copied, and where they lie scattered the host cannot
keep the copies for the next call. So all objects are made immortal, as `None` is: CPython counts no
references to them. What is free between them is taken, so that what a call makes lies at the end.
And the code that each call runs, which counts how it runs, is put together.
"""

import gc
import opcode
import struct
import sys
import types

# Of CPython 3.14 in 32 bits: what the count of an immortal object is at first, and at least.
IMMORTAL = 5 << 28
LEAST = 1 << 30
# How far into `bytes` their data begins.
HEADER = bytes.__basicsize__ - 1
# What stays free at the end, filled with zeros.
ROOM = 4 << 20
# An instruction of functions that have run.
RAN = opcode._specialized_opmap["RESUME_CHECK"]
# Modules of which each call runs some.
OURS = ("_ampoule", "app", "componentize_py_", "wit_world")


def memory() -> tuple:
    """The whole memory as words, where the one at an object's address is its reference count; and
    what has to be held as long.

    Python has nothing that gives it. So a `bytearray` that begins at address 0 is laid out in a
    `bytes`, and a function returns it as a constant: by an index far beyond its constants.
    """
    size = (1 << 31) - 4
    fake = struct.pack("<7I", IMMORTAL, id(bytearray), size, size, 0, 0, 0)
    pointer = struct.pack("<I", id(fake) + HEADER)
    index = (id(pointer) + HEADER - id(()) - tuple.__basicsize__) // 4 % (1 << 30)
    names = ["RESUME", *["EXTENDED_ARG"] * 3, "LOAD_CONST", "RETURN_VALUE"]
    arguments = [0, *index.to_bytes(4), 0]
    pairs = zip(map(opcode.opmap.get, names), arguments)
    code = (lambda: None).__code__.replace(
        co_consts=(), co_code=bytes(byte for pair in pairs for byte in pair)
    )
    words = memoryview(types.FunctionType(code, {})()).cast("I")
    if words[id(None) >> 2] != sys.getrefcount(None):
        raise RuntimeError("this CPython lays objects out in another way")
    return words, fake


def make_immortal() -> None:
    """Makes all objects immortal that are there, and has the collector leave them alone."""
    found = gc.get_objects() + all_types(object)
    gc.freeze()
    words, _held = memory()
    for one in found:
        words[id(one) >> 2] |= IMMORTAL
    for one in found:
        for other in referents(one):
            if words[id(other) >> 2] < LEAST:
                words[id(other) >> 2] = IMMORTAL
                found.append(other)


def all_types(one: type) -> list:
    """The types below; the collector does not list those that are written in C."""
    below = type.__subclasses__(one)
    return below + [more for each in below for more in all_types(each)]


def referents(one) -> list:
    if isinstance(one, types.CodeType):
        return [one.co_consts, one.co_names, one.co_name, one.co_qualname, one.co_filename]
    return gc.get_referents(one)


def gather() -> None:
    """Puts the code of our functions that have run together."""
    before = []
    for one in gc.get_objects():
        if isinstance(one, types.FunctionType) and one.__module__.startswith(OURS):
            code = one.__code__
            if RAN in code._co_code_adaptive[::2]:
                # Held, lest the next one take its place.
                before.append(code)
                one.__code__ = code.replace()


def fill() -> None:
    """Takes for good what is free below the end of the heap, large pieces first, and fills it with
    zeros, which need not be in the snapshot."""
    words, _held = memory()
    end = id(bytes(ROOM))
    size = ROOM
    # There is only one `bytes` of length 0, and one of each of length 1.
    while size > 1:
        piece = bytes(size)
        if id(piece) < end:
            words[id(piece) >> 2] = IMMORTAL
        else:
            size -= size // 4 if size > 4096 else 1
