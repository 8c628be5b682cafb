"""Write the trial's template to where it is published from: `python publish_quickstart.py`, at each release.

The template is kept in the repository so that whoever launches it can read what it makes, and needs neither Python nor
CDK; a test holds it to what these sources synthesise. A line is a resource: that reads well in a difference, and keeps
the whole below the 51,200 bytes that CloudFormation takes without a bucket.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from caio_cdk.application import QUICK_START, application
from caio_cdk.deployment import read
from caio_cdk.findings import accepted, check

TEMPLATE = Path(__file__).resolve().parents[1] / "quickstart" / "caio-quickstart.template.json"


def written(template: dict[str, dict[str, Any] | str]) -> str:
    """The template's text: sections indented, and each of their entries on a line of its own."""
    sections = []
    for name, section in template.items():
        if isinstance(section, dict):
            entries = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in section.items())
            sections.append(f"  {json.dumps(name)}: {{\n{entries}\n  }}")
        else:
            sections.append(f"  {json.dumps(name)}: {json.dumps(section)}")
    return "{\n" + ",\n".join(sections) + "\n}\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        app = application(folder)
        check(app, accepted(read(app.node).profile))
        app.synth()
        synthesised = json.loads(Path(folder, f"{QUICK_START}.template.json").read_text())
    TEMPLATE.write_text(written(synthesised))
    print(f"{TEMPLATE.name}: {TEMPLATE.stat().st_size} bytes")  # noqa: T201 - a command, and this is its answer


if __name__ == "__main__":
    main()
