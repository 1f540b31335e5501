// The official client for JavaScript: models, embeddings and images.
import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";

const { URL: baseURL, KEY: apiKey } = process.env;
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 30_000 });

const ids = [];
for await (const model of client.models.list()) ids.push(model.id);
for (const id of ["turnpike", "turnpike/banking", "plain", "listed"]) assert.ok(ids.includes(id), id);
assert.equal((await client.models.retrieve("turnpike/banking")).owned_by, "turnpike");

const made = await client.embeddings.create({ model: "mock/embedder", input: ["xin chào", "ba"] });
assert.deepEqual(made.data.map((vector) => vector.embedding), [[8, 0.5, -1], [2, 0.5, -1]]);

const image = await client.images.generate({ model: "mock/painter", prompt: "a turnpike" });
assert.equal(image.data[0].b64_json, "aGVsbG8=");
const picture = await toFile(Buffer.alloc(100_000, "\x89PNG\r\n--"), "picture.png", { type: "image/png" });
const edited = await client.images.edit({ model: "mock/painter", image: picture, prompt: "at night" });
assert.equal(edited.data[0].b64_json, "aGVsbG8=");
