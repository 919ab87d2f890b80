"""The plugin's entry: everything is imported here, at build time, and lies in the snapshot."""

import _ampoule.setup  # First: it changes what the modules below pick up.

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import Error, Output

from _ampoule import program


class Tool(exports.Tool):
    def call(self, name: str, arguments: str) -> Output:
        if name != "python":
            raise Err(Error("not-found", f"there is no tool `{name}`", None, False, None, None))
        return program.answer(arguments)


_ampoule.setup.freeze()
