"""What services and policies have in common: documents that are published in versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from caio.cli import exits, output
from caio.cli.files import STANDARD_INPUT, about, read_file
from caio.cli.findings import print_findings
from caio.cli.server import Answer, Server, segment
from caio.foundation.errors import CaioError, Violation


@dataclass(frozen=True, slots=True)
class Checked:
    """A document that is valid by itself."""

    name: str
    version: str
    digest: str
    document: Mapping[str, Any]
    warnings: Sequence[Violation]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of publication: what it is called, where the server keeps it, how a file is checked."""

    noun: str
    path: str
    check: Callable[[bytes], Checked]

    def each(self, files: Sequence[str], step: Callable[[str, bytes], None], as_json: bool) -> None:
        """Do ``step`` for each file, going on after a failure; exits with the first failure's code."""
        failed = exits.ExitCode.OK
        for file in files:
            try:
                raw = read_file(file)
                with about(file, raw):
                    step(file, raw)
            except CaioError as error:
                if len(files) == 1:
                    raise
                self._report(file, error, as_json)
                failed = failed or exits.exit_code_of(error)
        if failed:
            raise typer.Exit(failed)

    def _report(self, file: str, error: CaioError, as_json: bool) -> None:
        if as_json:
            from caio.api.errors import problem

            output.print_json({"file": file, "error": problem(error)})
        else:
            output.failure(error)

    def publish(self, server: Server, files: Sequence[str], as_json: bool, done: str, *, strict: bool = False) -> None:
        def step(file: str, raw: bytes) -> None:
            answer = server.send("POST", self.path + _asking(strict), raw, kind="yaml")
            self._published(file, answer, as_json, done)

        self.each(files, step, as_json)

    def update(self, server: Server, file: str, if_match: str | None, as_json: bool, *, strict: bool = False) -> None:
        """Publish a further version; without ``if_match``, in place of whatever is there now."""

        def step(_: str, raw: bytes) -> None:
            path = f"{self.path}/{segment(self.check(raw).name)}"
            revision = server.get(path).etag if if_match is None else if_match
            answer = server.send("PUT", path + _asking(strict), raw, kind="yaml", if_match=revision)
            self._published(file, answer, as_json, "updated")

        self.each([file], step, as_json)

    def retire(self, server: Server, name: str, as_json: bool) -> None:
        retired = server.send("DELETE", f"{self.path}/{segment(name)}").document
        if as_json:
            output.print_json(retired)
        else:
            output.say(f"{self.noun} {name} is retired; its versions stay readable, for evidence")

    def validate(self, files: Sequence[str], as_json: bool) -> None:
        def step(file: str, raw: bytes) -> None:
            checked = self.check(raw)
            if as_json:
                warned = [{"pointer": w.pointer, "detail": w.message, "line": w.line} for w in checked.warnings]
                about_it = {"file": file, "valid": True, "digest": checked.digest}
                output.print_json({**about_it, "document": dict(checked.document), "warnings": warned})
                return
            output.say(f"{file}: {self.noun} {checked.name}@{checked.version} is valid")
            output.warnings(file, checked.warnings)

        self.each(files, step, as_json)

    def show(self, server: Server, name: str, version: str | None, as_json: bool) -> None:
        found = server.get(f"{self.path}/{segment(name)}", version=version).document
        if as_json:
            output.print_json(found)
            return
        import yaml

        output.say(f"# {found['name']}@{found['version']}, {found['status']}, revision {found['revision']}")
        output.say(f"# {found['digest']}, published {output.moment(found['published_at'])}")
        output.say(yaml.safe_dump(found["document"], sort_keys=False, allow_unicode=True).rstrip())

    def _published(self, file: str, answer: Answer, as_json: bool, done: str) -> None:
        found = answer.document
        if as_json:
            output.print_json(found)
            return
        output.say(f"{done} {self.noun} {found['name']}@{found['version']} (revision {found['revision']})")
        named = "standard input" if file == STANDARD_INPUT else file
        output.warnings(named, [Violation(w["pointer"], w["detail"], w.get("line")) for w in found["warnings"]])
        print_findings(found["findings"], saved_as=found["name"])


def _asking(strict: bool) -> str:
    return "?strict=true" if strict else ""
