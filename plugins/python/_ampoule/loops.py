"""`asyncio` on the contract's own waiting: tools under way are waited for by the host, everything
else passes in virtual time."""

import asyncio
import signal
from asyncio import base_events, events

from . import codemode, times


class Selector:
    """What an event loop waits with."""

    def select(self, timeout):
        if codemode.under_way or codemode.waiting:
            codemode.progress(timeout if timeout is None else max(timeout, 0))
        elif timeout is None:
            raise RuntimeError("every task waits, and nothing is under way that could wake one")
        elif timeout > 0:
            times.advance(timeout)
        return ()

    def close(self):
        pass


class Loop(base_events.BaseEventLoop):
    """The only kind of event loop there is."""

    def __init__(self):
        super().__init__()
        self._selector = Selector()

    def _process_events(self, event_list):
        pass

    def _write_to_self(self):
        pass

    def run_in_executor(self, executor, function, *arguments):
        """Does the work at once: there are no threads."""
        future = self.create_future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    async def shutdown_default_executor(self, timeout=None):
        pass

    def add_signal_handler(self, sig, callback, *arguments):
        pass

    def remove_signal_handler(self, sig):
        return False


class Policy(events._BaseDefaultEventLoopPolicy):
    _loop_factory = Loop


def install() -> None:
    events._set_event_loop_policy(Policy())
    asyncio.SelectorEventLoop = asyncio.EventLoop = Loop
    # No signal comes, so a runner need not handle one.
    signal.getsignal = lambda number: signal.SIG_DFL
    signal.signal = lambda number, handler: signal.SIG_DFL


def complete(runner, awaitable):
    """Runs an awaitable of any kind to its end."""
    if asyncio.iscoroutine(awaitable):
        return runner.run(awaitable)

    async def wait():
        return await awaitable

    return runner.run(wait())
