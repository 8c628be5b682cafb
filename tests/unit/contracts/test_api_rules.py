"""What only some protocols are called with: regions and signatures of AWS, and the operator's commands."""

from typing import Any

import pytest

from caio.contracts import parse_contract
from caio.foundation.errors import InvalidInput

AWS = {"scheme": "aws", "secret_ref": "bedrock"}
BEDROCK = {
    "protocol": "bedrock",
    "base_url": "https://bedrock-runtime.eu-west-1.amazonaws.com",
    "model": "eu.anthropic.claude-haiku-4-5-20251001-v1:0",
    "auth": AWS,
}


def pointers(api: dict[str, Any]) -> list[str]:
    source = {"service_id": "a", "name": "A", "version": "1.0.0", "capabilities": ["chat"], "api": api}
    try:
        parse_contract(source)
    except InvalidInput as error:
        return [violation.pointer for violation in error.violations]
    return []


@pytest.mark.parametrize(
    ("api", "wrong"),
    [
        (BEDROCK, []),
        ({**BEDROCK, "region": "eu-west-1"}, []),
        ({**BEDROCK, "base_url": "https://gateway.example", "region": "eu-west-1"}, []),
        ({**BEDROCK, "base_url": "https://gateway.example"}, ["/api/region"]),
        ({**BEDROCK, "region": "Eu-West-1"}, ["/api/region"]),
        ({**BEDROCK, "auth": {"scheme": "aws"}}, []),
        ({key: value for key, value in BEDROCK.items() if key != "model"}, ["/api/model"]),
        ({**BEDROCK, "protocol": "http-json"}, ["/api/auth/scheme"]),
        ({**BEDROCK, "auth": {"scheme": "bearer", "secret_ref": "key"}}, []),
        ({**BEDROCK, "auth": {"scheme": "bearer", "secret_ref": "key"}, "region": "eu-west-1"}, ["/api/region"]),
        ({"protocol": "process", "command": "classify"}, []),
        ({"protocol": "process", "command": "rm -rf"}, ["/api/command"]),
        ({**BEDROCK, "command": "classify"}, ["/api/command"]),
    ],
)
def test_fields_of_one_protocol(api: dict[str, Any], wrong: list[str]) -> None:
    assert pointers(api) == wrong
