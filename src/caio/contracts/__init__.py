"""Contracts and policies as documents: reading, checking, comparing; pure. See README.md beside this file."""

from caio.contracts.diff import Change, Promise, diff_contracts
from caio.contracts.model import Contract
from caio.contracts.parse import Parsed, parse_contract, parse_policy
from caio.contracts.policy import PolicyDocument
from caio.contracts.schema import contract_schema, policy_schema
from caio.contracts.variables import expression_variables

__all__ = [
    "Change",
    "Contract",
    "Parsed",
    "PolicyDocument",
    "Promise",
    "contract_schema",
    "diff_contracts",
    "expression_variables",
    "parse_contract",
    "parse_policy",
    "policy_schema",
]
