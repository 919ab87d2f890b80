"""Errors of the contract."""

from componentize_py_types import Err


def taken(error: Err):
    """What the error says. The frames it came through are let go: the bindings keep the exception,
    and it would keep all that those frames hold, such as files that are to be closed."""
    error.with_traceback(None)
    return error.value
