#!/opt/caio/bin/python -IB
"""Whether the process in this container is ready: exit 0 for 200, and 1 for every other answer and for none.

It asks the operations listener on loopback (``CAIO_OPS_PORT``; path from the first argument, ``/health/ready``
unless told otherwise) and needs nothing but the standard library, so that a broken installation is reported as
unhealthy and not as a missing package.

Laws (each has a test of the same name)
---------------------------------------
- healthy_is_200_alone: 503, 404, 204 and redirects fail; a redirect is not followed.
- an_answer_is_due_in_five_seconds: also one that comes a byte at a time.
- no_answer_is_unhealthy: nothing listens, the connection breaks, what answers speaks no HTTP.

The image's HEALTHCHECK gives it ten seconds, so that the reason is written before it would be killed.
"""

import http.client
import os
import signal
import sys

SECONDS = 5


def status_of(port: int, path: str) -> int:
    """The status that the listener answers with; raises OSError or HTTPException when it does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().status
    finally:
        connection.close()


def _too_late(_number: int, _frame: object) -> None:
    raise TimeoutError(f"no whole answer within {SECONDS} s")


def _unhealthy(reason: str) -> int:
    sys.stderr.write(f"unhealthy: {reason}\n")
    return 1


def main(arguments: list[str]) -> int:
    port = os.environ.get("CAIO_OPS_PORT", "9090")
    path = arguments[0] if arguments else "/health/ready"
    signal.signal(signal.SIGALRM, _too_late)  # a socket's time-out starts anew at every byte
    signal.alarm(SECONDS)
    try:
        status = status_of(int(port), path)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return _unhealthy(f"127.0.0.1:{port}{path}: {type(error).__name__}: {error}")
    if status != 200:
        return _unhealthy(f"127.0.0.1:{port}{path} answered {status}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
