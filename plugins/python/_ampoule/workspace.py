"""`open`, `os` and what stands on them over the run's workspace, and over `/tmp` in memory.

Relative and absolute paths alike begin at the workspace; `/tmp` is a folder of the interpreter's
own memory. Empty folders exist in memory only, since the contract knows none.
"""

import builtins
import errno
import io
import os
import posixpath
import stat as modes
import weakref
import zlib

from componentize_py_types import Err
from wit_world.imports import files

from .errors import taken

# Bytes a file is read and written by, the most the host gives at once.
CHUNK = 1 << 20
# The first number of a file; below are the streams.
FIRST_NUMBER = 1000
# The most files open at once.
MAX_OPEN = 256

ERRNO = {
    "not-found": errno.ENOENT,
    "denied": errno.EACCES,
    "conflict": errno.EEXIST,
    "too-large": errno.EFBIG,
    "bad-arguments": errno.EINVAL,
    "unavailable": errno.ENXIO,
}


def failure(code: int, path: str, message: str = "") -> OSError:
    return OSError(code, message or os.strerror(code), path)


class Entry:
    """What is at a path."""

    __slots__ = ("name", "kind", "size", "modified")

    def __init__(self, name: str, kind: str, size: int, modified: float):
        self.name, self.kind, self.size, self.modified = name, kind, size, modified


class Contract:
    """The workspace, through the contract."""

    def stat(self, path: str) -> Entry:
        if path == "":
            return Entry("", "directory", 0, 0.0)
        return shown(asked(files.stat, path, path))

    def list(self, path: str) -> list:
        entries = []
        cursor = None
        while True:
            page = asked(files.list, path, path, cursor)
            entries += map(shown, page.entries)
            cursor = page.next
            if cursor is None:
                return entries

    def read(self, path: str, offset: int, length: int) -> bytes:
        return asked(files.read, path, path, offset, length)

    def write(self, path: str, data: bytes) -> None:
        asked(files.write, path, path, data[:CHUNK] if len(data) > CHUNK else data)
        for start in range(CHUNK, len(data), CHUNK):
            asked(files.append, path, path, data[start : start + CHUNK])
        note(path, True)

    def append(self, path: str, data: bytes) -> None:
        asked(files.append, path, path, data)
        note(path, True)

    def remove(self, path: str) -> None:
        asked(files.remove, path, path)
        note(path, False)

    def rename(self, path: str, target: str) -> None:
        asked(files.rename, path, path, target)
        note(path, False)
        note(target, True)


def shown(entry) -> Entry:
    name = entry.path.rpartition("/")[2]
    return Entry(name, entry.kind, entry.size, (entry.modified_ms or 0) / 1000)


def asked(function, path: str, *arguments):
    """Calls the host; its errors become those that `os` raises."""
    try:
        return function(*arguments)
    except Err as error:
        said = taken(error)
    raise failure(ERRNO.get(said.code, errno.EIO), path, said.message)


class Memory:
    """`/tmp`: files in memory, by path."""

    def __init__(self):
        self.files = {}

    def stat(self, path: str) -> Entry:
        data = self.files.get(path)
        name = path.rpartition("/")[2]
        if data is not None:
            return Entry(name, "file", len(data), 0.0)
        if path == "" or any(other.startswith(f"{path}/") for other in self.files):
            return Entry(name, "directory", 0, 0.0)
        raise failure(errno.ENOENT, path)

    def list(self, path: str) -> list:
        below = f"{path}/" if path else ""
        names = {
            other[len(below) :].partition("/")[0]
            for other in self.files
            if other.startswith(below)
        }
        return [self.stat(below + name) for name in sorted(names)]

    def read(self, path: str, offset: int, length: int) -> bytes:
        if path not in self.files:
            raise failure(errno.ENOENT, path)
        return bytes(self.files[path][offset : offset + length])

    def write(self, path: str, data: bytes) -> None:
        self.files[path] = bytearray(data)

    def append(self, path: str, data: bytes) -> None:
        self.files.setdefault(path, bytearray()).extend(data)

    def remove(self, path: str) -> None:
        if self.files.pop(path, None) is None:
            raise failure(errno.ENOENT, path)

    def rename(self, path: str, target: str) -> None:
        self.files[target] = self.files.pop(path)


contract = Contract()
memory = Memory()
# Whether there is a host: at build time there is not, and modules that look find nothing.
is_running = False
nothing_there = Memory()
# Empty folders, as whole paths without the first `/`.
folders = set()
# The folder that relative paths begin at.
here = "/"
# Open files by their number.
numbers = weakref.WeakValueDictionary()
next_number = FIRST_NUMBER
# Open files that only a number stands for.
only_numbers = {}
# What the call has written: path to `None`, in order.
written = {}
# Files that may have something not yet written.
unsaved = weakref.WeakSet()
# What `open` gave and is not yet closed, to be flushed at the end of the call.
handed_out = weakref.WeakSet()


def note(path: str, is_there: bool) -> None:
    if is_there:
        written[path] = None
    else:
        written.pop(path, None)


def resolve(path) -> str:
    """A path of any kind as the contract writes it: from the workspace's root, normal."""
    path = os.fspath(path)
    if isinstance(path, bytes):
        path = path.decode()
    if path == "":
        raise failure(errno.ENOENT, path)
    if "\0" in path:
        raise ValueError("embedded null byte")
    return posixpath.normpath(posixpath.join(here, path)).lstrip("/")


def backend(path: str) -> tuple:
    if path == "tmp" or path.startswith("tmp/"):
        return memory, path[4:]
    return (contract if is_running else nothing_there), path


def look(path: str) -> Entry:
    """What is at a resolved path, unsaved changes included."""
    save_all()
    if path in folders:
        return Entry(path.rpartition("/")[2], "directory", 0, 0.0)
    holder, inner = backend(path)
    try:
        return holder.stat(inner)
    except FileNotFoundError:
        below = f"{path}/"
        if any(folder.startswith(below) for folder in folders):
            return Entry(path.rpartition("/")[2], "directory", 0, 0.0)
        raise


def kind(path: str):
    try:
        return look(resolve(path)).kind
    except FileNotFoundError:
        return None


def save_all() -> None:
    for file in list(unsaved):
        file.save()


class File(io.RawIOBase):
    """A file, unbuffered. What is only read is read by parts; what is written to at any place is
    held in memory; what is only appended to goes straight on."""

    def __init__(self, path: str, reading: bool, writing: bool, appending: bool, fresh: bool):
        super().__init__()
        if len(numbers) >= MAX_OPEN:
            raise failure(errno.EMFILE, path)
        self.path = path
        self.holder, self.inner = backend(path)
        self.reading, self.writing, self.appending = reading, writing, appending
        self.position = 0
        # The whole content where it had to be loaded, else `None`.
        self.data = bytearray() if fresh else None
        self.size = 0
        self.dirty = False
        if fresh:
            self.holder.write(self.inner, b"")
        else:
            self.size = look(path).size
            if appending:
                self.position = self.size
        global next_number
        self.number = next_number
        next_number += 1
        numbers[self.number] = self

    @property
    def mode(self):
        if self.appending:
            return "ab+" if self.reading else "ab"
        return "rb+" if self.reading and self.writing else "rb" if self.reading else "wb"

    def readable(self) -> bool:
        return self.reading

    def writable(self) -> bool:
        return self.writing

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        self._checkClosed()
        return self.number

    def isatty(self) -> bool:
        return False

    def length(self) -> int:
        return self.size if self.data is None else len(self.data)

    def load(self) -> None:
        """Brings the content into memory, since a place in it is to be changed."""
        if self.data is None:
            self.data = bytearray(whole(self.holder, self.inner))

    def readinto(self, buffer) -> int:
        self._checkClosed()
        if not self.reading:
            raise io.UnsupportedOperation("not readable")
        view = memoryview(buffer).cast("B")
        if self.data is None:
            part = self.holder.read(self.inner, self.position, min(len(view), CHUNK))
        else:
            part = self.data[self.position : self.position + len(view)]
        view[: len(part)] = part
        self.position += len(part)
        return len(part)

    def write(self, data) -> int:
        self._checkClosed()
        if not self.writing:
            raise io.UnsupportedOperation("not writable")
        data = bytes(data)
        if self.appending:
            self.position = self.length()
        if self.position == self.length() and not self.dirty:
            if data:
                self.holder.append(self.inner, data)
            if self.data is not None and (self.reading or len(self.data) < CHUNK):
                self.data += data
            else:
                self.size = self.length() + len(data)
                self.data = None
            self.position += len(data)
            return len(data)
        self.load()
        if self.position > len(self.data):
            self.data.extend(bytes(self.position - len(self.data)))
        self.data[self.position : self.position + len(data)] = data
        self.position += len(data)
        self.dirty = True
        unsaved.add(self)
        return len(data)

    def save(self) -> None:
        unsaved.discard(self)
        if self.dirty:
            self.dirty = False
            self.holder.write(self.inner, bytes(self.data))

    def seek(self, offset: int, whence: int = 0) -> int:
        self._checkClosed()
        base = (0, self.position, self.length())[whence]
        if base + offset < 0:
            raise failure(errno.EINVAL, self.path)
        self.position = base + offset
        return self.position

    def tell(self) -> int:
        self._checkClosed()
        return self.position

    def truncate(self, size=None) -> int:
        self._checkClosed()
        if not self.writing:
            raise io.UnsupportedOperation("truncate")
        size = self.position if size is None else size
        if size == self.length():
            return size
        self.load()
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))
        self.dirty = True
        unsaved.add(self)
        return size

    def flush(self) -> None:
        super().flush()
        if self.dirty:
            self.save()

    def close(self) -> None:
        if not self.closed:
            try:
                super().close()
            finally:
                numbers.pop(self.number, None)
                only_numbers.pop(self.number, None)


def whole(holder, path: str) -> bytes:
    parts = []
    offset = 0
    while part := holder.read(path, offset, CHUNK):
        parts.append(part)
        offset += len(part)
        if len(part) < CHUNK and offset >= holder.stat(path).size:
            break
    return b"".join(parts)


def read(path: str) -> bytes:
    """The whole of a file."""
    save_all()
    return whole(*backend(resolve(path)))


def write(path: str, data: bytes) -> None:
    """Replaces a file."""
    holder, inner = backend(resolve(path))
    holder.write(inner, data)


# ---- what is put in the place of Python's own functions


def open_raw(path, flags: int, mode: int = 0o777) -> File:
    name = resolve(path)
    writing = flags & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR)
    reading = flags & os.O_ACCMODE in (os.O_RDONLY, os.O_RDWR)
    try:
        there = look(name)
    except FileNotFoundError:
        there = None
    if there is not None and there.kind == "directory":
        raise failure(errno.EISDIR, os.fspath(path))
    if there is None and not flags & os.O_CREAT:
        raise failure(errno.ENOENT, os.fspath(path))
    if there is not None and flags & os.O_CREAT and flags & os.O_EXCL:
        raise failure(errno.EEXIST, os.fspath(path))
    if there is None:
        above = posixpath.dirname(name)
        if above and kind("/" + above) is None:
            raise failure(errno.ENOENT, os.fspath(path))
    fresh = writing and (there is None or bool(flags & os.O_TRUNC))
    file = File(name, reading, writing, bool(flags & os.O_APPEND), fresh)
    file.name = path
    return file


FLAGS = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "x": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}


def open(
    file,
    mode="r",
    buffering=-1,
    encoding=None,
    errors=None,
    newline=None,
    closefd=True,
    opener=None,
):
    """As Python's own `open`, over the workspace."""
    if not isinstance(mode, str):
        raise TypeError(f"invalid mode: {mode!r}")
    kinds = set(mode)
    if len(kinds) < len(mode) or kinds - set("axrwb+t") or len(kinds & set("axrw")) != 1:
        raise ValueError(f"invalid mode: {mode!r}")
    binary = "b" in kinds
    if binary and "t" in kinds:
        raise ValueError("can't have text and binary mode at once")
    for option, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
        if binary and value is not None:
            raise ValueError(f"binary mode doesn't take an {option} argument")
    flags = FLAGS[next(iter(kinds & set("axrw")))]
    if "+" in kinds:
        flags = flags & ~os.O_ACCMODE | os.O_RDWR
    if isinstance(file, int):
        raw = numbered(file)
        if closefd:
            only_numbers.pop(file, None)
        if not hasattr(raw, "name"):
            raw.name = file
    elif opener is not None:
        raw = numbered(opener(file, flags))
        only_numbers.pop(raw.number, None)
        raw.name = file
    else:
        raw = open_raw(file, flags)
    if buffering == 0:
        if not binary:
            raise ValueError("can't have unbuffered text I/O")
        return raw
    size = buffering if buffering > 1 else CHUNK if raw.writing or raw.size >= CHUNK else 1 << 16
    if "+" in kinds:
        buffer = io.BufferedRandom(raw, size)
    elif raw.writing:
        buffer = io.BufferedWriter(raw, size)
    else:
        buffer = io.BufferedReader(raw, size)
    if binary:
        handed_out.add(buffer)
        return buffer
    text = io.TextIOWrapper(buffer, encoding or "utf-8", errors, newline, buffering == 1)
    text.mode = mode
    handed_out.add(text)
    return text


def numbered(number: int) -> File:
    file = numbers.get(number)
    if file is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return file


def open_number(path, flags, mode=0o777, *, dir_fd=None) -> int:
    file = open_raw(path, flags, mode)
    only_numbers[file.number] = file
    return file.number


def close_number(number: int) -> None:
    numbered(number).close()


def read_number(number: int, count: int) -> bytes:
    return numbered(number).read(count)


def write_number(number: int, data) -> int:
    from . import console

    if number in (1, 2):
        return (console.STDOUT if number == 1 else console.STDERR).buffer.write(data)
    return numbered(number).write(data)


def seek_number(number: int, offset: int, whence: int) -> int:
    return numbered(number).seek(offset, whence)


def truncate(path, length: int) -> None:
    if isinstance(path, int):
        file = numbered(path)
        file.truncate(length)
        file.save()
        return
    with open(path, "r+b", 0) as file:
        file.truncate(length)


def stat_result(entry: Entry, path: str) -> os.stat_result:
    folder = entry.kind == "directory"
    mode = modes.S_IFDIR | 0o755 if folder else modes.S_IFREG | 0o644
    number = zlib.crc32(path.encode("utf-8", "replace")) + 1
    seconds = int(entry.modified)
    nanoseconds = int(entry.modified * 1000) * 1_000_000
    whole_seconds = (seconds, seconds, seconds)
    fractions = (entry.modified,) * 3
    return os.stat_result(
        (mode, number, 1, 1, 0, 0, entry.size)
        + whole_seconds
        + fractions
        + (nanoseconds,) * 3
    )


def stat(path, *, dir_fd=None, follow_symlinks=True) -> os.stat_result:
    if isinstance(path, int):
        if path in (0, 1, 2):
            return os.stat_result((modes.S_IFCHR | 0o600, path, 2, 1, 0, 0, 0, 0, 0, 0))
        file = numbered(path)
        file.flush()
        return stat_result(Entry("", "file", file.length(), 0.0), file.path)
    name = resolve(path)
    try:
        return stat_result(look(name), name)
    except OSError as error:
        raise failure(error.errno, path, error.strerror) from None


def access(path, mode, **options) -> bool:
    try:
        stat(path)
    except OSError:
        return False
    return True


def below(path: str) -> list:
    """The entries of a folder: those that are there and those that are empty folders."""
    if look(path).kind != "directory":
        raise failure(errno.ENOTDIR, path)
    holder, inner = backend(path)
    try:
        entries = {entry.name: entry for entry in holder.list(inner)}
    except FileNotFoundError:
        entries = {}
    above = f"{path}/" if path else ""
    for folder in folders:
        if folder.startswith(above):
            name = folder[len(above) :].partition("/")[0]
            entries.setdefault(name, Entry(name, "directory", 0, 0.0))
    return list(entries.values())


def listdir(path=".") -> list:
    names = [entry.name for entry in below(resolve(path))]
    return [name.encode() for name in names] if isinstance(path, bytes) else names


class DirEntry:
    """As `os.DirEntry`."""

    __slots__ = ("name", "path", "_entry", "_place")

    def __init__(self, folder, place: str, entry: Entry):
        name = entry.name.encode() if isinstance(folder, bytes) else entry.name
        self.name, self.path = name, posixpath.join(folder, name)
        self._entry, self._place = entry, f"{place}/{entry.name}" if place else entry.name

    def is_dir(self, *, follow_symlinks=True) -> bool:
        return self._entry.kind == "directory"

    def is_file(self, *, follow_symlinks=True) -> bool:
        return self._entry.kind == "file"

    def is_symlink(self) -> bool:
        return False

    def is_junction(self) -> bool:
        return False

    def stat(self, *, follow_symlinks=True) -> os.stat_result:
        return stat_result(self._entry, self._place)

    def inode(self) -> int:
        return self.stat().st_ino

    def __fspath__(self):
        return self.path

    def __repr__(self):
        return f"<DirEntry {self.name!r}>"


class scandir:
    """As `os.scandir`."""

    def __init__(self, path="."):
        folder = os.fspath(path)
        place = resolve(folder)
        self.entries = iter([DirEntry(folder, place, entry) for entry in below(place)])

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.entries)

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.close()

    def close(self) -> None:
        self.entries = iter(())


def mkdir(path, mode=0o777, *, dir_fd=None) -> None:
    name = resolve(path)
    if name == "" or kind(path) is not None:
        raise failure(errno.EEXIST, path)
    above = posixpath.dirname(name)
    if above and kind("/" + above) != "directory":
        raise failure(errno.ENOENT, path)
    folders.add(name)


def remove(path, *, dir_fd=None) -> None:
    name = resolve(path)
    if look(name).kind == "directory":
        raise failure(errno.EISDIR, path)
    holder, inner = backend(name)
    holder.remove(inner)
    keep_folder(name)


def rmdir(path, *, dir_fd=None) -> None:
    name = resolve(path)
    if look(name).kind != "directory":
        raise failure(errno.ENOTDIR, path)
    if below(name):
        raise failure(errno.ENOTEMPTY, path)
    if name in folders:
        folders.discard(name)
        try:
            backend(name)[0].stat(backend(name)[1])
        except OSError:
            return
    if name not in ("", "tmp"):
        holder, inner = backend(name)
        holder.remove(inner)


def keep_folder(name: str) -> None:
    """A folder lives on when its last file goes."""
    above = posixpath.dirname(name)
    if above:
        folders.add(above)


def rename(src, dst, *, src_dir_fd=None, dst_dir_fd=None) -> None:
    source, target = resolve(src), resolve(dst)
    save_all()
    entry = look(source)
    if source == target:
        return
    if entry.kind == "directory":
        if target.startswith(f"{source}/"):
            raise failure(errno.EINVAL, src)
        if kind("/" + target) is not None:
            rmdir(dst)
        folders.add(target)
        for child in below(source):
            rename(f"/{source}/{child.name}", f"/{target}/{child.name}")
        folders.discard(source)
        return
    if kind("/" + target) == "directory":
        raise failure(errno.EISDIR, dst)
    (holder, inner), (other, place) = backend(source), backend(target)
    if kind("/" + target) is not None:
        other.remove(place)
    if holder is other:
        holder.rename(inner, place)
    else:
        other.write(place, whole(holder, inner))
        holder.remove(inner)
    keep_folder(source)


def getcwd() -> str:
    return here


def chdir(path) -> None:
    global here
    name = resolve(path)
    if look(name).kind != "directory":
        raise failure(errno.ENOTDIR, path)
    here = f"/{name}"


def nothing(*arguments, **options) -> None:
    """Times, owners and modes of files are not kept."""


def no_links(*arguments, **options):
    raise OSError(errno.ENOTSUP, "there are no links in the workspace")


def not_a_link(path, *, dir_fd=None):
    look(resolve(path))
    raise failure(errno.EINVAL, path)


def install() -> None:
    """Puts all this in the place of Python's own. Before anything else is imported, since some
    modules keep what they find."""
    # Static, since a class that takes one of them for an attribute means no method.
    builtins.open = io.open = staticmethod(open)
    replaced = {
        "access": access,
        "chdir": chdir,
        "chmod": nothing,
        "close": close_number,
        "fstat": stat,
        "fsync": nothing,
        "ftruncate": truncate,
        "getcwd": getcwd,
        "getcwdb": lambda: here.encode(),
        "isatty": lambda number: False,
        "link": no_links,
        "listdir": listdir,
        "lseek": seek_number,
        "lstat": stat,
        "mkdir": mkdir,
        "open": open_number,
        "read": read_number,
        "readlink": not_a_link,
        "remove": remove,
        "rename": rename,
        "replace": rename,
        "rmdir": rmdir,
        "scandir": scandir,
        "stat": stat,
        "symlink": no_links,
        "truncate": truncate,
        "unlink": remove,
        "utime": nothing,
        "write": write_number,
    }
    for name, function in replaced.items():
        setattr(os, name, staticmethod(function))
    for names in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        names.clear()
    os.supports_follow_symlinks.add(os.stat)


def begin() -> None:
    written.clear()


def end() -> None:
    """Writes what is still held back by files that were not closed."""
    for file in list(handed_out):
        if not file.closed and file.writable():
            file.flush()
    save_all()
