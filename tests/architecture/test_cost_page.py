"""docs/deployment/COST_ESTIMATION.md says what the estimate is."""

from scripts.cost_page import PAGE, page


def test_the_page_is_in_step():
    assert PAGE.read_text() == page(), "run: python -m scripts.cost_page"
