"""A file that fits a reader's head: none over 450 lines."""

from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "caio"
LIMIT = 450


def too_long(folder: Path, limit: int = LIMIT) -> dict[str, int]:
    sizes = {path.relative_to(folder).as_posix(): len(path.read_text().splitlines()) for path in folder.rglob("*.py")}
    return {name: lines for name, lines in sizes.items() if lines > limit}


def test_no_source_file_is_too_long():
    assert too_long(SOURCE) == {}


def test_a_long_file_is_noticed(tmp_path):
    (tmp_path / "fits.py").write_text("x = 1\n" * 3)
    (tmp_path / "long.py").write_text("x = 1\n" * 4)
    assert too_long(tmp_path, limit=3) == {"long.py": 4}
