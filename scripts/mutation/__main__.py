"""Does any test notice? Runs the tests of the routing kernel against every mutant of it.

    python -m scripts.mutation [--only NAME] [--sample N] [--workers N]

Every mutant is tried in a process forked from one that has loaded everything but the kernel: the
mutant takes the module's place, and the tests run until the first that fails. A mutant that no test
notices, survives; one that does not end in time counts as noticed. Survivors are listed as they are
found, and kept in ``.cache/mutation/survivors.txt``. Some mutants mean the same as the original and cannot be killed.

Exits 1 when fewer than 90 of 100 are killed, and 2 when the tests fail without any mutant.
"""

from __future__ import annotations

import argparse
import ast
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import multiprocessing as mp
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from random import Random
from types import CodeType, ModuleType

from scripts.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).parents[2]
SURVIVORS = ROOT / ".cache" / "mutation" / "survivors.txt"
BAR = 90
MEMORY = 3 << 30

_CHECKER = (
    "tests/unit/routing/test_checker.py",
    "tests/differential/test_checker_agrees_with_spec.py",
    "tests/property/test_checker_mutations.py",
)
_ENGINE = (
    "tests/unit/routing/test_engine_cases.py",
    "tests/unit/routing/test_exact_arithmetic.py",
    "tests/property/test_snapshots.py",
    "tests/differential/test_engine_agrees_with_spec.py",
    "tests/property/test_engine_laws.py",
)

#: What is mutated, and the tests that must notice, those that notice soonest first.
TARGETS = {
    "caio.routing.matching": _ENGINE,
    "caio.routing.rules": _ENGINE,
    "caio.routing.security": _ENGINE,
    "caio.routing.checker": _CHECKER,
    "caio.routing.checking.clauses": _CHECKER,
    "caio.routing.checking.evidence": _CHECKER,
    "caio.routing.checking.ranking": _CHECKER,
}

#: Loaded once, before forking: what the tests need and no mutant touches.
LOADED = ("hypothesis", "numpy", "pytest", "pytest_asyncio.plugin", "caio.contracts", "caio.foundation.money")


@dataclass(frozen=True, slots=True)
class Trial:
    """One mutant of a module, to be tried; without a mutant, the module as it is."""

    module: str
    mutant: Mutant | None

    @property
    def path(self) -> Path:
        return ROOT / "src" / Path(*self.module.split(".")).with_suffix(".py")

    def __str__(self) -> str:
        if self.mutant is None:
            return self.module
        place = f"{self.path.relative_to(ROOT)}:{self.mutant.line}"
        return f"{place}\n    - {_shown(self.mutant.before)}\n    + {_shown(self.mutant.after)}"


def _shown(code: str) -> str:
    line = " ".join(code.split())
    return line if len(line) <= 150 else f"{line[:149]}…"


class _InPlace(importlib.abc.MetaPathFinder):
    """Finds the mutant in place of its module."""

    def __init__(self, trial: Trial, tree: ast.Module) -> None:
        self.trial, self.tree = trial, tree

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.trial.module:
            return None
        loader = _Loader(fullname, str(self.trial.path))
        loader.tree = self.tree
        return importlib.util.spec_from_file_location(fullname, self.trial.path, loader=loader)


class _Loader(importlib.machinery.SourceFileLoader):
    tree: ast.Module

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.tree, self.path, "exec")


def _run(trial: Trial, scratch: str) -> None:
    """In the forked process: ends with pytest's exit code, 0 when no test noticed."""
    import pytest

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    if trial.mutant is not None:
        tree = trial.mutant.applied(trial.path.read_text(encoding="utf-8"))
        sys.meta_path.insert(0, _InPlace(trial, tree))
    # Without rewriting assertions, which plugins loaded before would warn of; nobody reads the reports.
    options = [
        "-x",
        "-q",
        "-m",
        "not long",
        "-p",
        "no:xdist",
        "--assert=plain",
        "-o",
        f"cache_dir={scratch}/{os.getpid()}",
    ]
    os._exit(int(pytest.main([*options, *TARGETS[trial.module]])))


def _outcomes(trials: Sequence[Trial], workers: int, limit: float) -> dict[Trial, str]:
    """``killed``, ``timed out`` or ``survived`` for each trial."""
    fork, waiting, outcomes = mp.get_context("fork"), list(reversed(trials)), dict[Trial, str]()
    running: dict[ForkProcess, tuple[Trial, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        while waiting or running:
            while waiting and len(running) < workers:
                trial = waiting.pop()
                process = fork.Process(target=_run, args=(trial, scratch))
                process.start()
                running[process] = (trial, time.monotonic() + limit)
            wait([process.sentinel for process in running], timeout=1)
            for process, (trial, deadline) in list(running.items()):
                late = process.is_alive() and time.monotonic() > deadline
                if process.is_alive() and not late:
                    continue
                if late:
                    process.kill()
                process.join()
                outcomes[trial] = "timed out" if late else "survived" if process.exitcode == 0 else "killed"
                process.close()
                del running[process]
                if outcomes[trial] == "survived" and trial.mutant is not None:
                    sys.stdout.write(f"{trial}\n")
                    sys.stdout.flush()
                _progress(outcomes, len(trials))
    return outcomes


def _progress(outcomes: dict[Trial, str], total: int) -> None:
    if sys.stderr.isatty() or len(outcomes) % 50 == 0 or len(outcomes) == total:
        survived = sum(outcome == "survived" for outcome in outcomes.values())
        end = "\r" if sys.stderr.isatty() and len(outcomes) < total else "\n"
        sys.stderr.write(f"{len(outcomes)} of {total} tried, {survived} survived{end}")
        sys.stderr.flush()


def _longest(modules: Sequence[str]) -> float:
    """Seconds that the slowest tests take with nothing mutated; raises SystemExit when they fail."""
    longest = 0.0
    for module in {TARGETS[module]: module for module in modules}.values():
        started = time.monotonic()
        if _outcomes([Trial(module, None)], 1, 600) != {Trial(module, None): "survived"}:
            sys.stderr.write(f"The tests of {module} fail without any mutant: {' '.join(TARGETS[module])}\n")
            raise SystemExit(2)
        longest = max(longest, time.monotonic() - started)
    return longest


def _report(outcomes: dict[Trial, str]) -> float:
    """Prints the table and keeps it with the survivors; the percentage that was killed."""
    lines = [f"{'module':34} {'mutants':>8} {'killed':>8} {'timed out':>10} {'survived':>9} {'killed %':>9}"]
    killed = Counter(trial.module for trial, outcome in outcomes.items() if outcome != "survived")
    for module in [name for name in TARGETS if any(trial.module == name for trial in outcomes)]:
        counts = Counter(outcome for trial, outcome in outcomes.items() if trial.module == module)
        share = 100 * killed[module] / counts.total()
        lines.append(
            f"{module:34} {counts.total():8} {counts['killed']:8} {counts['timed out']:10} "
            f"{counts['survived']:9} {share:8.1f}%"
        )
    share = 100 * killed.total() / len(outcomes)
    lines += [f"{'all':34} {len(outcomes):8} {'':8} {'':10} {len(outcomes) - killed.total():9} {share:8.1f}%", ""]
    survivors = [str(trial) for trial, outcome in outcomes.items() if outcome == "survived"]
    SURVIVORS.parent.mkdir(parents=True, exist_ok=True)
    SURVIVORS.write_text("\n".join([*lines, *survivors]) + "\n", encoding="utf-8")
    sys.stdout.write("\n".join(["", *lines]) + f"Survivors are in {SURVIVORS.relative_to(ROOT)}.\n")
    return share


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.mutation", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="modules whose name holds NAME; may be repeated"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="try N mutants of each module, chosen at random")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="processes at a time")
    options = parser.parse_args(arguments)
    modules = [name for name in TARGETS if not options.only or any(part in name for part in options.only)]
    trials = []
    for module in modules:
        source = Trial(module, None).path.read_text(encoding="utf-8")
        found = [Trial(module, mutant) for mutant in mutants(source)]
        if options.sample and options.sample < len(found):
            chosen = Random(module).sample(range(len(found)), options.sample)  # noqa: S311 - nothing secret
            found = [found[index] for index in sorted(chosen)]
        trials += found
    if not trials:
        parser.error("no module has that name")
    # Derandomized, so that one mutant always meets the same examples.
    os.environ["CI"] = "1"
    os.chdir(ROOT)
    for name in LOADED:
        importlib.import_module(name)
    gc.freeze()
    limit = 10 + 4 * _longest(modules)
    share = _report(_outcomes(trials, options.workers, limit))
    return 0 if share >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
