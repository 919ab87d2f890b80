"""One call: reads the arguments, compiles and runs the program, and makes the answer."""

import ast
import asyncio
import builtins
import inspect
import json
import sys
import types

from componentize_py_types import Err
from wit_world.imports.types import Error, Output

from . import codemode, console, databases, faults, loops, modules, results, shown, stubs, times
from . import web, workspace

DEFAULT_BYTES = 65536
MAX_CODE = 500_000
# CPython's default. Where Python and C take turns, as in a recursion through `functools.cache` or
# `sorted(key=…)`, a call takes up to 2.2 KB of the native stack of 8 MiB, which CPython's own guard
# does not see.
RECURSION = 1000
# Coroutines at the top level, and no `__future__` of ours.
FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
OUR_NAMES = {"inputs", "tools", "display", "ToolError"}
TAKEN = OUR_NAMES | set(dir(builtins))

# The host has checked that it is JSON.
scan = json.JSONDecoder().scan_once
# Names that were bound from the inputs of the call before, with what they were bound to.
bound = {}

class Fault(Exception):
    """The arguments are wrong."""

def answer(text: str) -> Output:
    """Answers one call of the tool.

    Raises: `Err` with code `bad-arguments` or `exception`.
    """
    arguments, _ = scan(text, 0)
    try:
        if arguments.get("declarations"):
            return declarations(arguments)
        return run(arguments)
    except Err:
        raise
    except Fault as fault:
        code, message = "bad-arguments", str(fault)
    except BaseException:
        # Only where the program has changed what this itself stands on.
        code, message = "internal", "the program broke the interpreter; begin a new session"
    raise Err(Error(code, message, None, False, None, None))

def declarations(arguments: dict) -> Output:
    if "code" in arguments:
        raise Fault("`declarations` answers declarations and runs nothing: leave out `code`")
    codemode.forget()
    try:
        text = stubs.declare(codemode.tools._load().values())
    except codemode.ToolError as error:
        raise Err(Error(error.code, error.message, None, False, None, None)) from None
    value = json.dumps({"declarations": text}, ensure_ascii=False)
    return Output(value, [], False, None, None)

def run(arguments: dict) -> Output:
    code = arguments.get("code")
    if code is None:
        raise Fault("give `code`, or `declarations: true`")
    if len(code) > MAX_CODE or len(code) * 4 > MAX_CODE and len(code.encode()) > MAX_CODE:
        raise Fault(f"`code` has more than {MAX_CODE} bytes")
    inputs = arguments.get("inputs", {})
    check_inputs(inputs)
    given = arguments.get("modules", {})
    check_modules(given)

    limit = arguments.get("max_bytes", DEFAULT_BYTES)
    printed = console.Console(limit)
    display = shown.Display()
    globals_ = begin(printed, display, inputs)
    modules.give(given)
    failure = details = value = None
    try:
        value = execute(code, globals_, inputs)
    except Fault:
        end()
        raise
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            failure, details = faults.describe(leaving)
    except BaseException as error:
        failure, details = faults.describe(error)
        if isinstance(error, codemode.ToolError):
            details["tool"] = {"code": error.code, "message": error.message}
    try:
        if failure is None:
            writer = results.Writer("result", limit)
            result = None if value is None else writer.write(value)
            end()
            return finished(result, writer.cuts, printed, display)
        end()
    except BaseException as error:
        failure, details = faults.describe(error)
    raise Err(failed(failure, details, printed))

def begin(printed: console.Console, display, inputs: dict) -> dict:
    """Makes the interpreter ready for a call, and gives the user's globals."""
    sys.setrecursionlimit(RECURSION)
    sys.argv = [faults.MAIN]
    console.begin(printed)
    workspace.begin()
    codemode.forget()
    main = sys.modules.get("__main__")
    if not isinstance(main, types.ModuleType):
        main = sys.modules["__main__"] = types.ModuleType("__main__")
    names = main.__dict__
    for name, value in bound.items():
        if names.get(name) is value:
            del names[name]
    bound.clear()
    bound.update(inputs)
    names.update(inputs)
    names["inputs"] = inputs
    names["tools"] = codemode.tools
    names["ToolError"] = codemode.ToolError
    names["display"] = display
    return names

def forget() -> None:
    """Makes the interpreter as it was before any call: for the snapshot."""
    sys.modules["__main__"] = types.ModuleType("__main__")
    bound.clear()
    faults.forget()
    times.ahead = 0

def end() -> None:
    """Nothing is held over the end of a call."""
    codemode.end()
    web.end()
    databases.end()
    workspace.end()

def check_inputs(inputs: dict) -> None:
    for name in inputs:
        if not faults.is_name(name) or (name[:2] == "__" and name[-2:] == "__"):
            raise Fault(f"`inputs.{name}` is no name of Python: rename it")
        if name in TAKEN:
            raise Fault(f"`inputs.{name}` would hide what Python or this tool defines: rename it")

def check_modules(given: dict) -> None:
    for name in given:
        if not all(map(faults.is_name, name.split("."))):
            raise Fault(f"`modules.{name}` is no name of a module: rename it")
        if name.partition(".")[0] in sys.stdlib_module_names or name in ("_ampoule", "__main__"):
            raise Fault(f"`modules.{name}` is the name of a module that is here: rename it")

def execute(source: str, names: dict, inputs: dict):
    """Runs a program; answers the value of its last expression, or of its function `main`."""
    faults.keep(faults.MAIN, source)
    runner = Runner()
    code = expression(source)
    if code is not None:
        try:
            value = eval(code, names)
            return runner.complete(value) if inspect.iscoroutine(value) else value
        finally:
            runner.close()
    tree = compile(source, faults.MAIN, "exec", FLAGS | ast.PyCF_ONLY_AST, dont_inherit=True)
    last = take_last(tree.body)
    try:
        if last is not None:
            if tree.body:
                # One code object, since `from __future__ import …` counts for the whole.
                target = ast.copy_location(ast.Name(RESULT, ast.Store()), last)
                tree.body.append(ast.copy_location(ast.Assign([target], last), last))
            else:
                tree = ast.Expression(last)
        mode = "eval" if isinstance(tree, ast.Expression) else "exec"
        code = compile(tree, faults.MAIN, mode, FLAGS, dont_inherit=True)
        value = eval(code, names)
        if code.co_flags & inspect.CO_COROUTINE:
            value = runner.complete(value)
        if last is None:
            if not defines_main(tree.body):
                return None
            value = call_main(names.get("main"), inputs)
        elif mode == "exec":
            value = names.pop(RESULT, None)
        return runner.complete(value) if inspect.iscoroutine(value) else value
    finally:
        runner.close()

def expression(source: str):
    """The code of a program that is one short expression, for which no tree is needed."""
    if len(source) > 200 or "\n" in source or source[:1].isspace():
        return None
    try:
        return compile(source, faults.MAIN, "eval", FLAGS, dont_inherit=True)
    except SyntaxError:
        return None

# What the last expression is kept under until it is taken: no name of Python.
RESULT = "<result>"


class Runner:
    """Runs what has to be awaited, on one event loop a call."""

    def __init__(self):
        self.runner = None

    def complete(self, coroutine):
        if self.runner is None:
            self.runner = asyncio.Runner()
        return loops.complete(self.runner, coroutine)

    def close(self) -> None:
        if self.runner is not None:
            self.runner.close()

def take_last(body: list):
    """Takes the last statement off where it is an expression; one under
    `if __name__ == "__main__":` counts too."""
    if not body:
        return None
    if isinstance(body[-1], ast.Expr):
        return body.pop().value
    if is_guard(body[-1]):
        guarded = body.pop()
        body.extend(guarded.body)
        return take_last(body)
    return None

def is_guard(statement) -> bool:
    return (
        isinstance(statement, ast.If)
        and not statement.orelse
        and isinstance(statement.test, ast.Compare)
        and isinstance(statement.test.left, ast.Name)
        and statement.test.left.id == "__name__"
        and isinstance(statement.test.ops[0], ast.Eq)
    )

def defines_main(body: list) -> bool:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return any(isinstance(one, functions) and one.name == "main" for one in body)

def call_main(main, inputs: dict):
    """Calls `main` with the inputs that its parameters name."""
    positional, named = [], {}
    for parameter in inspect.signature(main).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            named = {**inputs, **named}
        elif parameter.kind is parameter.VAR_POSITIONAL:
            continue
        elif parameter.name in inputs:
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positional.append(inputs[parameter.name])
            else:
                named[parameter.name] = inputs[parameter.name]
        elif parameter.default is parameter.empty:
            raise Fault(f"`main` takes `{parameter.name}`, which `inputs` does not have")
    return main(*positional, **named)

def finished(result, cuts: list, printed, display) -> Output:
    fields = []
    if result is not None:
        fields.append(f'"result":{result}')
    lines = printed.lines()
    if lines:
        fields.append(f'"console":{json.dumps(lines, ensure_ascii=False)}')
    blocks = display.blocks
    cuts = [*cuts, *printed.cut(), *display.cut()]
    if workspace.written:
        paths = list(workspace.written)
        made, left_out = shown.file_blocks(paths)
        blocks = blocks + made
        cuts += left_out
        fields.append(f'"files":{json.dumps(paths, ensure_ascii=False)}')
    if cuts:
        fields.append(f'"cut":{json.dumps(cuts, ensure_ascii=False)}')
    return Output("{" + ",".join(fields) + "}", blocks, bool(cuts), None, None)

def failed(message: str, details: dict, printed) -> Error:
    lines = printed.lines()
    if lines:
        details["console"] = lines
    message = console.printable(message)
    data = json.dumps(details)
    return Error("exception", message, None, False, None, data)
