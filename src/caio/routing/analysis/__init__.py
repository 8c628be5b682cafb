"""What a policy would do, found out before it is in force (README.md)."""

from caio.routing.analysis.contracts import analyse_contract
from caio.routing.analysis.findings import Counterexample, Finding, Severity
from caio.routing.analysis.questions import analyse

__all__ = ["Counterexample", "Finding", "Severity", "analyse", "analyse_contract"]
