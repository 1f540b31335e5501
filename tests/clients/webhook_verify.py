"""The standard's own library for Python, asked about each line of the file CASES: id, timestamp, signatures and body."""

import base64, os

from standardwebhooks import Webhook

NAMES = ["webhook-id", "webhook-timestamp", "webhook-signature"]
webhook = Webhook(os.environ["SECRET"])
for line in open(os.environ["CASES"]):
    fields = [None if field == "-" else base64.b64decode(field) for field in line.strip().split(" ")]
    headers = {name: value.decode("latin-1") for name, value in zip(NAMES, fields) if value is not None}
    try:
        webhook.verify((fields[3] or b"").decode(), headers)
        print("true")
    # A malformed signature is not refused as such, but the exception refuses it too.
    except Exception:
        print("false")
