"""A chat front end made with Gradio, as a company would write it: a session when the page opens, then messages whose
answers grow. Driven by Gradio's own client; writes each state of the answer that a user would see, one JSON a line."""

import json
import os

import gradio as gr
import requests
from gradio_client import Client

URL, KEY = os.environ["URL"], os.environ["KEY"]
HEADERS = {"Authorization": f"Bearer {KEY}"}
ended = {}


def begin():
    response = requests.post(f"{URL}/session", headers=HEADERS, timeout=30)
    response.raise_for_status()
    return response.json()["session_id"]


def stream_chat(message, session_id):
    body = {"message": message, "session_id": session_id}
    with requests.post(f"{URL}/chat/stream", json=body, headers=HEADERS, stream=True, timeout=30) as response:
        if response.status_code != 200:
            raise gr.Error(response.json()["detail"])
        partial = ""
        for line in response.iter_lines():
            if not line.startswith(b"data: "):
                continue
            data = json.loads(line[6:])
            if data["done"]:
                ended.update(data)
            else:
                partial += data["chunk"]
                yield partial


with gr.Blocks() as page:
    session = gr.Textbox(visible=False)
    message = gr.Textbox()
    answer = gr.Textbox()
    send = gr.Button("Gửi")
    page.load(begin, outputs=session, api_name="begin")
    send.click(stream_chat, inputs=[message, session], outputs=answer, api_name="chat")

page.queue()
_, address, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
client = Client(address, verbose=False)
session_id = client.predict(api_name="/begin")
job = client.submit("Lãi suất vay mua nhà là bao nhiêu?", session_id, api_name="/chat")
for text in job:
    print(json.dumps({"text": text}))
print(json.dumps({"turn_id": ended["turn_id"]}))
client.close()
page.close()
