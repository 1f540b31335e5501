// What the `ai` package makes of a turn: its own transport posts, its own reader reads. One JSON document.
import { DefaultChatTransport, readUIMessageStream } from "ai";

const { URL: url, KEY: key, SESSION: session, MESSAGE: text, IDEMPOTENCY_KEY: idempotency } = process.env;
const headers = { Authorization: `Bearer ${key}` };
if (idempotency) headers["Idempotency-Key"] = idempotency;

const transport = new DefaultChatTransport({ api: `${url}/api/unified/chat-stream/ui-message`, headers });
const stream = await transport.sendMessages({
  chatId: session,
  messages: [{ id: "m1", role: "user", parts: [{ type: "text", text }] }],
  trigger: "submit-message",
});

let steps = 0;
let message;
for await (const grown of readUIMessageStream({ stream, terminateOnError: true })) {
  steps += 1;
  message = structuredClone(grown);
}

const isReset = (part) => part.type === "data-reset";
const parts = message.parts.slice(message.parts.findLastIndex(isReset) + 1);
console.log(
  JSON.stringify({
    steps,
    resets: message.parts.filter(isReset).length,
    text: parts.filter((part) => part.type === "text").map((part) => part.text).join(""),
    sources: message.parts
      .filter((part) => part.type.startsWith("source-"))
      .map((part) => part.providerMetadata.turnpike),
    language: message.parts.find((part) => part.type === "data-language")?.data,
    intent: message.parts.find((part) => part.type === "data-intent")?.data,
    metadata: message.metadata,
  }),
);
