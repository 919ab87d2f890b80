"""Declarations of the tools as a stub (`.pyi`), from their schemas."""

import json
import re

from .codemode import in_python

# The most classes, the deepest nesting, and the longest description.
MAX_CLASSES = 400
MAX_DEPTH = 8
MAX_TEXT = 2000

SIMPLE = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
}

HEAD = '''\
from typing import Any, Literal, NotRequired, Required, TypedDict

class ToolError(Exception):
    code: str
    message: str
    retryable: bool
    data: Any

Blob = TypedDict("Blob", {"$blob": str})

class Base64(TypedDict):
    base64: str

class Started[T]:
    """A call under way: `await` it, or give it to `tools.gather`."""
    def result(self) -> T: ...
    def __await__(self): ...
'''


class Writer:
    """Writes types, one class for each object."""

    def __init__(self):
        self.classes = []
        self.names = set()

    def type(self, schema, name: str, root, depth: int = 0) -> str:
        if not isinstance(schema, dict) or depth > MAX_DEPTH:
            return "Any"
        if "$ref" in schema:
            return self.type(referred(schema["$ref"], root), name, root, depth + 1)
        if "const" in schema:
            return literal([schema["const"]])
        if isinstance(schema.get("enum"), list):
            return literal(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if isinstance(schema.get(key), list):
                return union(self.type(one, name, root, depth + 1) for one in schema[key])
        kind = schema.get("type")
        if isinstance(kind, list):
            return union(self.type({**schema, "type": one}, name, root, depth + 1) for one in kind)
        if kind == "array":
            return f"list[{self.type(schema.get('items'), name + 'Item', root, depth + 1)}]"
        if kind == "object" or "properties" in schema:
            return self.object(schema, name, root, depth)
        return SIMPLE.get(kind, "Any")

    def object(self, schema: dict, name: str, root, depth: int) -> str:
        fields = schema.get("properties")
        if not isinstance(fields, dict) or not fields or len(self.names) >= MAX_CLASSES:
            values = schema.get("additionalProperties")
            inner = self.type(values, name + "Value", root, depth + 1)
            return f"dict[str, {inner}]"
        if list(fields) == ["$blob"]:
            return "Blob"
        if list(fields) == ["base64"]:
            return "Base64"
        while name in self.names:
            name += "_"
        self.names.add(name)
        required = schema.get("required", ())
        parts = []
        for field, inner in fields.items():
            text = self.type(inner, name + camel(field), root, depth + 1)
            text = text if field in required else f"NotRequired[{text}]"
            parts.append((field, text, described(inner)))
        if all(field.isidentifier() for field in fields):
            lines = [f"class {name}(TypedDict):"]
            for field, text, about in parts:
                lines.append(f"    {field}: {text}")
                if about:
                    lines.append(f"    {quoted(about)}")
        else:
            pairs = ", ".join(f"{json.dumps(field)}: {text}" for field, text, _ in parts)
            lines = [f"{name} = TypedDict({json.dumps(name)}, {{{pairs}}})"]
        self.classes.append("\n".join(lines))
        return name


def referred(reference, root):
    """What a reference within the same schema names."""
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return None
    found = root
    for step in reference[2:].split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        found = found.get(step) if isinstance(found, dict) else None
    return found


def literal(values) -> str:
    simple = [value for value in values if value is None or isinstance(value, (str, int, bool))]
    if len(simple) < len(values) or not simple:
        return "Any"
    return f"Literal[{', '.join(map(repr, simple))}]"


def union(texts) -> str:
    texts = list(dict.fromkeys(texts))
    literals = [text[8:-1] for text in texts if text.startswith("Literal[")]
    if len(literals) > 1:
        texts = [f"Literal[{', '.join(literals)}]"] + [t for t in texts if t[:8] != "Literal["]
    return "Any" if "Any" in texts or not texts else " | ".join(texts)


def camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^0-9A-Za-z]+", name))


def described(schema) -> str:
    text = schema.get("description") if isinstance(schema, dict) else None
    return text[:MAX_TEXT] if isinstance(text, str) else ""


def quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'"""{text}{" " if text.endswith(chr(34)) else ""}"""'


def declare(tools) -> str:
    writer = Writer()
    functions = []
    for tool in tools:
        name = in_python(tool.id)
        functions.append(function(writer, tool, name))
    parts = [HEAD, *(text + "\n" for text in writer.classes), *functions]
    parts.append(
        "class tools:\n"
        + "".join(f"    {in_python(tool.id)}: _{camel(tool.id)}\n" for tool in tools)
        + "    @staticmethod\n"
        + "    def gather(*calls: Started[Any], return_exceptions: bool = False) -> list[Any]: ..."
    )
    return "\n".join(parts) + "\n"


def function(writer: Writer, tool, name: str) -> str:
    """A tool as a class: it is called, started, or asked for all that it answers."""
    schema = tool.input_schema
    fields = schema.get("properties", {}) if isinstance(schema, dict) else {}
    required = schema.get("required", []) if isinstance(schema, dict) else []
    parts = []
    for field in sorted(fields, key=lambda field: field not in required):
        text = writer.type(fields[field], camel(tool.id) + camel(field), schema)
        if field.isidentifier():
            parts.append(f"{field}: {text}" + ("" if field in required else " = ..."))
    answer = writer.type(tool.output_schema, camel(tool.id) + "Answer", tool.output_schema)
    signature = f"self, *, {', '.join(parts)}" if parts else "self, **arguments: Any"
    about = [tool.description[:MAX_TEXT]]
    for field, inner in fields.items():
        if described(inner):
            about.append(f"{field}: {described(inner)}")
    text = quoted("\n\n".join(about)).replace("\n", "\n        ")
    return (
        f"class _{camel(tool.id)}:\n"
        f"    def __call__({signature}) -> {answer}:\n"
        f"        {text}\n"
        f"    def start({signature}) -> Started[{answer}]: ...\n"
        f"    def output({signature}) -> Any: ...\n"
    )
