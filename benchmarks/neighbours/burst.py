"""The neighbour, as a process of its own that gives way to the quiet tenant's load on the core they share.

``python -m benchmarks.neighbours.burst URL PATH`` reads a line of JSON for each burst (``key``, ``body``, ``rate``,
``seconds``) and prints, when it is over, how often which status was answered.
"""

from __future__ import annotations

import json
import os
import sys

import uvloop

from benchmarks.neighbours.pace import Caller, run


def main() -> None:
    os.nice(10)
    url, path = sys.argv[1:]
    for line in sys.stdin:
        wanted = json.loads(line)
        caller = Caller(wanted["key"], wanted["body"].encode(), wanted["rate"])
        paced = uvloop.run(run(url, path, caller, wanted["seconds"]))
        print(json.dumps({str(status): count for status, count in paced.statuses.items()}), flush=True)


if __name__ == "__main__":
    main()
