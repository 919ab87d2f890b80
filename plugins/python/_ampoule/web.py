"""`urllib.request` through the contract's `http`."""

import http.client
import io
import urllib.error
import urllib.request
import urllib.response
import weakref

from componentize_py_types import Err
from wit_world.imports import http as host

from .errors import taken

# The most bytes of the body that are asked for at once.
CHUNK = 1 << 18

answers = weakref.WeakSet()


class Body(io.RawIOBase):
    """The body of an answer, read as it comes."""

    def __init__(self, answer):
        self.answer = answer
        answers.add(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if self.answer is None:
            return 0
        try:
            data = self.answer.read(min(len(buffer), CHUNK))
        except Err as error:
            raise urllib.error.URLError(taken(error).message) from None
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if self.answer is not None:
            self.answer.__exit__(None, None, None)
            self.answer = None
        super().close()


class Handler(urllib.request.BaseHandler):
    """Sends requests by the host, which also follows redirects."""

    def http_open(self, request):
        headers = {**request.headers, **request.unredirected_hdrs}
        body = request.data
        if body is not None and not isinstance(body, (bytes, bytearray)):
            body = b"".join(body) if not hasattr(body, "read") else body.read()
        asked = host.Request(
            request.get_method(),
            request.full_url.partition("#")[0],
            [(name, str(value).encode("latin-1", "replace")) for name, value in headers.items()],
            None if body is None else bytes(body),
            None,
            [],
            None,
            int(request.timeout * 1000) if isinstance(request.timeout, (int, float)) else None,
            None,
            None,
        )
        try:
            answer = host.send(asked)
        except Err as error:
            said = taken(error)
            if said.code == "denied":
                raise PermissionError(said.message) from None
            raise urllib.error.URLError(f"{said.message} ({said.code})") from None
        message = http.client.HTTPMessage()
        for name, value in answer.headers():
            message.add_header(name, value.decode("latin-1"))
        status = answer.status()
        body = io.BufferedReader(Body(answer), CHUNK)
        response = urllib.response.addinfourl(body, message, answer.url(), status)
        response.msg = http.client.responses.get(status, "")
        response.reason = response.msg
        return response

    https_open = http_open

    def http_request(self, request):
        if request.data is not None and not request.has_header("Content-type"):
            request.add_unredirected_header("Content-type", "application/x-www-form-urlencoded")
        return request

    https_request = http_request


def install() -> None:
    opener = urllib.request.OpenerDirector()
    # `Mozilla` and the like are not pretended.
    opener.addheaders = []
    for handler in (
        Handler(),
        urllib.request.UnknownHandler(),
        urllib.request.DataHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    urllib.request.install_opener(opener)


def end() -> None:
    for body in list(answers):
        body.close()
