"""Where a contract says that its service is called."""

import pytest

from caio.foundation.errors import InvalidInput
from caio.gateway.target import target_of


def document(protocol="http-json", endpoints=None, **api):
    api = {"protocol": protocol, "base_url": "https://service.example/v1", **api}
    if endpoints is not None:
        api["endpoints"] = endpoints
    return {"service_id": "s", "api": api}


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
