"""Runs commands in this process: fast, and with the real entry point."""

import pytest

from caio.cli.main import main


@pytest.fixture
def caio(monkeypatch, tmp_path, capsys):
    """``caio("verify", "r.json")``: the exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAIO_TRUST_STORE", str(tmp_path / "trusted.json"))
    for name in ("CAIO_API_KEY", "CAIO_URL", "CAIO_DEBUG", "CAIO_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["caio", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run
