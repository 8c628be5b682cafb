"""The entry point: what is listed, what is loaded, what goes wrong."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from caio.cli import exits, trust
from caio.cli.main import COMMANDS, main
from caio.foundation.errors import Category

REFERENCE = (Path(__file__).parents[3] / "docs/reference/cli.md").read_text()
NAMES = [name for section in COMMANDS.values() for name in section]


def test_help_names_every_command_and_imports_none():
    code = (
        "import sys; sys.argv = ['caio', '--help']\n"
        "from caio.cli.main import main\n"
        "try: main()\n"
        "finally: print('LOADED', *sorted(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown, _, loaded = run.stdout.partition("LOADED")
    assert [name for name in NAMES if not re.search(rf"^  {name} ", shown, re.MULTILINE)] == []
    heavy = {"rich", "pydantic", "fastapi", "aiohttp", "sqlalchemy", "uvicorn", "numpy", "structlog", "yaml"}
    assert heavy & {name.partition(".")[0] for name in loaded.split()} == set()
    ours = {name for name in loaded.split() if name.startswith("caio.cli.")}
    assert ours == {"caio.cli.main", "caio.cli.parameters"}


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself(caio, name):
    code, out, _ = caio(name, "--help")
    assert code == 0
    assert out.startswith(f"Usage: caio {name} ")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_documented(caio, name):
    _, out, _ = caio(name, "--help")
    _, listed, commands = out.partition("Commands:\n")
    subcommands = re.findall(r"^  ([a-z]+) ", commands, re.MULTILINE) if listed else []
    for command in [f"caio {name} {each}" for each in subcommands] or [f"caio {name}"]:
        assert f"`{command}" in REFERENCE, command


def test_exit_codes_are_as_documented():
    documented = {int(number) for number in re.findall(r"^\| (\d+) \|", REFERENCE, re.MULTILINE)}
    assert documented == {int(code) for code in exits.ExitCode} | {130, 143}


def test_every_category_has_an_exit_code():
    assert set(exits.EXIT_CODES) == set(Category)
    assert exits.ExitCode.OK not in exits.EXIT_CODES.values()


def test_an_unexpected_error_is_a_sentence(caio, monkeypatch):
    def broken():
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(trust, "pinned", broken)
    code, out, err = caio("trust", "list")
    assert (code, out) == (1, "")
    assert "ZeroDivisionError" in err
    assert "secret detail" not in err
    assert len(err.splitlines()) == 1
    code, out, err = caio("trust", "list", "--json")
    assert (code, err) == (1, "")
    assert json.loads(out)["error"]["code"] == "unexpected"


def test_debugging_shows_the_traceback(caio, monkeypatch):
    def broken():
        raise ZeroDivisionError

    monkeypatch.setattr(trust, "pinned", broken)
    monkeypatch.setenv("CAIO_DEBUG", "1")
    monkeypatch.setattr("sys.argv", ["caio", "trust", "list"])
    with pytest.raises(ZeroDivisionError):
        main()


def test_a_wrong_command_is_a_usage_error(caio):
    code, out, err = caio("serv")
    assert (code, out) == (2, "")
    assert "serv" in err
