"""Turns over a WebSocket with the `websockets` package: several at once, stop, ping, and a connection that is cut in
mid-answer, after which another one reads on. Writes what it saw as JSON, one step a line."""

import asyncio
import json
import os

import websockets

ADDRESS, KEY = os.environ["WS"], os.environ["KEY"]
HEADERS = {"Authorization": f"Bearer {KEY}"}


def connect():
    return websockets.connect(ADDRESS, additional_headers=HEADERS, open_timeout=30, proxy=None)


async def read(socket, until):
    """Reads messages until one satisfies a condition, and gives all of them."""
    seen = []
    while not seen or not until(seen[-1]):
        seen.append(json.loads(await asyncio.wait_for(socket.recv(), 30)))
    return seen


def text(events):
    shown = ""
    for event in events:
        if event["type"] == "reset":
            shown = ""
        shown += event.get("chunk", "")
    return shown


async def at_once():
    async with connect() as socket:
        for name in ["a", "b"]:
            await socket.send(json.dumps({"type": "chat", "message": f"Câu {name}", "session_id": name, "request_id": name}))
        ended, seen = 0, []
        while ended < 2:
            seen += await read(socket, lambda event: event["type"] == "done")
            ended += 1
        turns = {event["request_id"]: event["turn_id"] for event in seen if event["type"] == "start"}
        answers = {}
        for name, turn in turns.items():
            events = [event for event in seen if event["turn_id"] == turn]
            assert [event["id"] for event in events] == list(range(1, len(events) + 1)), events
            answers[turn] = text(events)
        kinds = [event["turn_id"] for event in seen if event["type"] == "content"]
        switches = sum(one != other for one, other in zip(kinds, kinds[1:]))
        await socket.send('{"type":"ping"}')
        pong = await read(socket, lambda event: event["type"] == "pong")
        # One after another on the same connection.
        await socket.send(json.dumps({"type": "chat", "message": "Câu c", "session_id": "a"}))
        after = await read(socket, lambda event: event["type"] == "done")
        print(json.dumps({"step": "at_once", "answers": answers, "switches": switches, "pongs": len(pong),
                          "kinds": [event["type"] for event in after]}))


async def stopped():
    async with connect() as socket:
        await socket.send(json.dumps({"type": "chat", "message": "Dài", "session_id": "s"}))
        seen = await read(socket, lambda event: event["type"] == "content")
        turn = seen[0]["turn_id"]
        await socket.send(json.dumps({"type": "stop", "turn_id": turn}))
        seen += await read(socket, lambda event: event["type"] == "done")
        print(json.dumps({"step": "stopped", "turn": turn, "text": text(seen), "finish": seen[-1]["finish_reason"]}))


async def cut_and_resumed():
    socket = await connect()
    await socket.send(json.dumps({"type": "chat", "message": "Một câu", "session_id": "r"}))
    seen = await read(socket, lambda event: event["type"] == "content" and event["id"] > 6)
    socket.transport.abort()
    turn, last = seen[0]["turn_id"], seen[-1]["id"]
    async with connect() as again:
        await again.send(json.dumps({"type": "resume", "turn_id": turn, "last_event_id": last}))
        rest = await read(again, lambda event: event["type"] == "done")
        ids = [event["id"] for event in seen + rest]
        assert ids == list(range(1, len(ids) + 1)), ids
        print(json.dumps({"step": "resumed", "turn": turn, "text": text(seen + rest), "parts": [len(seen), len(rest)]}))


async def refused():
    async with connect() as socket:
        codes = []
        for message in ["{", '{"type":"dance"}', '{"type":"chat","message":" ","request_id":"r"}', b"\x00\x01",
                        '{"type":"resume","turn_id":"019a9f3e-5c3a-7d3f-9a51-0b1e5f0c7d2a","last_event_id":0}',
                        '{"type":"stop","turn_id":"019a9f3e-5c3a-7d3f-9a51-0b1e5f0c7d2a"}',
                        '{"type":"chat","message":"x","company_id":"other"}']:
            await socket.send(message)
            [error] = await read(socket, lambda event: event["type"] == "error")
            assert error["message"] and error["retryable"] is False, error
            codes.append(error["code"])
        try:
            await socket.send("x" * 400_000)
            await read(socket, lambda event: False)
        except websockets.ConnectionClosed:
            codes.append("closed")
        print(json.dumps({"step": "refused", "codes": codes}))


async def main():
    await at_once()
    await stopped()
    await cut_and_resumed()
    await refused()


asyncio.run(main())
