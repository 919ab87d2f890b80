"""What there is not: it says so, and what to use instead."""

import builtins
import concurrent.futures
import os
import signal
import socket
import subprocess
import threading

from .console import NO_INPUT

PROCESSES = "there are no processes here: only Python code runs, and `tools` where they are granted"
THREADS = (
    "there are no threads here: call one thing after the other, use asyncio, "
    "or `tools.gather(tools.x.start(…), …)` for tools"
)
SOCKETS = "there are no sockets here: use `urllib.request` where http is granted, or `tools`"


def install() -> None:
    builtins.input = refuse(EOFError, NO_INPUT)
    for name in ("system", "fork", "forkpty", "popen", "execv", "execve", "posix_spawn", "kill"):
        setattr(os, name, refuse(PermissionError, PROCESSES))
    os._exit = leave
    os.abort = refuse(SystemExit, "aborted")
    subprocess.Popen.__init__ = refuse(PermissionError, PROCESSES)
    # What `subprocess` calls when a half-made object goes.
    subprocess.Popen.__del__ = lambda self, **ignored: None
    threading.Thread.start = refuse(RuntimeError, THREADS)
    socket.socket.__init__ = refuse(PermissionError, SOCKETS)
    socket.getaddrinfo = socket.gethostbyname = refuse(PermissionError, SOCKETS)
    socket.create_connection = socket.socketpair = refuse(PermissionError, SOCKETS)
    concurrent.futures.ThreadPoolExecutor = InlineExecutor
    concurrent.futures.ProcessPoolExecutor = InlineExecutor


def refuse(kind: type, message: str):
    def refused(*arguments, **options):
        raise kind(message)

    return refused


def leave(status):
    raise SystemExit(status)


class InlineExecutor(concurrent.futures.Executor):
    """An executor that does the work at once, since there are no threads."""

    def __init__(self, *arguments, **options):
        self._shut = False

    def submit(self, function, /, *arguments, **options):
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future = concurrent.futures.Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(function(*arguments, **options))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        self._shut = True
