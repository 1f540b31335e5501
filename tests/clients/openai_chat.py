"""The official client for Python: turns and relayed chats, streamed and whole, tools, errors and retries."""

import os

import openai

client = openai.OpenAI(base_url=os.environ["URL"], api_key=os.environ["KEY"], max_retries=3, timeout=30)
question = [{"role": "user", "content": "Lãi suất vay mua nhà?"}]

# A turn, streamed: the role first, one id throughout, sources, tokens when they are asked for.
chunks = list(
    client.chat.completions.create(
        model="turnpike", messages=question, stream=True, stream_options={"include_usage": True},
        extra_body={"metadata": {"session_id": "python-streamed"}},
    )
)
assert len({chunk.id for chunk in chunks}) == 1 and chunks[0].id.startswith("chatcmpl-"), chunks[0]
assert chunks[0].choices[0].delta.role == "assistant"
assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens > 0, chunks[-1]
assert chunks[-2].choices[0].finish_reason == "stop", chunks[-2]
streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
annotations = [a for c in chunks if c.choices for a in (getattr(c.choices[0].delta, "annotations", None) or [])]
assert annotations[0]["type"] == "url_citation" and annotations[0]["url_citation"]["title"], annotations

# The same as one document; what was said before and how to answer go along.
whole = client.chat.completions.create(
    model="turnpike/banking",
    messages=[{"role": "system", "content": "Answer kindly."}, *question,
              {"role": "assistant", "content": "7%"}, {"role": "user", "content": "Lãi suất tiết kiệm?"}],
    temperature=0.1, max_completion_tokens=321, user="python-user",
)
assert whole.choices[0].message.role == "assistant" and whole.choices[0].finish_reason == "stop"
assert whole.choices[0].message.annotations[0].url_citation.title, whole
assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
assert whole.model == "turnpike/banking"

# Relayed: what the provider says comes as it is.
relayed = client.chat.completions.create(model="mock/plain", messages=question, stream=True)
assert "".join(c.choices[0].delta.content or "" for c in relayed if c.choices) == "Chào bạn 🦀"
relayed = client.chat.completions.create(model="plain", messages=question)
assert relayed.choices[0].message.content == "Nghe: Lãi suất vay mua nhà?"

# Tools, whole and streamed, and the result of one.
tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
answer = client.chat.completions.create(model="plain", messages=question, tools=tools)
call = answer.choices[0].message.tool_calls[0]
assert answer.choices[0].finish_reason == "tool_calls" and call.function.name == "weather"
result = {"role": "tool", "tool_call_id": call.id, "content": "30 độ"}
after = client.chat.completions.create(
    model="plain", tools=tools, messages=[*question, answer.choices[0].message, result]
)
assert after.choices[0].message.content == "Nghe: 30 độ", after
with client.chat.completions.stream(model="plain", messages=question, tools=tools) as stream:
    for _ in stream:
        pass
    final = stream.get_final_completion()
assert final.choices[0].message.tool_calls[0].function.arguments == '{"city":"Huế"}'

# Busy twice: the client comes back by itself.
assert client.chat.completions.create(model="busy-twice", messages=question).choices


def refused(kind, code, call):
    try:
        call()
    except kind as error:
        assert error.code == code, (error.code, code, error.body)
        assert os.environ["SECRET"] not in str(error.body), error.body
        return error
    raise AssertionError(f"{code} was not refused")


quick = client.with_options(max_retries=0)
ask = quick.chat.completions.create
refused(openai.NotFoundError, "model_not_found", lambda: ask(model="gpt-99", messages=question))
refused(openai.NotFoundError, "model_not_found", lambda: ask(model="turnpike/nowhere", messages=question))
refused(openai.NotFoundError, "model_not_found", lambda: ask(model="mock/unknown", messages=question))
refused(openai.BadRequestError, "empty_array", lambda: ask(model="plain", messages=[]))
refused(openai.BadRequestError, "telltale", lambda: ask(model="telltale", messages=question))
error = refused(openai.BadRequestError, "unsupported_parameter", lambda: ask(model="turnpike", messages=question, tools=tools))
assert error.param == "tools", error.body
refused(openai.InternalServerError, "provider_refuses_key", lambda: ask(model="bad-key", messages=question))
stranger = openai.OpenAI(base_url=os.environ["URL"], api_key="tp_wrong", max_retries=0)
refused(openai.AuthenticationError, "unauthorized", lambda: stranger.models.list())

print(chunks[0].id.removeprefix("chatcmpl-"))
print(whole.id.removeprefix("chatcmpl-"))
print(streamed)
