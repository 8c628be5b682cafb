"""A service that is a command: one JSON object a line, in and out. It ends when its input does."""

from __future__ import annotations

import json
import sys

for line in sys.stdin:
    request = json.loads(line)
    answer = {"words": len(request["body"]["text"].split())}
    sys.stdout.write(json.dumps({"id": request["id"], "answer": answer}) + "\n")
    sys.stdout.flush()
