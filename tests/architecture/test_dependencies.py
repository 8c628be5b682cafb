"""Import rules that import-linter's contracts (pyproject.toml) cannot state: allow-lists, and what really gets loaded.

- the checker imports a short list of modules, so that it never trusts the engine it checks;
- configuration is read by the composition root alone (and by the command line, to document it);
- the layers hold (import-linter itself, run here so that `make test` fails too);
- the serving path loads no CEL library, migration tool or plotting library.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
CHECKER = ("caio.routing.checker", "caio.routing.checking")
CHECKER_MAY_IMPORT = (
    "caio.foundation",
    "caio.contracts",
    "caio.routing.model",
    "caio.routing.certificate",
    "caio.routing.variables",
    "caio.routing.expressions.errors",
    "caio.routing.expressions.interpreter",
    "caio.routing.expressions.lexer",
    "caio.routing.expressions.parser",
    "caio.routing.expressions.syntax",
)
CONFIG_READERS = ("caio.config", "caio.bootstrap", "caio.cli")
TOO_HEAVY_TO_SERVE = {
    "aiobotocore",
    "alembic",
    "botocore",
    "cel",
    "cel_expr_python",
    "celpy",
    "dbos",
    "highspy",
    "httpx2",
    "matplotlib",
    "mcp",
    "openai",
    "prometheus_client",
    "pytest",
    "requests",  # what the exporter of traces sends with
}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("caio", include_external_packages=False, cache_dir=None)


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def checker_trusts(imports: grimp.ImportGraph) -> set[str]:
    """Modules that the checker reaches, directly or through another, beyond its allow-list."""
    allowed = CHECKER + CHECKER_MAY_IMPORT
    reached = {
        upstream
        for module in imports.modules
        if within(module, CHECKER)
        for upstream in imports.find_upstream_modules(module)
    }
    return {module for module in reached if not within(module, allowed)}


def config_readers(imports: grimp.ImportGraph) -> set[str]:
    """Modules that import the configuration without being entitled to."""
    readers = {
        importer
        for module in imports.modules
        if within(module, ("caio.config",))
        for importer in imports.find_modules_that_directly_import(module)
    }
    return {module for module in readers if not within(module, CONFIG_READERS)}


def test_the_checker_never_trusts_the_engine():
    source = ROOT / "src" / "caio" / "routing"
    files = [source / "checker.py", *sorted((source / "checking").glob("*.py"))]
    modules = {
        "caio.routing." + path.relative_to(source).with_suffix("").as_posix().replace("/", ".") for path in files
    }
    looked_at = {module for module in graph().modules if within(module, CHECKER)}
    assert {module.removesuffix(".__init__") for module in modules} == looked_at
    assert checker_trusts(graph()) == set()


def test_a_checker_that_trusts_is_noticed():
    imports = grimp.ImportGraph()
    imports.add_import(importer="caio.routing.checker", imported="caio.routing.model")
    assert checker_trusts(imports) == set()
    imports.add_import(importer="caio.routing.model", imported="caio.routing.engine")
    imports.add_import(importer="caio.routing.checking.plans", imported="caio.routing.expressions.masks")
    assert checker_trusts(imports) == {"caio.routing.engine", "caio.routing.expressions.masks"}


def test_configuration_is_read_by_the_composition_root_only():
    assert config_readers(graph()) == set()


def test_a_stray_reader_of_the_configuration_is_noticed():
    imports = grimp.ImportGraph()
    imports.add_import(importer="caio.bootstrap", imported="caio.config")
    imports.add_import(importer="caio.gateway.pipeline", imported="caio.config")
    assert config_readers(imports) == {"caio.gateway.pipeline"}


def test_the_layers_hold():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def loaded_by(modules: list[str]) -> set[str]:
    """The top-level names in a fresh interpreter after it imported these modules."""
    names = ", ".join(modules)
    code = f"import json, sys, {names}; print(json.dumps(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))


@pytest.mark.parametrize("module", ["caio", "caio.bootstrap", "caio.api.app", "caio.cli.main"])
def test_the_serving_path_loads_nothing_heavy(module):
    parent = module.rpartition(".")[0]
    if (parent and find_spec(parent) is None) or find_spec(module) is None:
        pytest.fail(f"{module} is part of the serving path and does not exist")
    assert loaded_by([module]) & TOO_HEAVY_TO_SERVE == set()


def test_a_heavy_import_is_noticed():
    assert "alembic" in loaded_by(["alembic"])
