"""The client that the streams by provider are described with: `requests`, line by line."""

import json
import os

import requests

url = f"{os.environ['URL']}/api/stream/chat-get"
params = {"user_input": "Giải thích về AI", "provider": "gemini"}

response = requests.get(url, params=params, stream=True, timeout=30)

for line in response.iter_lines():
    if line:
        line = line.decode("utf-8")
        if line.startswith("data: "):
            data = json.loads(line[6:])
            if not data.get("done"):
                print(data["chunk"], end="", flush=True)
            else:
                print("\n✅ Done!")
                break
