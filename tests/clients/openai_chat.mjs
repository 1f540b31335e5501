// The official client for JavaScript: turns and relayed chats, streamed and whole, tools, errors and retries.
import assert from "node:assert/strict";
import OpenAI from "openai";

const { URL: baseURL, KEY: apiKey, SECRET: secret } = process.env;
const client = new OpenAI({ baseURL, apiKey, maxRetries: 3, timeout: 30_000 });
const messages = [{ role: "user", content: "Lãi suất vay mua nhà?" }];

// A turn, streamed.
const chunks = [];
const stream = await client.chat.completions.create({
  model: "turnpike", messages, stream: true, stream_options: { include_usage: true },
  metadata: { session_id: "javascript-streamed" },
});
for await (const chunk of stream) chunks.push(chunk);
assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
assert.equal(chunks[0].choices[0].delta.role, "assistant");
assert.deepEqual(chunks.at(-1).choices, []);
assert.ok(chunks.at(-1).usage.total_tokens > 0);
assert.equal(chunks.at(-2).choices[0].finish_reason, "stop");
const streamed = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");
const sources = chunks.flatMap((chunk) => chunk.choices[0]?.delta.annotations ?? []);
assert.equal(sources[0].type, "url_citation");

// As one document.
const whole = await client.chat.completions.create({ model: "turnpike", messages, user: "javascript-user" });
assert.equal(whole.choices[0].message.role, "assistant");
assert.equal(whole.choices[0].finish_reason, "stop");
assert.ok(whole.choices[0].message.annotations[0].url_citation.title);

// Relayed, by the helper that puts the pieces together.
const runner = client.chat.completions.stream({ model: "mock/plain", messages });
assert.equal(await runner.finalContent(), "Chào bạn 🦀");

// Tools: the helper calls the function and asks again with its result.
const asked = [];
const tools = [{
  type: "function",
  function: {
    name: "weather", parse: JSON.parse, description: "The weather", parameters: { type: "object", properties: {} },
    function: (place) => { asked.push(place.city); return "30 độ"; },
  },
}];
const run = client.chat.completions.runTools({ model: "plain", messages, tools });
assert.equal(await run.finalContent(), "Nghe: 30 độ");
assert.deepEqual(asked, ["Huế"]);

// Busy twice: the client comes back by itself.
assert.ok((await client.chat.completions.create({ model: "busy-twice", messages })).choices.length);

async function refused(kind, code, call) {
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof kind, `${error}`);
    assert.equal(error.code, code);
    assert.ok(!JSON.stringify(error.error).includes(secret));
    return true;
  });
}
const quick = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const ask = (more) => () => quick.chat.completions.create({ messages, ...more });
await refused(OpenAI.NotFoundError, "model_not_found", ask({ model: "gpt-99" }));
await refused(OpenAI.BadRequestError, "empty_array", ask({ model: "plain", messages: [] }));
await refused(OpenAI.BadRequestError, "invalid_json", ask({ model: "plain", tools: [{ name: "x" }] }));
await refused(OpenAI.BadRequestError, "unsupported_parameter", ask({ model: "turnpike", n: 2 }));
await refused(OpenAI.InternalServerError, "provider_refuses_key", ask({ model: "bad-key" }));
const stranger = new OpenAI({ baseURL, apiKey: "tp_wrong", maxRetries: 0 });
await refused(OpenAI.AuthenticationError, "unauthorized", () => stranger.models.list());

// A stream that its client leaves.
const left = await client.chat.completions.create({ model: "hangs", messages, stream: true });
for await (const chunk of left) { assert.ok(chunk.id); break; }

console.log(chunks[0].id.slice("chatcmpl-".length));
console.log(whole.id.slice("chatcmpl-".length));
console.log(streamed);
