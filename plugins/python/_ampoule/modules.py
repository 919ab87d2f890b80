"""`import` of the sources in the argument `modules` and of packages in the workspace."""

import importlib.machinery
import json
import sys

from wit_world.imports import context

from . import faults, workspace

# The longest source that is imported from the workspace, in bytes.
MAX_SOURCE = 4 << 20

# Module name to source: what was given in this and, in a session, earlier calls.
given = {}


def give(modules: dict) -> None:
    """Makes sources importable; a module whose source has changed is imported anew."""
    for name, source in modules.items():
        if given.get(name) != source:
            given[name] = source
            sys.modules.pop(name, None)
            faults.keep(name, source)


class Given:
    """Finds and loads the sources that were given."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        is_package = any(other.startswith(f"{name}.") for other in given)
        if name not in given and not is_package:
            return None
        return importlib.machinery.ModuleSpec(name, Given, is_package=is_package)

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        exec(Given.get_code(module.__spec__.name), module.__dict__)

    @staticmethod
    def get_code(name):
        return compile(given.get(name, ""), name, "exec", dont_inherit=True)

    @staticmethod
    def get_source(name):
        return given.get(name)

    @staticmethod
    def is_package(name):
        return any(other.startswith(f"{name}.") for other in given)


class PackageLoader(importlib.machinery.SourceFileLoader):
    """Loads a source of the packages' folder through the grant to read files."""

    def get_data(self, path):
        size = workspace.stat(path).st_size
        if size > MAX_SOURCE:
            raise ImportError(f"{path} has {size} bytes; a module has at most {MAX_SOURCE}")
        return workspace.read(path)

    def path_stats(self, path):
        raise OSError("nothing is kept beside a source")


class Packages:
    """Finds packages in the folder of the workspace that the setting `packages` names."""

    # `None` until it is asked for; empty where there is no such setting.
    folder = None
    # Path to `"file"`, `"directory"` or `None`, as it was first seen.
    seen = {}

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if cls.folder is None:
            folder = json.loads(context.settings()).get("packages", "")
            cls.folder = f"/{folder.strip('/')}" if folder else ""
        if not cls.folder:
            return None
        for parent in path or [cls.folder]:
            place = f"{parent}/{name.rpartition('.')[2]}"
            kind = cls.kind(place)
            if kind == "directory":
                if cls.kind(f"{place}/__init__.py") == "file":
                    return spec(name, f"{place}/__init__.py", [place])
                found = importlib.machinery.ModuleSpec(name, None, is_package=True)
                found.submodule_search_locations = [place]
                return found
            if cls.kind(f"{place}.py") == "file":
                return spec(name, f"{place}.py", None)
        return None

    @classmethod
    def kind(cls, path):
        if path not in cls.seen:
            try:
                cls.seen[path] = workspace.kind(path)
            except OSError:
                cls.seen[path] = None
        return cls.seen[path]


def spec(name: str, path: str, places):
    loader = PackageLoader(name, path)
    return importlib.util.spec_from_file_location(
        name, path, loader=loader, submodule_search_locations=places
    )
