"""Renders a chart for each set of values, and holds every manifest to the schemas of several Kubernetes versions.

Run by the Python of the environment `chart`, which has Helm's own engine: CHART as argument, on standard input a JSON
object of names to values; on standard output the same names to {"error"} or {"manifests", "problems"}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import helm_python  # type: ignore[import-not-found, unused-ignore]
import kubernetes_validate  # type: ignore[import-not-found, unused-ignore]
import yaml

VERSIONS = ("1.27", "1.30", "1.33")


def problems_of(manifest: dict[str, Any]) -> list[str]:
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{version} {manifest['kind']}: {error.message}")
    return found


def rendered(chart: Any, values: dict[str, Any]) -> dict[str, Any]:
    try:
        chart.validate_schema(values)
        texts = chart.render(values, name="prod", namespace="caio")
    except helm_python.HelmError as error:
        return {"error": str(error)}
    manifests = [
        document
        for name, text in sorted(texts.items())
        if name.endswith(".yaml")
        for document in yaml.safe_load_all(text)
        if document
    ]
    return {"manifests": manifests, "problems": [each for manifest in manifests for each in problems_of(manifest)]}


if __name__ == "__main__":
    chart = helm_python.Chart.load(sys.argv[1])
    json.dump({name: rendered(chart, values) for name, values in json.load(sys.stdin).items()}, sys.stdout)
