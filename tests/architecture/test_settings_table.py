"""docs/reference/settings.md says what the settings are."""

from caio.config import Settings
from scripts.settings_table import PAGE, page

ADVICE = "run: python -m scripts.settings_table"


def test_the_page_is_in_step():
    assert PAGE.read_text() == page(), ADVICE


def test_every_setting_is_on_the_page_with_its_meaning():
    rows = [line for line in page().splitlines() if line.startswith("| `CAIO_")]
    for name, field in Settings.model_fields.items():
        assert field.description, f"{name} has no description"
        assert any(f"`CAIO_{name.upper()}`" in row and field.description in row for row in rows)
