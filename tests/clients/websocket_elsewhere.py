"""A WebSocket that is cut in mid-answer at one gateway, and read on over another gateway's. One JSON document."""

import asyncio
import json
import os

import websockets

HEADERS = {"Authorization": f"Bearer {os.environ['KEY']}"}


def connect(address):
    return websockets.connect(address, additional_headers=HEADERS, open_timeout=30, proxy=None)


async def read(socket, until):
    seen = []
    while not seen or not until(seen[-1]):
        seen.append(json.loads(await asyncio.wait_for(socket.recv(), 30)))
    return seen


async def insist(socket, message, until):
    """Says something until it is not refused: what a gateway does just now, another one may learn a moment later."""
    for _ in range(50):
        await socket.send(json.dumps(message))
        seen = await read(socket, lambda event: event["type"] == "error" or until(event))
        if seen[-1]["type"] != "error":
            return seen
        assert seen[-1]["code"] in ("not_found", "turn_unreachable"), seen
        await asyncio.sleep(0.2)
    raise AssertionError(seen)


async def main():
    def is_content(event):
        return event["type"] == "content"

    def is_done(event):
        return event["type"] == "done"

    socket = await connect(os.environ["ONE"])
    await socket.send(json.dumps({"type": "chat", "message": "Một câu", "session_id": "r"}))
    seen = await read(socket, lambda event: is_content(event) and event["id"] > 6)
    socket.transport.abort()
    turn, last = seen[0]["turn_id"], seen[-1]["id"]
    async with connect(os.environ["OTHER"]) as again:
        seen += await insist(again, {"type": "resume", "turn_id": turn, "last_event_id": last}, is_done)
        await again.send(json.dumps({"type": "chat", "message": "Dài", "session_id": "s"}))
        other = (await read(again, is_content))[0]["turn_id"]
        # It runs here; the first gateway reads it and stops it.
        async with connect(os.environ["ONE"]) as stopper:
            await insist(stopper, {"type": "resume", "turn_id": other, "last_event_id": 0}, is_content)
            stopped = await insist(stopper, {"type": "stop", "turn_id": other}, is_done)
    text = "".join(event.get("chunk", "") for event in seen)
    print(json.dumps({"turn": turn, "ids": [event["id"] for event in seen], "text": text,
                      "turns": sorted({event["turn_id"] for event in seen}), "stopped": stopped[-1]["finish_reason"]}))


asyncio.run(main())
