"""The bill of materials, of this environment: the script asks whatever Python runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distributions
from typing import Any

from packaging.utils import canonicalize_name

from scripts.sbom import debian_components
from tests.support.infra_tools import ROOT

SCRIPT = ROOT / "scripts" / "sbom.py"


def produced() -> str:
    with SCRIPT.open() as script:  # on standard input, as the image is given it
        return subprocess.run(
            [sys.executable, "-I", "-"], stdin=script, capture_output=True, text=True, check=True
        ).stdout


def pypi(document: dict[str, Any]) -> set[tuple[str, str]]:
    components = [*document["components"], document["metadata"]["component"]]
    return {(each["name"], each["version"]) for each in components if each["purl"].startswith("pkg:pypi/")}


def test_lists_exactly_what_is_installed():
    document = json.loads(produced())
    assert pypi(document) == {(canonicalize_name(each.metadata["Name"]), each.version) for each in distributions()}
    assert document["metadata"]["component"]["name"] == "caio-platform"
    references = [each["bom-ref"] for each in document["components"]]
    assert len(references) == len(set(references))


def test_same_content_same_document():
    assert produced() == produced()


def test_debian_packages_that_were_removed_are_not_listed():
    status = (
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u1\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n"
    )
    assert [(each["name"], each["purl"]) for each in debian_components(status)] == [
        ("libc6", "pkg:deb/debian/libc6@2.36-9%2Bdeb12u1?arch=amd64")
    ]
