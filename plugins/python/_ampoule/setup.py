"""Prepares the interpreter, at build time: what is done here lies in the snapshot."""

import os
import sys

from . import workspace

# Read before the functions that read are replaced.
from . import library

library.collect("/python")
for folder in sys.path:
    if os.path.exists(f"{folder}/tzdata/zones"):
        library.collect_zones(f"{folder}/tzdata")
        break
else:
    raise ImportError("tzdata is missing (requirements.txt)")

workspace.install()
library.preload()

from . import databases, loops, refused, times, web

times.install()
refused.install()
loops.install()
web.install()
databases.install()


def freeze() -> None:
    """The last thing at build time: nothing is imported from a disk any more, the environment is
    empty, and the collector leaves alone what is there."""
    import gc
    import types

    from . import modules

    sys.meta_path[:] = [
        *(finder for finder in sys.meta_path if finder.__name__ != "PathFinder"),
        modules.Given,
        library.Library,
        modules.Packages,
    ]
    sys.path[:] = []
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    sys.dont_write_bytecode = True
    sys.argv[:] = ["code"]
    os.environ.clear()
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.modules["__main__"].__builtins__ = __builtins__
    workspace.is_running = True
    gc.collect()
    gc.freeze()
