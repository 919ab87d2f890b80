"""`display`, and the files a program wrote, as blocks."""

import csv
import io
import json
import mimetypes

from componentize_py_types import Err
from wit_world.imports import blobs, files
from wit_world.imports.types import Block

from .errors import taken
from .results import Writer, text_of

# The most blocks `display` makes, and their bytes together.
MAX_BLOCKS = 32
MAX_BYTES = 8 << 20
# The most files that become blocks, and their bytes together.
MAX_FILES = 16
# Bytes that are kept in a blob instead of in the block.
INLINE = 4096

SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)


class Display:
    """What one call displayed."""

    def __init__(self):
        self.blocks = []
        self.left = MAX_BYTES
        self.lost = 0

    def __call__(self, value, title=None) -> None:
        meta = None if title is None else json.dumps({"title": str(title)[:1000]})
        block, size = made(value, self.left)
        if size > self.left or len(self.blocks) >= MAX_BLOCKS:
            self.lost += 1
            return
        self.left -= size
        block.meta = meta
        self.blocks.append(block)

    def cut(self) -> list:
        if not self.lost:
            return []
        return [f"display: {self.lost} more (at most {MAX_BLOCKS} and together {MAX_BYTES} bytes)"]


def block(kind: str, media_type, text=None, data=None, blob=None) -> Block:
    return Block(kind, media_type, text, data, blob, None, None)


def made(value, most: int) -> tuple:
    """A value as a block, and its size."""
    for name, kind, media_type in (
        ("_repr_png_", "image", "image/png"),
        ("_repr_svg_", "svg", "image/svg+xml"),
        ("_repr_html_", "html", "text/html"),
    ):
        method = getattr(type(value), name, None)
        if method is not None:
            value = method(value)
            break
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        media_type = sniffed(data)
        kind = "image" if media_type.startswith("image/") else "file"
        return binary(kind, media_type, data) if len(data) <= most else (None, len(data))
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace").decode()
        start = text[:200].lstrip().lower()
        size = len(text.encode())
        if start.startswith("<svg") or (start.startswith("<?xml") and "<svg" in text[:2000]):
            return block("svg", "image/svg+xml", text), size
        if start.startswith(("<!doctype html", "<html", "<table", "<div", "<p>", "<h1", "<style")):
            return block("html", "text/html", text), size
        return block("text", "text/plain", text), size
    if is_table(value):
        text = table(value)
        return block("table", "text/csv", text), len(text.encode())
    writer = Writer("display", most)
    text = writer.write(value)
    return block("text", "application/json", text), len(text.encode())


def binary(kind: str, media_type: str, data: bytes) -> tuple:
    if len(data) <= INLINE:
        return block(kind, media_type, data=data), len(data)
    with blobs.create(media_type) as writer:
        for start in range(0, len(data), 1 << 20):
            writer.write(data[start : start + (1 << 20)])
        with writer.finish() as blob:
            return block(kind, media_type, blob=blob.id()), len(data)


def sniffed(data: bytes) -> str:
    for signature, media_type in SIGNATURES:
        if data.startswith(signature):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return "application/octet-stream"


def is_table(value) -> bool:
    return isinstance(value, (list, tuple)) and value and all(type(row) is dict for row in value)


def table(rows) -> str:
    """Rows as CSV, the first line the names of the columns."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([cell(row.get(name)) for name in names])
    return out.getvalue().encode("utf-8", "backslashreplace").decode()


def cell(value):
    if value is None:
        return ""
    if isinstance(value, (dict, list, tuple, set)):
        return Writer("cell", 4096).write(value)
    return text_of(value)


def file_blocks(paths) -> tuple:
    """Written files as blocks, and what was left out."""
    made_blocks = []
    left = MAX_BYTES
    lost = 0
    for path in paths:
        if len(made_blocks) >= MAX_FILES:
            lost += 1
            continue
        media_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
        try:
            size = files.stat(path).size
            if size > left:
                lost += 1
                continue
            blob = files.to_blob(path, media_type)
        except Err as error:
            taken(error)
            lost += 1
            continue
        left -= size
        made = block("image" if media_type.startswith("image/") else "file", media_type, blob=blob)
        made.meta = json.dumps({"title": path})
        made_blocks.append(made)
    limits = f"at most {MAX_FILES} and together {MAX_BYTES} bytes"
    return made_blocks, [f"files: {lost} are not among the blocks ({limits})"] if lost else []
