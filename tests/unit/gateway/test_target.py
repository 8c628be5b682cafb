"""Where a contract says that its service is called."""

import pytest

from caio.foundation.errors import InvalidInput
from caio.gateway.target import target_of


def document(protocol="http-json", endpoints=None, **api):
    api = {"protocol": protocol, "base_url": "https://service.example/v1", **api}
    if endpoints is not None:
        api["endpoints"] = endpoints
    return {"service_id": "s", "capabilities": [{"type": "chat", "limits": {"max_tokens": 9}}], "api": api}


CHAT = {"path": "/c", "method": "POST", "capability": "chat"}
ANY = {"path": "/any", "method": "PUT"}
OTHER = {"path": "/other", "method": "POST"}


@pytest.mark.parametrize(
    ("endpoints", "capability", "path"),
    [
        ([ANY, CHAT], "chat", "/c"),
        ([CHAT, ANY, OTHER], "summarization", "/any"),
        ([ANY], "chat", "/any"),
    ],
)
def test_the_endpoint_that_names_the_capability_wins(endpoints, capability, path):
    for protocol in ("http-json", "openai"):
        assert target_of(document(protocol, endpoints), capability).path == path


@pytest.mark.parametrize("endpoints", [None, []])
def test_openai_has_paths_of_its_own(endpoints):
    assert target_of(document("openai", endpoints), "chat").path == "/chat/completions"
    assert target_of(document("openai", endpoints), "embeddings").path == "/embeddings"
    assert target_of(document("openai", endpoints), "chat").method == "POST"


def test_other_protocols_are_called_at_their_base_url():
    target = target_of(document(), "anything")
    assert (target.base_url, target.path, target.method) == ("https://service.example/v1", "", "POST")


@pytest.mark.parametrize(
    ("contract", "capability"),
    [
        (document("openai"), "summarization"),
        (document("openai", [CHAT]), "embeddings"),
        (document("http-json", [CHAT]), "x"),
    ],
)
def test_a_capability_without_an_endpoint_is_an_error_at_its_place(contract, capability):
    with pytest.raises(InvalidInput) as caught:
        target_of(contract, capability)
    assert [violation.pointer for violation in caught.value.violations] == ["/api/endpoints"]


def test_credentials_and_model_are_read():
    plain = target_of(document(), "x")
    assert (plain.auth_scheme, plain.secret_ref, plain.model) == ("none", None, None)
    auth = {"scheme": "header:X-Key", "secret_ref": "prod"}
    target = target_of(document(auth=auth, model="m"), "x")
    assert (target.auth_scheme, target.secret_ref, target.model) == ("header:X-Key", "prod", "m")


def test_anthropic_is_called_at_its_messages() -> None:
    target = target_of(document("anthropic"), "chat")
    assert (target.path, target.max_tokens, target.region, target.command) == ("/messages", 9, None, None)
    assert target_of(document("anthropic"), "other").max_tokens is None


@pytest.mark.parametrize(
    ("base_url", "region"),
    [
        ("https://bedrock-runtime.us-east-1.amazonaws.com", "us-east-1"),
        ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com:443/x", "us-gov-west-1"),
        ("https://bedrock-runtime.eu-central-1.api.aws", "eu-central-1"),
        ("https://vpce-1a.bedrock-runtime.ap-southeast-2.vpce.amazonaws.com", "ap-southeast-2"),
        ("https://bedrock-runtime.cn-north-1.amazonaws.com.cn/", "cn-north-1"),
        ("https://bedrock-runtime.us-east-1.amazonaws.com.evil.example", None),
        ("https://evil.example/bedrock-runtime.us-east-1.amazonaws.com", None),
        ("http://127.0.0.1:9", None),
    ],
)
def test_an_address_of_bedrock_names_its_region(base_url: str, region: str | None) -> None:
    assert target_of(document("bedrock", base_url=base_url), "chat").region == region
    assert target_of(document("bedrock", base_url=base_url, region="sa-east-1"), "chat").region == "sa-east-1"


def test_a_process_runs_the_command_of_its_own_name_unless_it_names_another() -> None:
    assert target_of(document("process"), "chat").command == "s"
    assert target_of(document("process", command="other"), "chat").command == "other"
