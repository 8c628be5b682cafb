"""``caio`` with an alarm that rings as processor time passes, for machines where py-spy cannot be had.

At each ring the main thread notes the stack that it was at. Other threads' stacks are not seen, and compiled code
ends before the bell is heard: its time is its caller's or, for the event loop's own, that of what runs next.

Run as a process: ``python -m benchmarks.gateway.sampled OUT serve …``. It begins at SIGUSR1, and when it ends it
writes to OUT how often which stack was met, a line each, outermost first, as py-spy's raw format does.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

EVERY_SECONDS = 0.005


def main() -> None:
    from caio.cli.main import main as caio

    met: Counter[str] = Counter()
    out = Path(sys.argv[1])
    sys.argv = ["caio", *sys.argv[2:]]
    signal.signal(signal.SIGPROF, lambda _, frame: met.update((stack_of(frame),)))
    signal.signal(signal.SIGUSR1, lambda *_: signal.setitimer(signal.ITIMER_PROF, EVERY_SECONDS, EVERY_SECONDS))
    try:
        caio()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        out.write_text("".join(f"{stack} {count}\n" for stack, count in met.items()), encoding="utf-8")


def stack_of(frame: FrameType | None) -> str:
    """``name (file:line)``, from the outermost to ``frame``."""
    places = []
    while frame is not None:
        places.append(f"{frame.f_code.co_name} ({frame.f_code.co_filename}:{frame.f_lineno})")
        frame = frame.f_back
    return ";".join(reversed(places))


if __name__ == "__main__":
    main()
