"""The documentation is true: what it says to type runs and prints what it shows, and its links lead somewhere.

A fenced block marked ``sh run`` or ``python run`` is run, in the page's order and in one folder with a copy of
``examples``; it must exit with 0, or as ``exits N`` says. ``sh serve`` is a terminal of its own: it keeps running.
``text output`` behind a block is what that block prints, with ``…`` for anything. Ports are replaced by free ones.
``yaml contract`` and ``yaml policy`` are valid without a warning. Any other ``python`` is at least Python.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from caio.contracts import parse_contract
from caio.contracts.parse import Parsed
from caio.registry.advice import compiled

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PORTS = ("8080", "8101", "8102", "8110")
SECONDS = 60

FENCE = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
VALID: dict[str, Callable[[bytes], Parsed[Any]]] = {
    "yaml contract": parse_contract,
    "yaml policy": lambda raw: compiled(raw)[0],
}
RUNS = re.compile(r"(?P<language>sh|python) (?P<how>run|serve)(?: exits (?P<status>\d+))?")


@dataclass(frozen=True)
class Block:
    language: str
    how: str
    status: int
    text: str
    output: str | None


def blocks_of(page: str) -> list[Block]:
    """The blocks to run; raises ValueError for a mark that is none of those above."""
    found: list[Block] = []
    before = None
    for fence in FENCE.finditer(page):
        kind, text = fence["kind"], fence["text"]
        if kind == "text output":
            if before is None:
                raise ValueError(f"an output that belongs to no block: {text[:60]!r}")
            found[-1] = Block(before.language, before.how, before.status, before.text, text)
            before = None
        elif mark := RUNS.fullmatch(kind):
            before = Block(mark["language"], mark["how"], int(mark["status"] or 0), text, None)
            found.append(before)
        elif " " in kind and kind not in VALID:
            raise ValueError(f"unknown mark: {kind!r}")
    return found


def agrees(shown: str, printed: str) -> bool:
    """Whether ``printed`` is what a page shows, ``…`` standing for any text."""
    return re.fullmatch(".*".join(map(re.escape, shown.strip().split("…"))), printed.strip(), re.DOTALL) is not None


class Desk:
    """A reader at a desk: a folder, an environment that lasts from block to block, and open terminals."""

    def __init__(self, folder: Path, free_port: Callable[[], int]) -> None:
        self._folder = folder
        self._ports = {port: str(free_port()) for port in PORTS}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CAIO_", "OPENAI_"))}
        self._environment = kept | {
            "HOME": str(folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CAIO_API_PORT": self._ports["8080"],
            "CAIO_URL": f"http://127.0.0.1:{self._ports['8080']}",
            "COLUMNS": "200",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._waiting: list[tuple[Block, Path]] = []
        shutil.copytree(ROOT / "examples", folder / "examples")
        told = ("contracts/answer-*.yaml", "contracts/local-openai.yaml", "services/answer_*.py", "services/local_*.py")
        for file in [file for pattern in told for file in folder.glob(f"examples/{pattern}")]:
            file.write_text(self._here(file.read_text()))

    def run(self, block: Block) -> None:
        self._await_terminals()
        command = [sys.executable, "-c", block.text]
        if block.language == "sh":
            lasting = "set -aeuo pipefail; if [ -f .lasting ]; then . ./.lasting; fi; trap 'export -p > .lasting' EXIT"
            command = ["bash", "-c", f"{lasting}\n{self._here(block.text)}"]
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        printed = self._there(done.stdout)
        assert done.returncode == block.status, f"{block.text}\nexited with {done.returncode}:\n{printed}"
        if block.output is not None:
            assert agrees(block.output, printed), f"{block.text}\nprinted:\n{printed}\nand not:\n{block.output}"

    @contextmanager
    def serve(self, block: Block) -> Iterator[None]:
        """Keep a block running; whoever runs the next block waits until it prints what the page shows."""
        log = self._folder / f"terminal-{len(list(self._folder.glob('terminal-*')))}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {self._here(block.text)}"],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
            )
        self._waiting.append((block, log))
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                status = process.wait(20)
            finally:
                process.kill()
                process.wait()
        assert status == 0, f"{block.text} ended with {status}"

    def _await_terminals(self) -> None:
        """Wait for what the open terminals are to show, and copy the ``export`` lines they print."""
        end = time.monotonic() + SECONDS
        for block, log in self._waiting:
            assert block.output is not None, "a terminal's first output must be shown"
            while not agrees(block.output, self._there(log.read_text())):
                assert time.monotonic() < end, f"{block.text} printed:\n{log.read_text()}"
                time.sleep(0.05)
            for name, value in re.findall(r"^ *export (\w+)=(\S+)$", log.read_text(), re.MULTILINE):
                self._environment[name] = value
        self._waiting.clear()

    def _here(self, text: str) -> str:
        for shown, ours in self._ports.items():
            text = re.sub(rf"\b{shown}\b", ours, text)
        return text

    def _there(self, text: str) -> str:
        for shown, ours in self._ports.items():
            text = re.sub(rf"\b{ours}\b", shown, text)
        return text


def test_what_the_tutorial_and_the_library_page_say_to_type_runs(tmp_path, free_port):
    """One desk for both: the library's page needs the services that the tutorial starts."""
    desk = Desk(tmp_path, free_port)
    with ExitStack() as terminals:
        for page in ("tutorials/first-route.md", "how-to/embed-the-library.md"):
            blocks = blocks_of((DOCS / page).read_text())
            assert blocks
            for block in blocks:
                if block.how == "serve":
                    terminals.enter_context(desk.serve(block))
                else:
                    desk.run(block)


@pytest.mark.long
def test_what_the_pages_on_openais_clients_and_on_names_of_models_say_to_type_runs(tmp_path, free_port):
    desk = Desk(tmp_path, free_port)
    with ExitStack() as terminals:
        for page in ("how-to/call-with-openai-clients.md", "how-to/name-models.md"):
            blocks = blocks_of((DOCS / page).read_text())
            assert len(blocks) > 2
            for block in blocks:
                if block.how == "serve":
                    terminals.enter_context(desk.serve(block))
                else:
                    desk.run(block)


@pytest.mark.long
def test_what_the_page_on_the_python_client_says_to_type_runs(tmp_path, free_port):
    desk = Desk(tmp_path, free_port)
    with ExitStack() as terminals:
        blocks = blocks_of((DOCS / "how-to/use-the-python-client.md").read_text())
        assert len(blocks) == 7
        for block in blocks:
            if block.how == "serve":
                terminals.enter_context(desk.serve(block))
            else:
                desk.run(block)


@pytest.mark.long
def test_what_the_page_on_plans_says_to_type_runs(tmp_path, free_port):
    desk = Desk(tmp_path, free_port)
    blocks = blocks_of((DOCS / "how-to/plan-a-chain.md").read_text())
    assert len(blocks) == 4
    for block in blocks:
        desk.run(block)


@pytest.mark.long
def test_what_the_page_on_keeping_and_erasing_says_to_type_runs(tmp_path, free_port):
    desk = Desk(tmp_path, free_port)
    server, *blocks = blocks_of((DOCS / "how-to/keep-and-erase.md").read_text())
    assert len(blocks) == 9
    with desk.serve(server):
        for block in blocks:
            desk.run(block)


@pytest.mark.long
def test_what_the_page_on_auditing_a_log_says_to_type_runs(tmp_path, free_port):
    desk = Desk(tmp_path, free_port)
    server, *blocks = blocks_of((DOCS / "how-to/audit-a-log.md").read_text())
    assert len(blocks) == 4
    with desk.serve(server):
        for block in blocks:
            desk.run(block)


def test_what_the_page_on_tenants_says_to_type_runs(tmp_path, free_port):
    desk = Desk(tmp_path, free_port)
    server, *blocks = blocks_of((DOCS / "how-to/manage-tenants.md").read_text())
    assert len(blocks) == 9
    with desk.serve(server):
        for block in blocks:
            desk.run(block)


def test_what_the_page_on_costs_says_to_type_runs(tmp_path, free_port):
    desk = Desk(tmp_path, free_port)
    (block,) = blocks_of((DOCS / "deployment/COST_ESTIMATION.md").read_text())
    desk.run(block)


def test_what_pages_show_is_valid():
    shown = [
        (page.name, fence["kind"], fence["text"]) for page in pages() for fence in FENCE.finditer(page.read_text())
    ]
    documents = [(name, VALID[kind](text.encode())) for name, kind, text in shown if kind in VALID]
    assert len(documents) > 3  # the pages are really looked at
    assert [(name, document.warnings) for name, document in documents if document.warnings] == []
    for name, kind, text in shown:
        if kind.startswith("python"):
            compile(text, name, "exec")


def test_marks_are_understood():
    page = "```sh run exits 3\nfalse\n```\n\n```text output\na …\n```\n```yaml\na: 1\n```\n```sh serve\nx\n```\n"
    assert blocks_of(page) == [Block("sh", "run", 3, "false\n", "a …\n"), Block("sh", "serve", 0, "x\n", None)]
    for wrong in ("```sh runs\nx\n```\n", "```text output\nx\n```\n", "```sh run exits\nx\n```\n"):
        with pytest.raises(ValueError, match=r"unknown mark|belongs to no block"):
            blocks_of(wrong)
    assert agrees("a …\n", "a b\nc\n")
    assert not agrees("a …", "b")
    assert not agrees("a.c", "abc")


# --- links --------------------------------------------------------------------------------------

LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(<?(?P<target>[^)\s>]+)>?\)")
HEADING = re.compile(r"^#{1,6} (?P<text>.+?)\s*$", re.MULTILINE)
SKIPPED = {".git", ".venv", ".cache", "node_modules", "build", "dist"}


def pages() -> list[Path]:
    return [
        Path(folder) / name
        for folder, folders, names in os.walk(ROOT, topdown=True)
        for folders[:] in [[each for each in folders if each not in SKIPPED and not each.startswith(".")]]
        for name in names
        if name.endswith(".md")
    ]


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", lambda code: "x" * len(code[0]), FENCE.sub("", text))


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    found: set[str] = set()
    for heading in HEADING.finditer(FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading["text"])
        base = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        name, number = base, 0
        while name in found:
            number += 1
            name = f"{base}-{number}"
        found.add(name)
    return found


def broken_links(page: Path, text: str) -> list[str]:
    """The relative links of a page whose file or anchor does not exist."""
    broken = []
    for link in LINK.finditer(without_code(text)):
        target = link["target"]
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue  # another site's business
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if (
            not file.exists()
            or not file.is_relative_to(ROOT)
            or (anchor and anchor not in anchors_of(file.read_text()))
        ):
            broken.append(target)
    return broken


def test_every_link_leads_somewhere():
    found = {str(page.relative_to(ROOT)): broken_links(page, page.read_text()) for page in pages()}
    assert len(found) > 20  # the repository is really looked at
    assert {page: broken for page, broken in found.items() if broken} == {}


def test_a_broken_link_is_noticed():
    page = DOCS / "reference" / "x.md"
    assert broken_links(
        page, "[a](cli.md#exit-codes) [b](../adr) [c](https://x.org/y) `[d](no.md)` [e](#here)\n# Here"
    ) == ["#here"]
    for wrong in ("no.md", "cli.md#no", "../../../etc/passwd"):
        assert broken_links(page, f"[a]({wrong})") == [wrong]


def test_every_page_is_on_the_map():
    """docs/README.md links every page of the documentation but itself."""
    text = (DOCS / "README.md").read_text()
    linked = {(DOCS / link["target"].partition("#")[0]).resolve() for link in LINK.finditer(text)}
    folders = {"adr", "runbooks"}  # which have lists of their own
    missing = [
        str(page.relative_to(DOCS))
        for page in DOCS.rglob("*.md")
        if page.name != "README.md" and page.resolve() not in linked and page.relative_to(DOCS).parts[0] not in folders
    ]
    assert missing == []
