"""What must not be in workflows, Makefiles, scripts and the canary: functions over their texts, answering sentences.

A workflow is read as YAML; GitHub's key `on` is a boolean to YAML 1.1, which concerns nothing here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

SCAN = re.compile(
    r"\b(trivy|grype|scan-images?|image-scan|docker scout|wait image-scan-complete|scan-action)\b", re.IGNORECASE
)
PUSH = re.compile(r"\b(docker push|buildah push|skopeo copy|crane push|push-images|push-image)\b")
ACCESS_KEYS = re.compile(
    r"AWS_SECRET_ACCESS_KEY|AWS_ACCESS_KEY_ID|aws-secret-access-key|aws-access-key-id", re.IGNORECASE
)
FORCED = re.compile(r"--force-new-deployment|force_new_deployment\s*=\s*true|forceNewDeployment", re.IGNORECASE)
SMOKE = re.compile(r"\bops smoke\b|\bcurl\b")
BALANCER_NAME = re.compile(r"alb_dns_name|LoadBalancerDNS|\.elb\.amazonaws\.com|DNSName")
LATEST = re.compile(r":latest\b")
REFUSING = re.compile(r"endswith\(|regex\(|\bnever\b|\bmatch\(")  # a line that refuses the tag has to write it


def jobs(workflow: str) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """The jobs of a workflow with their steps, in order."""
    for name, job in (yaml.safe_load(workflow).get("jobs") or {}).items():
        yield name, list(job.get("steps") or [])


def _said(step: Mapping[str, Any]) -> str:
    """What a step does: its commands, the action it uses with its arguments; not what it is called."""
    lines = [line for line in str(step.get("run", "")).splitlines() if not line.strip().startswith("#")]
    return "\n".join(
        [*lines, str(step.get("uses", "")), *(f"{name}={value}" for name, value in (step.get("with") or {}).items())]
    )


def _pushes(step: Mapping[str, Any]) -> bool:
    return bool(PUSH.search(_said(step))) or str((step.get("with") or {}).get("push", "")).lower() == "true"


def pushes_before_scans(workflow: str) -> list[str]:
    """Jobs that push an image which no earlier step of theirs has scanned."""
    found = []
    for name, steps in jobs(workflow):
        scanned = False
        for step in steps:
            scanned = scanned or bool(SCAN.search(_said(step)))
            if _pushes(step) and not scanned:
                found.append(f"{name} pushes before it scans")
    return found


def long_lived_keys(workflow: str) -> list[str]:
    """Access keys in a workflow, and jobs that take on a role without being allowed a token."""
    document = yaml.safe_load(workflow)
    found = ["an access key is used"] if ACCESS_KEYS.search(workflow) else []
    for name, job in (document.get("jobs") or {}).items():
        for step in job.get("steps") or []:
            if "configure-aws-credentials" in str(step.get("uses", "")):
                permissions = job.get("permissions", document.get("permissions")) or {}
                if "role-to-assume" not in (step.get("with") or {}):
                    found.append(f"{name} takes on no role")
                if not isinstance(permissions, Mapping) or permissions.get("id-token") != "write":
                    found.append(f"{name} may ask for no token")
    return found


def forced_deployments(text: str) -> list[str]:
    """Lines that deploy again what an apply has deployed."""
    return [line.strip() for line in _commands(text) if FORCED.search(line)]


def smoke_by_an_uncovered_name(text: str) -> list[str]:
    """Smoke tests over HTTPS against the load balancer's own name, which no certificate of ours covers."""
    return [line.strip() for line in _commands(text) if SMOKE.search(line) and BALANCER_NAME.search(line)]


def moving_tags(text: str) -> list[str]:
    """Lines that name an image by a tag that moves."""
    return [line.strip() for line in _commands(text) if LATEST.search(line) and not REFUSING.search(line)]


def _commands(text: str) -> list[str]:
    """The lines that do something: no comments."""
    return [line for line in text.splitlines() if not line.strip().startswith(("#", "//", "*"))]


PLANNING = re.compile(
    r"(?:\$\(TERRAFORM\)|\bterraform\b)(?P<options>[^|;&]*?)\s(?P<verb>plan|apply|destroy)\b(?P<rest>.*)"
)


def changes_without_variables(text: str) -> list[str]:
    """Plans and applies of an environment that leave its variables file out.

    An apply of a saved plan needs none: it does what was planned, and nothing else. `bootstrap` has no such file.
    """
    found = []
    for line in _commands(text):
        match = PLANNING.search(line)
        if match is None or "bootstrap" in line or "echo" in line:
            continue
        saved = match["verb"] == "apply" and re.search(r"\$\(PLAN\)|\$\{?PLAN|\.tfplan|\bplan\b", match["rest"])
        if not saved and "-var-file" not in match["rest"]:
            found.append(line.strip())
        if "-auto-approve" in match["rest"] and not saved:
            found.append(f"unseen: {line.strip()}")
    return found


def tests_in_the_image(text: str) -> list[str]:
    """Commands that look for the tests inside a container that was built without them."""
    inside = re.compile(
        r"\b(docker|podman|buildah)\s+(compose\s+)?(run|exec)\b.*\bpytest\b|^\s*(RUN|CMD)\b.*\bpytest\b"
    )
    return [line.strip() for line in _commands(text) if inside.search(line)]


# --- the canary -------------------------------------------------------------------------------------


def paths_called(source: str) -> set[str]:
    """The texts of a Python source that are paths of an API: they start with a slash, and are not files."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            value = node.value.split("?", 1)[0]
            if re.fullmatch(r"/(?:api|health|v1|metrics|verify|receipts|\.well-known)[\w./{}-]*", value):
                found.add(value)
    return found


def unknown_paths(source: str, openapi: Mapping[str, Any]) -> list[str]:
    """Paths that the API does not serve. A path that is continued in code is known by its beginning."""
    served = set(openapi["paths"])
    return sorted(
        path
        for path in paths_called(source)
        if path not in served and not any(path.endswith("/") and each.startswith(path) for each in served)
    )


# --- documents --------------------------------------------------------------------------------------

NOT_DRILLED = re.compile(
    r"(?i)\b(not|never|no|nobody)\b[^.\n]*\bdrill|\bdrill\w*[^.\n]*\b(not|never)\b|\bcannot show\b|\bnot tested\b"
)
CLAIM = re.compile(r"\b(RPO|RTO)\b[^.|\n]*\d")


def undrilled_claims(page: str) -> list[str]:
    """Pages that state a recovery figure and do not say in the same breath whether anybody drilled it."""
    if not CLAIM.search(page):
        return []
    marked = NOT_DRILLED.search(page)
    return [] if marked else ["states a recovery figure without saying that it is not drilled"]
