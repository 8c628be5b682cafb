"""The parts of ``routing.explanation``: terms compared, clauses in words, single changes tried."""
