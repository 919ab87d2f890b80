"""`tools`: the tools that the plugin may call, as functions."""

import collections
import datetime
import difflib
import json
import keyword
import re

from componentize_py_types import Err
from wit_world.imports import poll
from wit_world.imports import tools as host

from . import times
from .errors import taken

# How many calls are under way at once; more wait here.
MAX_UNDER_WAY = 32


class ToolError(Exception):
    """A tool failed or was denied."""

    def __init__(self, message, code="internal", retryable=False, data=None, tool=None):
        super().__init__(message)
        self.message = message
        self.code = code
        self.retryable = retryable
        self.data = data
        self.tool = tool

    def __str__(self):
        tool = f"{self.tool}: " if self.tool else ""
        return f"{tool}{self.message} ({self.code})"


class Output:
    """All that a tool answered."""

    def __init__(self, output):
        self.value = None if output.value is None else json.loads(output.value)
        self.blocks = [block_dict(block) for block in output.blocks]
        self.truncated = output.truncated
        self.next = output.next

    def __repr__(self):
        return (
            f"Output(value={self.value!r}, blocks={self.blocks!r}, "
            f"truncated={self.truncated!r}, next={self.next!r})"
        )


def block_dict(block) -> dict:
    fields = {
        "kind": block.kind,
        "media_type": block.media_type,
        "text": block.text,
        "data": block.data,
        "blob": block.blob,
        "uri": block.uri,
        "meta": None if block.meta is None else json.loads(block.meta),
    }
    return {name: value for name, value in fields.items() if value is not None}


def plain(output):
    """The value; where there is none, what the blocks say."""
    if output.value is not None:
        return json.loads(output.value)
    texts = [block.text for block in output.blocks if block.text is not None]
    return "\n".join(texts) if texts else None


def failed(error: Err, tool: str) -> ToolError:
    value = taken(error)
    data = None if value.data is None else json.loads(value.data)
    return ToolError(value.message, value.code, value.retryable, data, tool)


class Tool:
    """A tool. `tool(a=1)` or `tool({"a": 1})` calls it and answers its value, `tool.output(…)`
    answers `Output`, `tool.start(…)` begins a call for `tools.gather` or `await`."""

    def __init__(self, definition):
        self.id = definition.name
        self.__doc__ = self.description = definition.description
        self.definition = definition

    @property
    def input_schema(self):
        return json.loads(self.definition.input_schema)

    @property
    def output_schema(self):
        schema = self.definition.output_schema
        return None if schema is None else json.loads(schema)

    def __call__(self, arguments=None, /, **named):
        return plain(self._call(arguments, named))

    def output(self, arguments=None, /, **named) -> Output:
        return Output(self._call(arguments, named))

    def _call(self, arguments, named):
        try:
            return host.call(self.id, encoded(self.id, arguments, named))
        except Err as error:
            raise failed(error, self.id) from None

    def start(self, arguments=None, /, **named) -> "Started":
        return Started(self.id, encoded(self.id, arguments, named))

    def __repr__(self):
        return f"<tool {self.id}>"


def encoded(tool: str, arguments, named: dict) -> str:
    if arguments is None:
        arguments = named
    elif named:
        raise TypeError(f"{tool}: give one dict or keyword arguments, not both")
    elif not isinstance(arguments, dict):
        raise TypeError(f"{tool}: the arguments are one dict or keywords, not {arguments!r:.60}")
    try:
        return json.dumps(arguments, default=jsonable, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{tool}: the arguments are not JSON: {error}") from None


def jsonable(value):
    if isinstance(value, (set, frozenset, collections.deque, range)):
        return list(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        import base64

        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, collections.abc.Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


class Started:
    """A call under way: `await` it, give it to `tools.gather`, or ask for its `result()`."""

    def __init__(self, tool: str, arguments: str):
        self.tool, self.arguments = tool, arguments
        self.pending = self.ready = self.output = self.error = None
        self.is_done = False
        self.futures = []
        waiting.append(self)
        begin_waiting()

    def done(self) -> bool:
        if not self.is_done:
            progress(0)
        return self.is_done

    def result(self):
        """The tool's value, waiting for it if need be."""
        while not self.is_done:
            progress(None)
        if self.error is not None:
            raise self.error
        return plain(self.output)

    def cancel(self) -> None:
        if not self.is_done:
            self.end(error=ToolError("the call was given up", "cancelled", tool=self.tool))
            begin_waiting()

    def begin(self) -> None:
        try:
            self.pending = host.start(self.tool, self.arguments)
            self.ready = self.pending.subscribe()
            under_way.append(self)
        except Err as error:
            self.end(error=failed(error, self.tool))

    def take(self) -> None:
        try:
            self.end(output=self.pending.take())
        except Err as error:
            self.end(error=failed(error, self.tool))

    def end(self, output=None, error=None) -> None:
        self.output, self.error, self.is_done = output, error, True
        if self in under_way:
            under_way.remove(self)
        if self in waiting:
            waiting.remove(self)
        # The pollable goes before what it belongs to.
        for resource in (self.ready, self.pending):
            if resource is not None:
                resource.__exit__(None, None, None)
        self.ready = self.pending = None
        for future in self.futures:
            if not future.done():
                future.set_result(None)

    def __await__(self):
        if not self.is_done:
            import asyncio

            future = asyncio.get_running_loop().create_future()
            self.futures.append(future)
            try:
                yield from future
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()

    def __repr__(self):
        return f"<call of {self.tool}, {'done' if self.is_done else 'under way'}>"


under_way = []
waiting = collections.deque()


def begin_waiting() -> None:
    while waiting and len(under_way) < MAX_UNDER_WAY:
        waiting.popleft().begin()


def progress(seconds) -> None:
    """Waits until a call is done, at most `seconds`; without end where it is `None`."""
    if not under_way:
        begin_waiting()
        return
    started = list(under_way)
    if seconds == 0:
        ready = [call for call in started if call.ready.ready()]
    else:
        pollables = [call.ready for call in started]
        timer = None if seconds is None else times.timer(seconds)
        try:
            if timer is not None:
                pollables.append(timer)
            found = poll.poll(pollables)
        finally:
            if timer is not None:
                timer.__exit__(None, None, None)
        ready = [started[index] for index in found if index < len(started)]
    for call in ready:
        call.take()
    begin_waiting()


def end() -> None:
    """Gives up what is still under way: nothing is held over the end of a call."""
    waiting.clear()
    for call in list(under_way):
        call.end(error=ToolError("the program ended before it", "cancelled", tool=call.tool))


def in_python(tool: str) -> str:
    """The id of a tool as a name of Python: `files/read` is `files_read`."""
    name = re.sub(r"[^0-9A-Za-z]+", "_", tool).strip("_") or "_"
    if name[0].isdigit():
        name = f"_{name}"
    return f"{name}_" if keyword.iskeyword(name) or hasattr(Tools, name) else name


class Tools:
    """The tools this program may call, by name (`tools.files_read`) and by id
    (`tools["files/read"]`). `dir(tools)` names them."""

    def __init__(self):
        self.__dict__["_by_id"] = None

    def _load(self) -> dict:
        if self._by_id is None:
            try:
                definitions = host.list()
            except Err as error:
                raise failed(error, "tools") from None
            self.__dict__["_by_id"] = {one.name: Tool(one) for one in definitions}
            names = {}
            for tool in self._by_id.values():
                names.setdefault(in_python(tool.id), tool)
            self.__dict__["_by_name"] = names
        return self._by_id

    def __getattr__(self, name: str) -> Tool:
        if name.startswith("__"):
            raise AttributeError(name)
        self._load()
        tool = self._by_name.get(name)
        if tool is None:
            raise AttributeError(unknown(name, self._by_name))
        return tool

    def __getitem__(self, tool: str) -> Tool:
        found = self._load().get(tool)
        if found is None:
            raise KeyError(unknown(tool, self._by_id))
        return found

    def __setattr__(self, name, value):
        raise AttributeError("tools cannot be set; keep a function under a name of its own")

    def __contains__(self, tool) -> bool:
        return tool in self._load()

    def __iter__(self):
        return iter(self._load())

    def __len__(self):
        return len(self._load())

    def __dir__(self):
        self._load()
        return [*self._by_name, "gather"]

    def __repr__(self):
        return f"<tools: {', '.join(self._load()) or 'none'}>"

    def gather(self, *calls, return_exceptions=False) -> list:
        """Waits for calls that `start` began, and answers their results in order."""
        if len(calls) == 1 and not isinstance(calls[0], Started):
            calls = tuple(calls[0])
        results = []
        for call in calls:
            if not isinstance(call, Started):
                raise TypeError(f"gather takes what `tools.x.start(…)` answers, not {call!r:.60}")
        for call in calls:
            try:
                results.append(call.result())
            except ToolError as error:
                if not return_exceptions:
                    raise
                results.append(error)
        return results


def unknown(name: str, known: dict) -> str:
    near = difflib.get_close_matches(name, known, 3, 0.5) or sorted(known)[:20]
    there = f"there are {', '.join(near)}" if near else "no tool may be called"
    return f"there is no tool `{name}`; {there}"


tools = Tools()


def forget() -> None:
    """Another call may have other tools."""
    tools.__dict__["_by_id"] = None
