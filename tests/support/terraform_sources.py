"""Terraform's sources read without terraform: blocks, what they refer to, and what is declared.

Texts and expressions come as Terraform writes them: a text without its quotes, an expression as its own source.
Comments are not there: what they mention is no reference.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hcl2

LABELS = {"resource": 2, "data": 2, "ephemeral": 2, "variable": 1, "output": 1, "module": 1, "provider": 1, "check": 1}
MARKS = frozenset({"__is_block__", "__comments__", "__inline_comments__"})  # the parser's own
EXPRESSION = re.compile(r"^\$\{(?P<source>.*)\}$", re.DOTALL)


def plain(value: Any) -> Any:
    """A value of the parser's without its quotes and the parser's marks."""
    if isinstance(value, dict):
        return {plain(name): plain(each) for name, each in value.items() if name not in MARKS}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if not isinstance(value, str):
        return value
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return value[1:-1]
    match = EXPRESSION.match(value)
    return match["source"] if match else value


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each text below a value with where it stands; names that are expressions too."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield path, str(name)
            yield from texts(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for each in value:
            yield from texts(each, path)
    elif isinstance(value, str):
        yield path, value


@dataclass(frozen=True)
class Block:
    """One block at the top of a file."""

    kind: str
    labels: tuple[str, ...]
    body: Mapping[str, Any]
    file: str

    @property
    def address(self) -> str:
        return ".".join((*(() if self.kind == "resource" else (self.kind,)), *self.labels))

    @property
    def code(self) -> list[str]:
        """Its texts and expressions; what describes it is prose."""
        return [text for path, text in texts(self.body) if path != "description"]


def _blocks(file: str, document: Mapping[str, Any]) -> Iterator[Block]:
    for kind, entries in document.items():
        for entry in entries:
            bodies: list[tuple[tuple[str, ...], Any]] = [((), entry)]
            for _ in range(LABELS.get(kind, 0)):
                bodies = [((*labels, plain(name)), body) for labels, each in bodies for name, body in each.items()]
            for labels, body in bodies:
                yield Block(kind, labels, plain(body), file)


@functools.cache
def parse(text: str, file: str = "main.tf") -> tuple[Block, ...]:
    """The blocks of one file, parsed once; raises lark's errors, naming line and column, on what is no HCL."""
    return tuple(_blocks(file, hcl2.loads(text)))


@dataclass(frozen=True)
class Sources:
    """The Terraform files of one folder (a module or an environment)."""

    folder: Path
    blocks: tuple[Block, ...]
    texts: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> Sources:
        texts = {path.name: path.read_text() for path in sorted(folder.glob("*.tf"))}
        return cls.of(texts, folder)

    @classmethod
    def of(cls, texts: Mapping[str, str], folder: Path = Path()) -> Sources:
        """The same of texts by file name: how a test feeds a mistake to a rule."""
        return cls(folder, tuple(block for file, text in texts.items() for block in parse(text, file)), texts)

    def all(self, kind: str) -> list[Block]:
        return [block for block in self.blocks if block.kind == kind]

    def resources(self, *types: str) -> list[Block]:
        return [block for block in self.all("resource") if block.labels[0] in types]

    def declared(self, kind: str) -> set[str]:
        """The names of variables, outputs or modules."""
        return {block.labels[0] for block in self.all(kind)}

    def used(self, root: str) -> set[str]:
        """The names that follow `root.` (`var`, `local`); a variable's own validation is no use of it."""
        found: set[str] = set()
        for block in self.blocks:
            names = {name for text in block.code for name in re.findall(rf"(?<![\w.]){root}\.([A-Za-z_]\w*)", text)}
            found |= names - set(block.labels if root == "var" and block.kind == "variable" else ())
        return found

    def module_outputs_used(self) -> set[tuple[str, str]]:
        """(module, output) of each `module.NAME.OUTPUT` or `module.NAME[…].OUTPUT`."""
        pattern = re.compile(r"(?<![\w.])module\.(\w+)(?:\[[^\]]*\])?\.(\w+)")
        return {found for block in self.blocks for text in block.code for found in pattern.findall(text)}


def called(sources: Sources, module: Block) -> Path:
    """The folder that a local module call points at."""
    return (sources.folder / str(module.body["source"])).resolve()


COMMON = frozenset({"name", "environment", "tags"})  # every module takes them, whether it needs all three or not
META_ARGUMENTS = frozenset({"source", "version", "providers", "count", "for_each", "depends_on"})


def wiring_mistakes(sources: Sources) -> list[str]:
    """Names that do not meet: variables, locals, modules' arguments and outputs. Needs no terraform."""
    variables, locals_ = sources.declared("variable"), {name for each in sources.all("locals") for name in each.body}
    found = [f"var.{name} is used and not declared" for name in sorted(sources.used("var") - variables)]
    found += [f"variable {name} is declared and not used" for name in sorted(variables - sources.used("var") - COMMON)]
    found += [f"local.{name} is used and not declared" for name in sorted(sources.used("local") - locals_)]
    found += [f"local {name} is declared and not used" for name in sorted(locals_ - sources.used("local"))]
    targets = {}
    for call in sources.all("module"):
        folder = called(sources, call)
        if not folder.is_dir():
            found.append(f"{call.address} points at {call.body['source']}, which is no folder")
            continue
        targets[call.labels[0]] = target = Sources.read(folder)
        given = set(call.body) - META_ARGUMENTS
        wanted = {block.labels[0] for block in target.all("variable") if "default" not in block.body}
        found += [f"{call.address} gives {name}, unknown there" for name in sorted(given - target.declared("variable"))]
        found += [f"{call.address} does not give {name}" for name in sorted(wanted - given)]
    for name, output in sorted(sources.module_outputs_used()):
        if name not in sources.declared("module"):
            found.append(f"module.{name}.{output} is used, and there is no such module call")
        elif name in targets and output not in targets[name].declared("output"):
            found.append(f"module.{name}.{output} is used, and the module has no such output")
    return found
