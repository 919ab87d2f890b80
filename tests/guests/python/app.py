"""The tool `probe`: one use of each thing a guest in Python has to be able to do."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import blobs, http, llm, log, poll, progress, tools
from wit_world.imports.llm import Message, Part
from wit_world.imports.types import Block, Error, Output

STEPS = 4


class Tool(exports.Tool):
    def call(self, name: str, arguments: str) -> Output:
        if name != "probe":
            raise Err(Error("not-found", f"there is no tool `{name}`", None, False, None, None))
        return Output(json.dumps(probe(**json.loads(arguments))), [], False, None, None)


def probe(url: str, tool: str, text: str) -> dict:
    """Errors of the contract pass through to the caller, but for those of `http`."""
    log.log(log.Level.INFO, "probe begins", json.dumps({"language": "python"}))

    # Both are under way before either is waited for.
    called = tools.start(tool, json.dumps({"input": {"a": 1, "b": 2}, "fields": ["a"]}))
    status, page = fetch(url)
    step(1, "page")

    with called:
        wait(called.subscribe())
        filtered = json.loads(called.take().value or "null")
    step(2, "tool")

    blob, size = keep(text)
    step(3, "blob")

    streamed = ask(text)
    step(4, "stream")
    progress.emit(Block("text", "text/plain", streamed, None, None, None, None))

    return {
        "status": status,
        "page": page,
        "filtered": filtered,
        "blob": {"$blob": blob},
        "size": size,
        "streamed": streamed,
    }


def fetch(url: str) -> tuple[int | str, int]:
    """Status and bytes of the page; the code of the error where there is no answer."""
    request = http.Request("GET", url, [], None, None, [], None, None, None, None)
    try:
        with http.start(request) as pending:
            wait(pending.subscribe())
            response = pending.take()
        with response:
            page = 0
            while data := response.read(65536):
                page += len(data)
            return response.status(), page
    except Err as failure:
        return failure.value.code, 0


def keep(text: str) -> tuple[str, int]:
    """Writes `text` into a blob in two pieces and reads it back."""
    data = text.encode()
    with blobs.create("text/plain") as writer:
        writer.write(data[: len(data) // 2])
        writer.write(data[len(data) // 2 :])
        made = writer.finish()
    with made, blobs.open(made.id()) as opened:
        if opened.read(0, len(data)) != data:
            raise Err(Error("internal", "the blob changed", None, False, None, None))
        return opened.id(), opened.size()


def ask(text: str) -> str:
    """What a model answers to `text`, put together from the stream."""
    part = Part("text", text, None, None, None, None, None, None, None, None)
    request = llm.Request("", [Message("user", [part])], [], "{}")
    answer = ""
    with llm.stream(request) as events:
        while event := events.next():
            if event.kind == "content":
                answer += event.text or ""
    return answer


def wait(ready: poll.Pollable) -> None:
    with ready:
        poll.poll([ready])


def step(done: int, message: str) -> None:
    progress.report(done, STEPS, message)
