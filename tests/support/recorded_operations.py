"""infrastructure/aws's operations, copied and run by a real shell, with programs that write down what they are asked.

What aws, terraform, docker, grype and git would do is their own business: they answer what a test has them answer.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.infra_tools import INFRASTRUCTURE

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
SERVING = {"deploymentController": {"type": "ECS"}, "status": "ACTIVE", "taskDefinition": "api:7"}

#: Writes its name and arguments down, then says what the first matching prefix of its answers says.
_FAKE = """#!{python} -IS
import json, pathlib, sys
here = pathlib.Path(__file__).parent
call = [pathlib.Path(__file__).name, *sys.argv[1:]]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(call) + "\\n")
for prefix, output, code in json.loads((here / "answers").read_text()):
    if " ".join(call).startswith(prefix):
        (sys.stderr if code else sys.stdout).write(output)
        sys.exit(code)
if call[0] == "terraform":
    folder = pathlib.Path(call[1].removeprefix("-chdir="))
    for word in call[2:]:
        if word.startswith("-out="):
            (folder / word.removeprefix("-out=")).write_text("a plan")
"""


#: What ECS says of an environment that was never made.
NO_CLUSTER = "An error occurred (ClusterNotFoundException) when calling DescribeServices: Cluster not found."


@dataclass
class Operations:
    """A copy of the folder, with programs that only write down."""

    folder: Path
    bin: Path

    def answer(self, *answers: tuple[str, str, int]) -> None:
        """What the programs say, by how the call begins; before what is answered anyway."""
        usual = [
            ("aws sts get-caller-identity", "123456789012\n", 0),
            ("aws ecr describe-images", f"{NEW}\n", 0),
            ("aws ecs describe-services", json.dumps({"services": [SERVING]}), 0),
            ("aws ecs describe-task-definition", definition(OLD), 0),
            ("git -C ../.. rev-parse HEAD", "0123abcd\n", 0),
            ("git -C ../.. log", "1700000000\n", 0),
        ]
        (self.bin / "answers").write_text(json.dumps([*answers, *usual]))

    def make(self, *words: str, said: str = "") -> subprocess.CompletedProcess[str]:
        command = ["make", "-C", str(self.folder), *words, f"CAIO={self.bin / 'caio'}"]
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(self.folder)}
        return subprocess.run(
            command, env=environment, input=said, capture_output=True, text=True, timeout=60, check=False
        )

    def script(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        told = {name: value for name, value in os.environ.items() if name.startswith("CAIO_CANARY")}
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", **told}
        return subprocess.run(
            [self.folder / "operations" / name, *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        """Every call so far, in order, as one would type it."""
        log = self.bin / "calls"
        return [" ".join(json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []

    def changes(self) -> list[str]:
        """The calls that change something outside this machine."""
        words = (
            " apply ",
            " push ",
            "register-task-definition",
            "run-task",
            "s3 cp",
            "create-deployment",
            "put-",
            "update-",
        )
        return [call for call in self.calls if any(word in f"{call} " for word in words)]


def definition(digest: str) -> str:
    """A task definition of this image, as `aws ecs` tells it."""
    containers = [{"name": "api", "image": f"123456789012.dkr.ecr.us-east-1.amazonaws.com/caio@{digest}"}]
    collector = {"name": "collector", "image": "public.ecr.aws/collector:v1"}
    return json.dumps({"taskDefinition": {"containerDefinitions": [*containers, collector]}})


def migration(code: int | None) -> tuple[tuple[str, str, int], ...]:
    """What `aws ecs` says while a migration is run that ends with `code`; None: that was never started."""
    network = {
        "awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}
    }
    task = {
        "family": "caio-staging-migration",
        "containerDefinitions": [{"name": "migration", "image": f"host:5000/caio@{OLD}", "command": ["db", "upgrade"]}],
        "taskDefinitionArn": "arn:old",
        "revision": 3,
        "status": "ACTIVE",
    }
    ended = {"containers": [{"exitCode": code} if code is not None else {}], "stoppedReason": "it stopped"}
    return (
        ("aws ecs describe-task-definition", json.dumps(task), 0),
        ("aws ecs register-task-definition", "arn:new\n", 0),
        ("aws ecs describe-services", json.dumps(network), 0),
        ("aws ecs run-task", json.dumps({"tasks": [{"taskArn": "arn:task"}], "failures": []}), 0),
        ("aws ecs describe-tasks", json.dumps(ended), 0),
    )


def operations_in(home: Path) -> Operations:
    """The operations below `home`; skips where there is no make or jq to run them."""
    if shutil.which("make") is None or shutil.which("jq") is None:
        pytest.skip("make and jq are needed")
    folder, programs = home / "infrastructure" / "aws", home / "bin"
    folder.mkdir(parents=True)
    programs.mkdir()
    shutil.copy(INFRASTRUCTURE / "aws" / "Makefile", folder)
    shutil.copytree(INFRASTRUCTURE / "aws" / "operations", folder / "operations")
    for name in ("dev", "staging", "production"):
        environment = folder / "terraform" / "environments" / name
        environment.mkdir(parents=True)
        (environment / "terraform.tfvars").write_text(f'domain_name = "{name}.example.com" # covered\n')
        (environment / "terraform.tfvars.example").write_text("example\n")
    (folder / "terraform" / "bootstrap").mkdir()
    (home / "src" / "caio").mkdir(parents=True)
    (home / "src" / "caio" / "_version.py").write_text('__version__ = "1.2.3"\n')
    for name in ("aws", "terraform", "docker", "grype", "git", "caio"):
        program = programs / name
        program.write_text(_FAKE.replace("{python}", sys.executable))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    found = Operations(folder, programs)
    found.answer()
    return found
