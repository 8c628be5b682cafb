"""Other gateways, installed by this benchmark into environments of their own: LiteLLM's proxy and Portkey's.

They are installed once, below ``.cache/peers`` and from the registries that this machine's pip and npm are set up
for, in the versions named here; no install script of a package runs. Each is started with what its documentation
gives for one process and one model, no database, no cache, no log of payloads. What a peer does for a call is
less than what CAIO does: neither decides among services by contract nor makes its answer wait for a record.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gateway.processes import free_port

CACHE = Path(__file__).parents[2] / ".cache" / "peers"
LITELLM, PORTKEY = "litellm[proxy]==1.90.7", "@portkey-ai/gateway@1.15.2"
INSTALL_SECONDS, START_SECONDS = 900, 120
CHAT = "/v1/chat/completions"


class Unavailable(Exception):
    """A peer that cannot be had on this machine; the message says why."""


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that answers: where, with which headers, and the process whose time counts."""

    url: str
    pid: int
    headers: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def litellm(upstream_url: str, folder: Path) -> Iterator[Running]:
    """LiteLLM's proxy with one model; raises Unavailable."""
    place = CACHE / "litellm"
    program = place / "bin" / "litellm"
    install_python(place, LITELLM)
    model = {"model": "openai/mock", "api_base": f"{upstream_url}/v1", "api_key": "none"}
    (folder / "litellm.json").write_text(  # JSON is YAML
        json.dumps({"model_list": [{"model_name": "mock", "litellm_params": model}]}), encoding="utf-8"
    )
    port = free_port()
    command = [str(program), "--config", str(folder / "litellm.json"), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--telemetry", "False", "--num_workers", "1"]
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION"}
    with _started("LiteLLM", command, environment, port, folder, {}) as running:
        yield running


@contextmanager
def portkey(upstream_url: str, folder: Path) -> Iterator[Running]:
    """Portkey's gateway, told by headers whom to call; raises Unavailable."""
    place = CACHE / "portkey"
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Unavailable("Portkey needs node and npm, which are not installed")
    if not _is_installed(place, PORTKEY):
        npm = ["npm", "install", "--prefix", str(place), "--ignore-scripts", "--no-audit", "--no-fund", PORTKEY]
        _install(npm, place, PORTKEY)
    port = free_port()
    program = place / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{upstream_url}/v1"}
    command = ["node", str(program), "--headless", f"--port={port}"]
    with _started("Portkey", command, {"NODE_ENV": "production"}, port, folder, headers) as running:
        yield running


PEERS: Mapping[str, Callable[[str, Path], AbstractContextManager[Running]]] = {"LiteLLM": litellm, "Portkey": portkey}


def install_python(place: Path, what: str) -> None:
    """A package in an environment of its own, once; raises Unavailable."""
    if not _is_installed(place, what):
        _install([sys.executable, "-m", "venv", str(place)], place)
        pip = [str(place / "bin" / "python"), "-m", "pip", "install", "-q", "--only-binary", ":all:", what]
        _install(pip, place, what)


def _is_installed(place: Path, what: str) -> bool:
    mark = place / "installed.txt"
    return mark.exists() and mark.read_text(encoding="utf-8") == what


def _install(command: list[str], place: Path, what: str | None = None) -> None:
    """Run an installation; note ``what`` when it is complete."""
    place.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"not installed within {INSTALL_SECONDS} s: {command[0]}") from error
    if done.returncode:
        raise Unavailable(f"not installed: {_last_line(done.stderr)}")
    if what is not None:
        (place / "installed.txt").write_text(what, encoding="utf-8")


@contextmanager
def _started(
    name: str, command: list[str], settings: Mapping[str, str], port: int, folder: Path, headers: Mapping[str, str]
) -> Iterator[Running]:
    """The peer's process, once it relays a call; it sees of this environment what it needs to be found."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | {**settings}
    log = folder / f"{name}.log"
    with log.open("wb") as told:
        process = subprocess.Popen(
            command, stdout=told, stderr=told, cwd=folder, env=environment, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _await(name, process, url, headers, log)
        yield Running(url, process.pid, headers)
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # the group is its own: start_new_session
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(name: str, process: subprocess.Popen[bytes], url: str, headers: Mapping[str, str], log: Path) -> None:
    body = json.dumps({"model": "mock", "messages": [{"role": "user", "content": "Hello"}]}).encode()
    sent = {"content-type": "application/json", "authorization": "Bearer none", **headers}
    until = time.monotonic() + START_SECONDS
    told = ""
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url + CHAT, body, sent), timeout=10):
                return
        except urllib.error.HTTPError as error:
            told = f"{error.code} {error.read(300).decode(errors='replace')}"
        except OSError:
            pass
        time.sleep(0.5)
    said = told or _last_line(log.read_text(encoding="utf-8", errors="replace"))
    raise Unavailable(f"{name} does not relay a call: {said}")


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
