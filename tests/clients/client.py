"""Calls the server with the official client of MCP for Python, in the current and in older revisions.

Arguments: `stdio COMMAND ARGUMENT...`, `http URL`, or `oauth URL ISSUER` for a client that has to get a
token first. Prints what it was answered, a line of JSON for each revision.
"""

import asyncio
import json
import sys
import time

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client


class Storage:
    """Tokens in memory."""

    def __init__(self):
        self.tokens = self.client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


def server(kind, target, rest):
    if kind == "stdio":
        return StdioServerParameters(command=target, args=rest)
    if kind == "http":
        return target
    provider = ClientCredentialsOAuthProvider(
        server_url=target,
        storage=Storage(),
        client_id="alice",
        client_secret="alice-secret-0123456789",
        issuer=rest[0],
    )
    return streamable_http_client(target, http_client=create_mcp_http_client(auth=provider))


async def calls(client):
    """What the tools answer, one after the other."""
    said = {"revision": client.protocol_version}
    said["tools"] = [tool.name for tool in (await client.list_tools()).tools]

    code = "const doubled = numbers.map((n) => n * 2); doubled"
    answer = await client.call_tool("ecmascript", {"code": code, "inputs": {"numbers": [1, 2, 3]}})
    said["code"] = answer.structured_content
    answer = await client.call_tool("ecmascript", {"code": "nobody.knows"})
    said["failed"] = [answer.is_error, answer.meta["ampoule/error"]["code"]]

    await client.call_tool("files__write", {"path": "note.txt", "text": "written over MCP\n"})
    answer = await client.call_tool("files__read", {"path": "note.txt"})
    said["file"] = answer.structured_content["text"]
    answer = await client.call_tool("files__read", {"path": "../outside.txt"})
    said["outside"] = answer.is_error
    said["resource"] = (await client.read_resource("ampoule:files/files/note.txt")).contents[0].text

    steps = []

    async def progress(done, total, message):
        steps.append([done, total])

    await client.call_tool("conformance__test-tool-with-progress", {}, progress_callback=progress)
    # They come on a way of their own.
    with anyio.move_on_after(5):
        while len(steps) < 3:
            await anyio.sleep(0.01)
    said["progress"] = steps

    # The server makes one call at a time: the next one waits for this one to be gone.
    begun = time.monotonic()
    with anyio.move_on_after(0.5) as given_up:
        await client.call_tool("ecmascript", {"code": "while (true) {}"})
    answer = await client.call_tool("ecmascript", {"code": "6 * 7"})
    said["cancelled"] = given_up.cancelled_caught
    said["after"] = answer.structured_content
    said["seconds"] = time.monotonic() - begun
    return said


async def main(kind, target, *rest):
    for mode in ["auto", "legacy"]:
        async with Client(server(kind, target, rest), mode=mode) as client:
            print(json.dumps(await calls(client)), flush=True)


asyncio.run(main(*sys.argv[1:]))
