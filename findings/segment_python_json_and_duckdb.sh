#!/usr/bin/env bash
# What one would guess: an official SDK sends valid JSON, and a JSON reader either takes or refuses what is not.
# What is so: segment-analytics-python serializes with Python's defaults. A NaN goes out bare, and a text that was
# cut inside a surrogate pair as half of one ("\ud83d"). DuckDB takes the first, which is not JSON, and refuses the
# second, whose grammar JSON allows: with ignore_errors, the whole event becomes a row of nulls.
# Why it matters here: a loader built on DuckDB's reader lands NaN, which PostgreSQL's jsonb then refuses for the
# whole file, and silently loses every event whose text was truncated in the middle of an emoji.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check segment-analytics-python==2.4.0 duckdb==2.0.1
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import http.server
import json
import sys
import threading
from importlib.metadata import version

import duckdb
from segment.analytics.client import Client

lines = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        # The message as it was sent: between the brackets of {"batch": [...], "sentAt": ...}.
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        lines.append(body[body.index("[") + 1 : body.rindex("]")])
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = Client("key", host=f"http://127.0.0.1:{server.server_port}", sync_mode=True)
emoji = json.loads('"\\ud83d\\ude00"')
cut = ("Great " + emoji).encode("utf-16-le")[:14].decode("utf-16-le", "surrogatepass")
client.track("u1", "Scored", {"score": float("nan")})
client.track("u1", "Wrote", {"text": cut})

file = f"{sys.argv[1]}/events.ndjson"
with open(file, "w") as out:
    out.write("\n".join(lines) + "\n")
print("segment-analytics-python", version("segment-analytics-python"), "duckdb", duckdb.__version__)
for line in lines:
    print(line[line.index('"properties"') :].split("}")[0] + "}")
valid = [duckdb.execute("select json_valid(?)", [line]).fetchone()[0] for line in lines]
read = duckdb.execute(
    "select event from read_json(?, columns = {event: 'VARCHAR'}, format = 'newline_delimited', "
    "ignore_errors = true)",
    [file],
).fetchall()
print("json_valid:", valid, "read with ignore_errors:", read)
assert '"score": NaN' in lines[0] and '\\ud83d"' in lines[1], lines
assert valid == [True, False], valid
assert read == [("Scored",), (None,)], read
PYTHON
