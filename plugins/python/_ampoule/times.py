"""Clocks. Waiting takes no time while nothing else is under way: the clocks that a program reads
go on by it instead. `datetime.now` reads the host's clock and does not."""

import time

from wit_world.imports import clock

real_time = time.time
real_time_ns = time.time_ns
real_monotonic = time.monotonic
real_monotonic_ns = time.monotonic_ns
real_perf_counter = time.perf_counter
real_perf_counter_ns = time.perf_counter_ns
real_localtime = time.localtime
real_gmtime = time.gmtime

BILLION = 1_000_000_000

# How far the program's clocks are ahead, in nanoseconds.
ahead = 0


def advance(seconds: float) -> None:
    global ahead
    ahead += int(seconds * BILLION)


def sleep(seconds, /):
    """Waits without taking time: the clock goes on by it."""
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    advance(seconds)


def install() -> None:
    # Static, since a class that takes one of them for an attribute means no method.
    def shifted(real):
        return staticmethod(lambda: real() + ahead / BILLION)

    def shifted_ns(real):
        return staticmethod(lambda: real() + ahead)

    def now(real):
        return staticmethod(
            lambda seconds=None, /: real(time.time() if seconds is None else seconds)
        )

    time.sleep = staticmethod(sleep)
    time.time = shifted(real_time)
    time.time_ns = shifted_ns(real_time_ns)
    time.monotonic = shifted(real_monotonic)
    time.monotonic_ns = shifted_ns(real_monotonic_ns)
    time.perf_counter = shifted(real_perf_counter)
    time.perf_counter_ns = shifted_ns(real_perf_counter_ns)
    time.localtime = now(real_localtime)
    time.gmtime = now(real_gmtime)


def timer(seconds: float):
    """A pollable that is ready after so much real time."""
    return clock.start_sleep(max(1, int(seconds * 1000)))
