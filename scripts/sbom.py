"""The bill of materials of the Python and the system it is run by, as CycloneDX 1.5 JSON on standard output.

Theory of operation
-------------------
It needs nothing but the standard library, so the image itself says what is in it:

    docker run --rm -i --entrypoint python IMAGE -I - < scripts/sbom.py > sbom.cdx.json

Listed is every installed Python distribution (from the metadata that installers write) and every Debian package
(from dpkg's own record), each with its package URL, and for Python its declared licence.

Laws (each has a test of the same name)
---------------------------------------
- lists_exactly_what_is_installed: no distribution is missing, none is invented.
- same_content_same_document: no time and no random number; the serial number is derived from the components.

Not looked at: files that no installer recorded, and whether what is declared is true.
"""

from __future__ import annotations

import json
import platform
import re
import sys
import uuid
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import quote

APPLICATION = "caio-platform"
DPKG = Path("/var/lib/dpkg/status")


def python_component(distribution: Distribution) -> dict[str, object]:
    name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
    reference = f"pkg:pypi/{quote(name)}@{quote(distribution.version)}"
    component: dict[str, object] = {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": distribution.version,
        "purl": reference,
    }
    if expression := distribution.metadata["License-Expression"]:
        component["licenses"] = [{"expression": expression}]
    return component


def debian_components(status: str) -> list[dict[str, object]]:
    """The installed packages of dpkg's record."""
    found: list[dict[str, object]] = []
    for paragraph in status.split("\n\n"):
        fields: dict[str, str] = dict(re.findall(r"^(\w+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status") != "install ok installed":
            continue
        name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
        reference = f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe='')}?arch={architecture}"
        found.append({"type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference})
    return found


def document() -> dict[str, object]:
    installed = {str(each["bom-ref"]): each for each in map(python_component, distributions())}
    system = debian_components(DPKG.read_text()) if DPKG.is_file() else []
    runtime: dict[str, object] = {
        "type": "platform",
        "bom-ref": f"pkg:generic/python@{platform.python_version()}",
        "name": "python",
        "version": platform.python_version(),
        "purl": f"pkg:generic/python@{platform.python_version()}",
    }
    application = [each for each in installed.values() if each["name"] == APPLICATION]
    libraries = [each for each in installed.values() if each["name"] != APPLICATION]
    components = sorted([runtime, *libraries, *system], key=lambda each: str(each["bom-ref"]))
    metadata: dict[str, object] = {}
    if application:
        metadata["component"] = {**application[0], "type": "application"}
    content = json.dumps([metadata, components], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": metadata,
        "components": components,
    }


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=1)
    sys.stdout.write("\n")
