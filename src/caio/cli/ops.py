"""``caio ops``: what whoever hosts CAIO does besides serving: what it costs, whether it works."""

from __future__ import annotations

from caio.cli.ops_cost import cost
from caio.cli.ops_smoke import smoke
from caio.cli.parameters import group

app = group("Estimate what a deployment costs, and try one that runs.")


@app.callback()
def ops() -> None:
    """Estimate what a deployment costs, and try one that runs."""


app.command("cost")(cost)
app.command("smoke")(smoke)
