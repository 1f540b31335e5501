// The standard's own library for JavaScript, asked about each line of the file CASES: id, timestamp, signatures and body.
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
const webhook = new Webhook(process.env.SECRET);
for (const line of readFileSync(process.env.CASES, "utf8").trim().split("\n")) {
  const fields = line.split(" ").map((field) => (field === "-" ? undefined : Buffer.from(field, "base64")));
  const headers = {};
  names.forEach((name, i) => fields[i] && (headers[name] = fields[i].toString("latin1")));
  try {
    webhook.verify(fields[3] ?? Buffer.alloc(0), headers);
    console.log("true");
  } catch {
    console.log("false");
  }
}
