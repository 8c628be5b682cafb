"""Terraform and CDK install the same PostgreSQL."""

from __future__ import annotations

import re
from pathlib import Path

AWS = Path(__file__).parents[2] / "infrastructure" / "aws"


def test_both_ways_install_the_same_major_version() -> None:
    terraform = (AWS / "terraform" / "modules" / "database" / "variables.tf").read_text()
    cdk = (AWS / "cdk" / "caio_cdk" / "database.py").read_text()
    by_terraform = re.search(r'variable "engine_version" \{.*?default +?= "(\d+)"', terraform, re.DOTALL)
    by_cdk = re.search(r'^MAJOR_VERSION = "(\d+)"', cdk, re.MULTILINE)
    assert by_terraform is not None
    assert by_cdk is not None
    assert by_terraform[1] == by_cdk[1]
