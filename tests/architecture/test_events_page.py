"""docs/reference/events.md lists every event: each act but a read."""

from scripts.events_table import PAGE, page

ADVICE = "run: python -m scripts.events_table"


def test_the_table_is_in_step() -> None:
    assert PAGE.read_text() == page(), ADVICE


def test_reading_is_no_event() -> None:
    assert "| `caio.key.created` |" in page()
    assert "`caio.audit.read`" not in page()
