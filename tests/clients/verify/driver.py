"""Asks the guide's `is_genuine` about each line of the file CASES: id, timestamp, signatures and body, in base64."""

import base64, os

from snippet import is_genuine

NAMES = ["webhook-id", "webhook-timestamp", "webhook-signature"]
for line in open(os.environ["CASES"]):
    fields = [None if field == "-" else base64.b64decode(field) for field in line.strip().split(" ")]
    headers = {name: value.decode("latin-1") for name, value in zip(NAMES, fields) if value is not None}
    print("true" if is_genuine(os.environ["SECRET"], headers, fields[3] or b"") else "false")
