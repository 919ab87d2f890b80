"""Prepares the interpreter, at build time: what is done here lies in the snapshot."""

import os
import sys

from . import library, times, workspace

# Before anything else is imported, since modules keep what they find.
workspace.install()
times.install()
library.preload()

from . import databases, deep, faults, loops, refused, web

refused.install()
loops.install()
web.install()
databases.install()
deep.install()
faults.install()


def clean() -> None:
    """Overwrites with zeros what is free, which need not be in the snapshot then."""
    for size in (1 << 20, 1 << 16, 1 << 12):
        held = [bytes(size) for _ in range((8 << 20) // size)]
        del held


WARM = (
    "1 + 1",
    "import json\nx = [{'a': 1.5, 'b': 'x'}]\nprint(json.dumps(x))\nx",
    "def main(a, b=2):\n    return {'sum': a + b}",
    "1 / 0",
    "x =",
    "async def f():\n    import asyncio\n    await asyncio.sleep(1)\nawait f()",
)


def warm_up() -> None:
    """Runs some programs, so that what CPython makes at first use is there already."""
    import json

    from componentize_py_types import Err

    from . import program

    for code in WARM * 3:
        try:
            program.answer(json.dumps({"code": code, "inputs": {"a": 1}}))
        except Err:
            pass
    program.forget()


def freeze() -> None:
    """The last thing at build time: nothing is imported from a disk any more, the environment is
    empty, and the collector leaves alone what is there."""
    import gc

    from . import modules

    library.collect("/python")
    library.collect_zones()
    sys.meta_path[:] = [
        *(finder for finder in sys.meta_path if finder.__name__ != "PathFinder"),
        modules.Given,
        library.Seeded,
        library.Library,
        modules.Packages,
    ]
    sys.path[:] = []
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    sys.dont_write_bytecode = True
    os.environ.clear()
    library.Seeded.keep()
    warm_up()
    workspace.is_running = True
    gc.collect()
    clean()
    gc.freeze()
