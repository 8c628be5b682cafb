"""The checker of a decision is below 400 lines of code: what one person reads before trusting it.

Lines of code are those that are neither blank, nor comment, nor docstring. Plans are checked by a
module of its own, which is not counted.
"""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROUTING = Path(__file__).parents[2] / "src" / "caio" / "routing"
LIMIT = 400
NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def docstring_lines(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if ast.get_docstring(node) is not None:
            first = node.body[0]
            yield from range(first.lineno, (first.end_lineno or first.lineno) + 1)


def code_lines(source: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for token in tokens if token.type not in NOT_CODE for line in range(token.start[0], token.end[0] + 1)}
    return len(lines - set(docstring_lines(source)))


def test_the_checker_is_below_400_lines():
    files = [ROUTING / "checker.py", *sorted((ROUTING / "checking").glob("*.py"))]
    sizes = {path.name: code_lines(path.read_text(encoding="utf-8")) for path in files if path.name != "plans.py"}
    assert {"checker.py", "clauses.py", "evidence.py", "ranking.py"} <= set(sizes)
    assert sum(sizes.values()) < LIMIT, sizes


def test_code_is_counted_and_nothing_else():
    source = (
        '"""Of\n\nmodule."""\n\n# why\nx = (\n    1,  # one\n)\n\n\ndef f():\n    """Says."""\n    return """a\nb"""\n'
    )
    assert code_lines(source) == 6
