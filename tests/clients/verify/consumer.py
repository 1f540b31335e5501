"""Gives the guide's consumer each line of the file CASES, backwards and twice, and says what it has then."""

import base64, json, os

from consumer_snippet import missing, open_database, take

db = open_database(os.environ["DATABASE"])
cases = []
for line in open(os.environ["CASES"]):
    fields = [base64.b64decode(field) for field in line.strip().split(" ")]
    cases.append((fields[0].decode(), fields[3]))
newest = cases[-1]
first = json.loads(newest[1])["data"]["conversation_id"]
said = [take(db, *newest)]
said.append(missing(db, first))
said.append([take(db, *case) for case in reversed(cases + cases)])
said.append(missing(db, first))
said.append(db.execute("SELECT sequence, summary FROM conversations").fetchall())
said.append([row[0] for row in db.execute("SELECT sequence FROM turns ORDER BY sequence")])
print(json.dumps(said))
