"""The official client for Python: models, embeddings, images and compressed tokens."""

import base64
import gzip
import io
import json
import os

import openai

url, key = os.environ["URL"], os.environ["KEY"]
client = openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=30)

ids = {model.id for model in client.models.list()}
assert {"turnpike", "turnpike/banking", "plain", "listed"} <= ids, ids
assert client.models.retrieve("turnpike/banking").owned_by == "turnpike"
assert client.models.retrieve("listed").created == 1700000000

made = client.embeddings.create(model="mock/embedder", input=["xin chào", "ba"])
assert [vector.embedding for vector in made.data] == [[8.0, 0.5, -1.0], [2.0, 0.5, -1.0]], made

image = client.images.generate(model="mock/painter", prompt="a turnpike")
assert image.data[0].b64_json == "aGVsbG8="
picture = io.BytesIO(b"\x89PNG\r\n\x1a\n--xyz\r\n\x00\xff" * 100)
picture.name = "picture.png"
edited = client.images.edit(model="mock/painter", image=picture, prompt="at night")
assert edited.data[0].b64_json == "aGVsbG8="

# A compressed token as the seed's own code makes it, wherever a key is.
token = base64.b64encode(gzip.compress(json.dumps({"v": 1, "key": key}).encode())).decode()
assert token.startswith("H4sI")
packed = openai.OpenAI(base_url=url, api_key=token, max_retries=0)
answer = packed.chat.completions.create(model="turnpike", messages=[{"role": "user", "content": "Xin chào"}])
assert answer.choices[0].message.content
try:
    packed.with_options(api_key=token[:-12]).models.list()
    raise AssertionError("a truncated token opened something")
except openai.AuthenticationError as error:
    assert error.code == "unauthorized", error.body
