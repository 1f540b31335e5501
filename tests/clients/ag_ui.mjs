// What AG-UI's own client makes of a turn. One JSON document.
import { HttpAgent } from "@ag-ui/client";

const { URL: url, KEY: key, SESSION: session, MESSAGE: text, IDEMPOTENCY_KEY: idempotency } = process.env;
const headers = { Authorization: `Bearer ${key}` };
if (idempotency) headers["Idempotency-Key"] = idempotency;

const agent = new HttpAgent({
  url: `${url}/api/unified/chat-stream/ag-ui`,
  headers,
  threadId: session,
  initialMessages: [{ id: "m1", role: "user", content: text }],
});

const kinds = [];
const custom = {};
let finished;
let failed;
await agent
  .runAgent(
    { runId: "run-1" },
    {
      onEvent: ({ event }) => {
        if (kinds.at(-1) !== event.type) kinds.push(event.type);
      },
      onCustomEvent: ({ event }) => {
        custom[event.name] = event.value;
      },
      onRunFinishedEvent: ({ event }) => {
        finished = event;
      },
      onRunErrorEvent: ({ event }) => {
        failed = event;
      },
    },
  )
  .catch((error) => {
    if (!failed) throw error;
  });

const answers = agent.messages.filter((message) => message.role === "assistant");
console.log(
  JSON.stringify({
    kinds,
    custom,
    finished,
    failed,
    asked: agent.messages.filter((message) => message.role === "user").length,
    text: answers.map((message) => message.content).join(""),
  }),
);
