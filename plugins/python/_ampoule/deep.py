"""Deeply nested JSON is refused where CPython would overflow the native stack."""

import json
import re

# Nesting that the native stack of 8 MiB holds, with room.
MAX_DEPTH = 1500

strings = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
others = re.compile(r"[^][{}]+")
pairs = re.compile(r"\[\]|\{\}")

real_raw_decode = json.JSONDecoder.raw_decode


def raw_decode(self, s, idx=0):
    if s.count("[") + s.count("{") > MAX_DEPTH:
        check(s)
    return real_raw_decode(self, s, idx)


def check(text: str) -> None:
    """Takes innermost pairs of brackets away, a level at a time."""
    brackets = others.sub("", strings.sub("", text))
    for _ in range(MAX_DEPTH):
        fewer = pairs.sub("", brackets)
        if len(fewer) == len(brackets):
            # What is left does not fit together; so much of it may be nested.
            if len(fewer) <= MAX_DEPTH:
                return
            break
        brackets = fewer
    if brackets:
        raise RecursionError(f"the JSON text is nested more than {MAX_DEPTH} levels deep")


def install() -> None:
    json.JSONDecoder.raw_decode = raw_decode
