"""The standard library and the time zones, read at build time and kept in memory: where a call
runs there is no disk to import from.

What most programs use is imported at build time (`PRELOADED`). The rest lies here as compressed
code objects and is imported when it is asked for.
"""

import importlib
import importlib.machinery
import io
import marshal
import sys
import zlib

# Taken before `workspace` puts its own in their place.
from io import open_code
from os import listdir

# Folders and modules that make no sense here: graphical programs, installers, what needs
# processes, threads or C code that is not in this build.
LEFT_OUT = {
    "__hello__", "__phello__", "_aix_support", "_android_support", "_apple_support",
    "_ios_support", "_osx_support", "antigravity", "bz2", "ctypes", "curses",
    "ensurepip", "idlelib", "lzma", "multiprocessing", "pty", "pydoc_data", "site-packages",
    "ssl", "test", "this", "tkinter", "tty", "turtle", "turtledemo", "venv", "webbrowser",
    "zipapp",
}  # fmt: skip

PRELOADED = """
    abc argparse array ast asyncio base64 bisect calendar cmath codecs collections
    collections.abc colorsys concurrent.futures configparser contextlib contextvars copy csv
    dataclasses datetime decimal difflib email.message email.parser encodings.ascii
    encodings.idna encodings.latin_1 encodings.utf_8_sig encodings.utf_16 encodings.cp1252
    enum fileinput fnmatch fractions functools gc getopt glob graphlib gzip hashlib heapq hmac
    html html.entities html.parser http http.client http.cookies importlib.abc
    importlib.resources importlib.util inspect io ipaddress itertools json keyword linecache
    locale logging marshal math mimetypes numbers operator os pathlib pickle pkgutil platform
    pprint queue quopri random re reprlib sched secrets shelve shlex shutil signal socket
    sqlite3 stat statistics string string.templatelib struct subprocess symtable tarfile
    tempfile textwrap threading time timeit token tokenize tomllib traceback types typing
    unicodedata urllib.error urllib.parse urllib.request uuid warnings weakref
    xml.dom.minidom xml.etree.ElementTree xml.sax.saxutils zipfile zlib zoneinfo
    _strptime _pydecimal _colorize
""".split()

# Name of a module to whether it is a package and its code.
codes = {}
# Name of a time zone to its file.
zones = {}


def collect(folder: str, prefix: str = "") -> None:
    """Compiles everything below a folder of the standard library."""
    for entry in sorted(listdir(folder)):
        name, dot, ending = entry.partition(".")
        path = f"{folder}/{entry}"
        if (not prefix and name in LEFT_OUT) or entry in ("__pycache__", "tests"):
            continue
        if dot and ending == "py":
            if name == "__init__":
                keep(prefix.removesuffix("."), True, path)
            else:
                keep(prefix + name, False, path)
        elif not dot and name.isidentifier():
            collect(path, f"{prefix}{name}.")


def keep(name: str, is_package: bool, path: str) -> None:
    with open_code(path) as file:
        code = compile(file.read(), f"<{name}>", "exec", dont_inherit=True)
    codes[name] = (is_package, zlib.compress(marshal.dumps(code), 9))


def collect_zones() -> None:
    import tzdata

    folder = tzdata.__path__[0]
    with open_code(f"{folder}/zones") as file:
        names = file.read().decode().split()
    for name in names:
        with open_code(f"{folder}/zoneinfo/{name}") as file:
            zones[name] = file.read()
    sys.modules.pop("tzdata")


class Library(importlib.machinery.FrozenImporter):
    """Finds and loads what `collect` has kept."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        found = codes.get(name)
        if found is None:
            return None
        return importlib.machinery.ModuleSpec(
            name, Library, origin="kept in memory", is_package=found[0]
        )

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        exec(Library.get_code(module.__spec__.name), module.__dict__)

    @staticmethod
    def get_code(name):
        return marshal.loads(zlib.decompress(codes[name][1]))

    @staticmethod
    def get_source(name):
        return None

    @staticmethod
    def is_package(name):
        return codes[name][0]

    @staticmethod
    def module_repr(module):
        return f"<module {module.__name__!r} (standard library)>"


class Seeded:
    """Loads `random`, which a snapshot copies with its state, with a seed of its own: at its first
    import. `statistics`, which uses it, waits with it."""

    modules = {}

    @classmethod
    def keep(cls) -> None:
        for name in ("random", "statistics"):
            cls.modules[name] = sys.modules.pop(name)

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in cls.modules:
            return None
        return importlib.machinery.ModuleSpec(name, cls, origin="kept in memory")

    @classmethod
    def create_module(cls, spec):
        return cls.modules[spec.name]

    @classmethod
    def exec_module(cls, module):
        if module.__name__ == "random":
            module.seed(int.from_bytes(module._urandom(32)))
        else:
            importlib.import_module("random")


def load_zone(key: str):
    """Stands in for `zoneinfo._common.load_tzdata`."""
    import zoneinfo

    if key not in zones:
        raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}")
    return io.BytesIO(zones[key])


def preload() -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    import mimetypes
    import zoneinfo
    from zoneinfo import _common, _tzpath

    # Else it looks for files of an operating system at its first use.
    mimetypes.init(files=[])

    zoneinfo.reset_tzpath(to=())
    _common.load_tzdata = load_zone
    _tzpath.available_timezones = zoneinfo.available_timezones = lambda: set(zones)
