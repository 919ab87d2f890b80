"""Prepares the interpreter, at build time: what is done here lies in the snapshot."""

import os
import sys

from . import library, times, workspace

# Before anything else is imported, since modules keep what they find.
workspace.install()
times.install()
library.preload()

from . import databases, deep, faults, heap, loops, refused, web

refused.install()
loops.install()
web.install()
databases.install()
deep.install()
faults.install()


WARM = (
    "1 + 1",
    "import json\nx = [{'a': 1.5, 'b': 'x'}]\nprint(json.dumps(x))\nx",
    "def main(a, b=2):\n    return {'sum': a + b}",
    "1 / 0",
    "x =",
    "async def f():\n    import asyncio\n    await asyncio.sleep(1)\nawait f()",
)


def warm_up(programs) -> None:
    """Runs programs, so that what CPython makes at first use is there already."""
    import json

    from componentize_py_types import Err

    from . import program

    for code in programs:
        try:
            program.answer(json.dumps({"code": code, "inputs": {"a": 1}}))
        except Err:
            pass
    program.forget()


def freeze() -> None:
    """The last thing at build time: nothing is imported from a disk any more, the environment is
    empty, the collector leaves alone what is there, and a call writes to little of it."""
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
    warm_up(WARM * 3)
    gc.collect()
    heap.fill()
    heap.gather()
    # The new code is not specialised yet.
    warm_up(WARM * 3)
    heap.make_immortal()
    heap.fill()
    # What searching for all objects has displaced from CPython's caches.
    warm_up(WARM[:1] * 20)
    workspace.is_running = True
    gc.collect()
    gc.freeze()
    heap.fill()
