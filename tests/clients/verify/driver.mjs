// Asks the guide's `isGenuine` about each line of the file CASES: id, timestamp, signatures and body, in base64.
import { readFileSync } from "node:fs";
import { isGenuine } from "./snippet.mjs";

const names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
for (const line of readFileSync(process.env.CASES, "utf8").trim().split("\n")) {
  const fields = line.split(" ").map((field) => (field === "-" ? undefined : Buffer.from(field, "base64")));
  const headers = {};
  names.forEach((name, i) => fields[i] && (headers[name] = fields[i].toString("latin1")));
  console.log(isGenuine(process.env.SECRET, headers, fields[3] ?? Buffer.alloc(0)) ? "true" : "false");
}
