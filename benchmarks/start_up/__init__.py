"""How long `caio serve` takes to be ready, and what it weighs when it is."""
