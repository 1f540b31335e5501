"""The steps that the Qwen surface is described with: health, information, an answer, a stream, a system prompt."""

import json
import os

import requests

URL = os.environ["URL"]


def health_check():
    response = requests.get(f"{URL}/qwen/health", timeout=10)
    assert response.status_code == 200 and response.json()["status"] == "healthy", response.text


def model_info():
    response = requests.get(f"{URL}/qwen/info", timeout=10)
    assert response.json()["provider"] == "qwen", response.text


def non_streaming_chat():
    response = requests.post(f"{URL}/qwen/chat", json={"message": "Hello"}, timeout=30)
    answer = response.json()
    assert answer["response"] and answer["conversation_id"] and answer["usage"]["total_tokens"] > 0, answer


def streaming_chat():
    text, conversations, ended = "", set(), False
    body = {"message": "Hello", "temperature": 0.7, "max_tokens": 2048}
    with requests.post(f"{URL}/qwen/chat/stream", json=body, stream=True, timeout=30) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith(b"data: "):
                data = json.loads(line[6:])
                text += data["chunk"]
                conversations.add(data["conversation_id"])
                ended = data["done"]
    assert text and ended and len(conversations) == 1, (text, conversations, ended)


def with_system_prompt():
    body = {"message": "Hello", "system_prompt": "You are a pirate."}
    assert requests.post(f"{URL}/qwen/chat", json=body, timeout=30).json()["response"]


for step in [health_check, model_info, non_streaming_chat, streaming_chat, with_system_prompt]:
    step()
    print(f"✅ {step.__name__}")
