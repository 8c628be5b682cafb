"""The image of the Dockerfile, built and run without a daemon: buildah for the layers, namespaces for the running.

Theory of operation
-------------------
buildah keeps its images in `.cache/infra/containers`, apart from the machine's own. The base is the real one where
CAIO_TEST_PULL=1 says that there is a network to pull it through; otherwise a *stand-in* of the same name: Debian
bookworm by debootstrap, with its Python where the real base has one. The stand-in proves what the Dockerfile does,
and nothing about the base; it never leaves this store.

Packages come from wheels that this machine's pip downloads once, held to the lock's hashes again inside the build.

A container runs as the image's configuration says (entry point, environment, user, folder), its root mounted
read-only, with a writable volume and /tmp, in the host's network: so it reaches a PostgreSQL and a Redis on loopback.
Its process is ours to signal. It is no process 1 and has no limits of memory: those are the orchestrator's.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from tests.support.infra_tools import CACHE, ROOT, missing

STORE = CACHE / "containers"
WHEELS = CACHE / "wheels"
EPOCH = 1577836800
#: Debian bookworm's Python, whose markers choose among the lock's requirements.
STAND_IN_PYTHON = "3.11.2"
BUILD_SECONDS = 900

_STAND_IN = """
debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$1"
cd "$1"
rm -rf usr/local/lib/python3.11 var/cache/apt/* var/lib/apt/lists/* usr/share/doc usr/share/locale
mv usr/lib/python3.11 usr/local/lib/python3.11
ln -s ../local/lib/python3.11 usr/lib/python3.11
for name in python python3; do ln -sf /usr/bin/python3 "usr/local/bin/$name"; done
"""

_RUN = """
root=$1 data=$2 user=$3 folder=$4; shift 4
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --bind "$data" "$root/var/lib/caio"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
for file in hosts resolv.conf; do [ ! -e "$root/etc/$file" ] || mount --bind "/etc/$file" "$root/etc/$file"; done
exec setpriv --no-new-privs --clear-groups \\
  unshare --root="$root" --wd="$folder" --setgid "${user#*:}" --setuid "${user%:*}" "$@"
"""


def _tools() -> None:
    done = subprocess.run([ROOT / "scripts" / "setup-image-tools"], capture_output=True, text=True, check=False)
    if done.returncode:
        missing(done.stderr.strip().splitlines()[-1])
    if os.geteuid() != 0:
        missing("building an image without a daemon needs root here")


def buildah(*arguments: str | Path, seconds: float = 120) -> str:
    """What a command of buildah printed, with the store of these checks; raises AssertionError when it fails."""
    own = ("--root", STORE, "--runroot", STORE.with_name("containers-run"), "--storage-driver", "overlay")
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    command = ["buildah", *own, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, f"buildah {' '.join(map(str, arguments))}\n{(done.stdout + done.stderr)[-4000:]}"
    return done.stdout.strip()


def base_name() -> str:
    """The Dockerfile's base."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("FROM "))


def _have_base() -> None:
    name = f"docker.io/library/{base_name()}"
    held = buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()
    if name.partition("@")[0] in held:
        return
    if os.environ.get("CAIO_TEST_PULL"):
        buildah("pull", name, seconds=BUILD_SECONDS)
        return
    with tempfile.TemporaryDirectory(prefix="caio-base-") as folder:
        root = Path(folder, "root")
        done = subprocess.run(
            ["bash", "-euc", _STAND_IN, "stand-in", root], capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode:
            missing(f"no stand-in for the base image: {(done.stdout + done.stderr).strip().splitlines()[-1]}")
        container = buildah("from", "scratch")
        buildah("add", "-q", container, root, "/")
        buildah("commit", "-q", "--rm", "--format", "docker", container, name.partition("@")[0])


def _wanted(lock: Path) -> str:
    """The lock's requirements that hold on the stand-in, without their markers; the hashes stay."""
    kept = []
    for entry in lock.read_text().replace("\\\n", " ").splitlines():
        text, _, hashes = entry.partition(" --hash=")
        if not text.strip():
            continue
        requirement = Requirement(text.strip())
        environment = {"python_full_version": STAND_IN_PYTHON, "python_version": "3.11", "sys_platform": "linux"}
        if requirement.marker is None or requirement.marker.evaluate(environment):
            kept.append(f"{requirement.name}{requirement.specifier} --hash={hashes}")
    return "\n".join(kept) + "\n"


def _have_wheels() -> None:
    """Every wheel the build installs, in `.cache/infra/wheels`, by this machine's pip and its own sources."""
    WHEELS.mkdir(parents=True, exist_ok=True)
    for name in ("requirements.txt", "requirements-build.txt"):
        wanted = _wanted(ROOT / name)
        stamp = WHEELS / f"{name}.had"
        if stamp.is_file() and stamp.read_text() == wanted:
            continue
        listed = WHEELS / name
        listed.write_text(wanted)
        target = ["--only-binary", ":all:", "--python-version", "3.11", "--no-deps", "--require-hashes"]
        command = [sys.executable, "-m", "pip", "download", "-q", *target, "-r", str(listed), "-d", str(WHEELS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
        if done.returncode:
            missing(f"no wheels for the image: {done.stderr.strip().splitlines()[-1]}")
        stamp.write_text(wanted)


def snapshot(folder: Path) -> Path:
    """A copy of the Dockerfile and of what it is sent, so that builds of it are builds of the same."""
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(ROOT / name, folder)
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        source = ROOT / line.removeprefix("!")
        if line.startswith("!") and source.is_dir():
            shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif line.startswith("!"):
            shutil.copy(source, folder)
    return folder


def build(name: str, sources: Path) -> None:
    """Build the Dockerfile of a snapshot into image `name`, from the base, without any layer of before."""
    _tools()
    _have_base()
    _have_wheels()
    with tempfile.TemporaryDirectory(prefix="caio-build-") as folder:
        policy, packages = Path(folder, "policy.json"), Path(folder, "pip.conf")
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        packages.write_text("[global]\nno-index = true\nfind-links = /mnt\n")
        buildah(
            "bud", "--format", "docker", "--pull-never", "--no-cache", "--signature-policy", policy,
            "--secret", f"id=pip,src={packages}", "--volume", f"{WHEELS}:/mnt:ro", "--timestamp", str(EPOCH),
            "--build-arg", "VERSION=1.2.3", "--build-arg", "REVISION=0123abcd", "-t", name, sources,
            seconds=BUILD_SECONDS,
        )  # fmt: skip


@dataclass(frozen=True)
class BuiltImage:
    """An image in the store of these checks, its root mounted at `root`."""

    name: str
    root: Path

    @functools.cached_property
    def configuration(self) -> Mapping[str, Any]:
        """Its configuration as Docker writes it: User, Env, Entrypoint, Cmd, Healthcheck, Labels and so on."""
        found: Mapping[str, Any] = json.loads(buildah("inspect", "--type", "image", self.name))["Docker"]["config"]
        return found

    @functools.cached_property
    def layers(self) -> Sequence[str]:
        """The content hashes of its layers, the base's first."""
        found: Sequence[str] = json.loads(buildah("inspect", "--type", "image", self.name))["OCIv1"]["rootfs"][
            "diff_ids"
        ]
        return found

    @property
    def environment(self) -> dict[str, str]:
        return dict(entry.split("=", 1) for entry in self.configuration["Env"])

    def _command(
        self, command: Sequence[str], data: Path, entrypoint: Sequence[str] | None, environment: Mapping[str, str]
    ) -> list[str]:
        words = [*(self.configuration["Entrypoint"] if entrypoint is None else entrypoint), *command]
        place = [str(self.root), str(data), self.configuration["User"], self.configuration["WorkingDir"]]
        variables = [f"{name}={value}" for name, value in (self.environment | dict(environment)).items()]
        return ["unshare", "--mount", "bash", "-euc", _RUN, "run", *place, "/usr/bin/env", "-i", *variables, *words]

    @contextmanager
    def started(
        self, command: Sequence[str], data: Path, log: Path, settings: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """The image's entry point with a command, for as long as the block runs; what it writes goes to `log`."""
        with log.open("wb") as writing:
            process = subprocess.Popen(
                self._command(command, data, None, settings),
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=subprocess.STDOUT,
            )
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait(10)

    def run(
        self,
        *command: str,
        data: Path,
        entrypoint: Sequence[str] | None = (),
        settings: Mapping[str, str] | None = None,
        seconds: float = 60,
    ) -> tuple[int, str, str]:
        """Exit code, output and errors of a command in the image; None as entry point is the image's own.

        `data` is its volume, already the image's user's. Raises TimeoutExpired when it takes longer than `seconds`.
        """
        done = subprocess.run(
            self._command(command, data, entrypoint, settings or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def volume(self, folder: Path) -> Path:
        """A new folder as the orchestrator makes a volume of it: the image's user's own."""
        folder.mkdir(mode=0o700)
        user, group = map(int, self.configuration["User"].split(":"))
        os.chown(folder, user, group)
        return folder


@contextmanager
def mounted(name: str) -> Iterator[BuiltImage]:
    """The image `name`, its root readable below a folder for as long as the block runs."""
    container = buildah("from", "--pull-never", name)
    try:
        yield BuiltImage(name, Path(buildah("mount", container)))
    finally:
        buildah("umount", container)
        buildah("rm", container)


def size_of(root: Path) -> int:
    """The bytes of the files below a folder of this file system, each once."""
    done = subprocess.run(["du", "-sxb", root], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def forget(*names: str) -> None:
    """Remove images from the store; those that are not there are no error."""
    for name in names:
        if shutil.which("buildah") and f"localhost/{name}:latest" in buildah(
            "images", "--format", "{{.Name}}:{{.Tag}}"
        ):
            buildah("rmi", name)
