"""What depends on what across modules: a graph of every block of a composition, from the sources alone.

Terraform resolves dependencies between single resources, variables and outputs, not between modules; so two modules may
use each other's outputs and still be free of circles. The graph follows the same: a variable of a called module depends
on the argument that its caller gives it, and a use of a module's output on that output's value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.terraform_sources import META_ARGUMENTS, Sources, called, texts

REFERENCE = re.compile(
    r"(?<![\w.\"-])(?:(?P<root>var|local)\.(?P<name>[A-Za-z_]\w*)"
    r"|module\.(?P<module>\w+)(?:\[[^\]]*\])?\.(?P<output>\w+)"
    r"|(?P<data>(?:data|ephemeral)\.)?(?P<type>aws_\w+|terraform_data)\.(?P<label>\w+))"
)


@dataclass
class Graph:
    """Nodes are named `module.path:block`; an edge leads from a block to one that it needs."""

    needs: dict[str, set[str]] = field(default_factory=dict)

    def add(self, node: str, needed: set[str]) -> None:
        self.needs.setdefault(node, set()).update(needed)

    def circle(self) -> list[str]:
        """One circle of dependencies, or nothing."""
        done: set[str] = set()
        for start in self.needs:
            found = self._circle(start, [], done)
            if found:
                return found
        return []

    def _circle(self, node: str, path: list[str], done: set[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for needed in sorted(self.needs.get(node, ())):
            if found := self._circle(needed, [*path, node], done):
                return found
        done.add(node)
        return []

    def reached(self, node: str) -> set[str]:
        """Everything that a node needs, however far away."""
        found: set[str] = set()
        waiting = [node]
        while waiting:
            new = self.needs.get(waiting.pop(), set()) - found
            found |= new
            waiting += new
        return found


def _needed(path: str, code: Iterator[str]) -> set[str]:
    found = set()
    for text in code:
        for match in REFERENCE.finditer(text):
            if match["root"]:
                found.add(f"{path}:{match['root']}.{match['name']}")
            elif match["module"]:
                found.add(f"{path}/{match['module']}:output.{match['output']}")
            else:
                found.add(f"{path}:{match['data'] or ''}{match['type']}.{match['label']}")
    return found


def graph_of(sources: Sources, path: str = "", graph: Graph | None = None) -> Graph:
    """The graph of a folder and of every local module that it calls."""
    graph = Graph() if graph is None else graph
    for block in sources.blocks:
        if block.kind == "locals":
            for name, value in block.body.items():
                graph.add(f"{path}:local.{name}", _needed(path, (text for _, text in texts(value))))
        elif block.kind == "module":
            _add_call(sources, block.labels[0], path, graph)
        elif block.kind in {"resource", "data", "ephemeral", "output"}:
            # A resource that names itself (in ignore_changes, or `self`) waits for nobody.
            node = f"{path}:{block.address}"
            graph.add(node, _needed(path, iter(block.code)) - {node})
    return graph


def _add_call(sources: Sources, name: str, path: str, graph: Graph) -> None:
    (call,) = (block for block in sources.all("module") if block.labels == (name,))
    inside = f"{path}/{name}"
    for argument, value in call.body.items():
        if argument not in META_ARGUMENTS:
            given = (text for _, text in texts(value))
            graph.add(f"{inside}:var.{argument}", _needed(path, given))
    folder = called(sources, call)
    if folder.is_dir():
        graph_of(Sources.read(folder), inside, graph)
