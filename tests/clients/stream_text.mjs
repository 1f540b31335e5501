// `streamText` of the `ai` package, with its provider for OpenAI-compatible services, against `/v1`. One JSON document.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { streamText } from "ai";

const { URL: url, KEY: key, MESSAGE: prompt } = process.env;
const turnpike = createOpenAICompatible({ name: "turnpike", baseURL: `${url}/v1`, apiKey: key, includeUsage: true });

const result = streamText({ model: turnpike("turnpike/banking"), prompt, maxRetries: 0 });
let steps = 0;
let text = "";
for await (const piece of result.textStream) {
  steps += 1;
  text += piece;
}
const [usage, finish] = [await result.usage, await result.finishReason];
console.log(
  JSON.stringify({ steps, text, finish, input_tokens: usage.inputTokens, output_tokens: usage.outputTokens }),
);
