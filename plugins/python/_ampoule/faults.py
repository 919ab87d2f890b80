"""Exceptions of the user's program as errors, with places in the user's own code."""

import builtins
import itertools
import keyword
import linecache
import sys

from .results import short, text_of

# The most bytes of a message, frames of a stack, and exceptions that led to one.
MAX_MESSAGE = 2000
MAX_FRAMES = 20
MAX_CAUSES = 4

MAIN = "code"

# The lines of the user's sources by the name that their code objects bear.
sources = {}


def keep(name: str, source: str) -> None:
    """Remembers a source for tracebacks and `inspect.getsource`."""
    lines = source.splitlines(keepends=True)
    sources[name] = lines
    linecache.cache[name] = (len(source), None, lines, name)


def install() -> None:
    """Lets tracebacks look for no sources of the library, which are not there."""
    update = linecache.updatecache

    def updatecache(filename, module_globals=None):
        if filename.startswith(("/python/", "/0/", "<")):
            return []
        return update(filename, module_globals)

    linecache.updatecache = updatecache


def forget() -> None:
    for name in sources:
        linecache.cache.pop(name, None)
    sources.clear()


def describe(error: BaseException) -> tuple:
    """One line for a model, and details as a dictionary."""
    name = type(error).__name__
    frames = user_frames(error.__traceback__)
    message = text(error)
    if isinstance(error, SyntaxError) and error.filename in sources:
        place = (error.filename, error.lineno or 1, error.offset or 1)
    else:
        place = frames[-1][:3] if frames else None
    details = {"name": name, "message": message}
    if place:
        file, details["line"], column = place
        if file != MAIN:
            details["module"] = file
        if column:
            details["column"] = column
    details["stack"] = stack(error, frames)
    where = f" ({place_text(*place)})" if place else ""
    line = " ".join(f"{name}: {message}".split()) if message else name
    return short(line, MAX_MESSAGE) + where, details


def place_text(file: str, line: int, column) -> str:
    module = "" if file == MAIN else f"module {file}, "
    return f"{module}line {line}" + (f", column {column}" if column else "")


def text(error: BaseException) -> str:
    """The exception's own message, with advice where there is some to give."""
    try:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception as second:
        message = f"<no message: its __str__ raised {type(second).__name__}>"
    if isinstance(error, ModuleNotFoundError):
        message += advice(error.name or "")
    elif isinstance(error, KeyError) and len(error.args) == 1:
        message = text_of(message)
    elif isinstance(error, (NameError, AttributeError)):
        message += suggestion(error, message)
    elif isinstance(error, MemoryError):
        message = message or "out of memory"
    return short(message or "", MAX_MESSAGE)


def suggestion(error, message: str) -> str:
    """What the name may have been meant to be, as CPython suggests it."""
    name = getattr(error, "name", None)
    if not isinstance(name, str) or "Did you mean" in message or "there are" in message:
        return ""
    try:
        if isinstance(error, AttributeError):
            names = dir(error.obj)
        else:
            names = [*sys.modules["__main__"].__dict__, *dir(builtins)]
            trace = error.__traceback__
            while trace and trace.tb_next:
                trace = trace.tb_next
            if trace:
                names += trace.tb_frame.f_locals
            if name in sys.stdlib_module_names:
                return f". Did you forget to import {name}?"
        import difflib

        near = difflib.get_close_matches(name, [n for n in names if isinstance(n, str)][:5000], 1)
    except Exception:
        return ""
    return f". Did you mean: '{near[0]}'?" if near else ""


def advice(name: str) -> str:
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return " (this part of the standard library needs what there is not here)"
    return (
        ": the standard library is here, further modules come by the argument `modules` or from "
        "the folder of the workspace that the setting `packages` names; there is no pip"
    )


def user_frames(trace) -> list:
    """Frames of the user's code: file, line, column, function; outermost first."""
    frames = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename in sources:
            frames.append((code.co_filename, trace.tb_lineno, column(code, trace), code.co_name))
            if len(frames) > 50 * MAX_FRAMES:
                del frames[MAX_FRAMES : -MAX_FRAMES]
        trace = trace.tb_next
    return frames


def column(code, trace):
    """The column, from 1, of what was being worked on."""
    if trace.tb_lasti < 0:
        return None
    found = next(itertools.islice(code.co_positions(), trace.tb_lasti // 2, None), None)
    if found is None or found[2] is None or found[0] != trace.tb_lineno:
        return None
    # Offsets are in bytes of UTF-8.
    line = source_line(code.co_filename, trace.tb_lineno)
    return len(line.encode()[: found[2]].decode("utf-8", "ignore")) + 1


def source_line(file: str, number: int) -> str:
    lines = sources.get(file, ())
    return lines[number - 1].rstrip("\n") if 0 < number <= len(lines) else ""


def stack(error: BaseException, frames: list) -> str:
    """The frames as Python writes them, what led to the exception first."""
    parts = []
    seen = set()
    for _ in range(MAX_CAUSES):
        seen.add(id(error))
        if isinstance(error, SyntaxError) and error.filename in sources:
            frames = [*frames, (error.filename, error.lineno or 1, error.offset, "")]
        parts.append(frames_text(frames) + headline(error))
        link = "The direct cause was the exception above:"
        cause = error.__cause__
        if cause is None and not error.__suppress_context__:
            link = "While the exception above was handled:"
            cause = error.__context__
        if cause is None or id(cause) in seen:
            break
        parts.append(link)
        error, frames = cause, user_frames(cause.__traceback__)
    return "\n".join(reversed(parts))


def headline(error: BaseException) -> str:
    message = text(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def frames_text(frames: list) -> str:
    lines = []
    left_out = len(frames) - MAX_FRAMES
    for index, (file, line, _, function) in enumerate(frames):
        if left_out > 0 and MAX_FRAMES // 2 <= index < MAX_FRAMES // 2 + left_out:
            if index == MAX_FRAMES // 2:
                lines.append(f"  … {left_out} more frames")
            continue
        inside = f", in {function}" if function else ""
        lines.append(f'  File "{file}", line {line}{inside}')
        source = source_line(file, line).strip()
        if source:
            lines.append(f"    {short(source, 200)}")
    return "".join(line + "\n" for line in lines)


def is_name(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name)
