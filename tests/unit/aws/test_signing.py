"""Signatures are AWS's: its published examples, and botocore's own signer on requests drawn at random."""

import datetime
from datetime import UTC
from urllib.parse import quote

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from caio.aws.signing import AwsKey, signed_headers

#: Of the "AWS Signature Version 4 Test Suite" (aws-sig-v4-test-suite, published by AWS with its documentation
#: of the signing process; kept in the sources of botocore and of the AWS common runtime): key, time and scope
#: of all its cases, and of some cases the request and the signature.
SUITE_KEY = AwsKey("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SUITE_TIME = 1_440_938_160_000_000  # 20150830T123600Z
HOST = "https://example.amazonaws.com"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SUITE = {
    "get-vanilla": ("GET", "/", {}, "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    "post-vanilla": ("POST", "/", {}, "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    "get-unreserved": (
        "GET",
        f"/{UNRESERVED}",
        {},
        "",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    "get-vanilla-query-order-key-case": (
        "GET",
        "/?Param2=value2&Param1=value1",
        {},
        "",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-header-value-trim": (
        "GET",
        "/",
        {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
        "",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "post-header-key-sort": (
        "POST",
        "/",
        {"My-Header1": "value1"},
        "",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    "post-x-www-form-urlencoded": (
        "POST",
        "/",
        FORM,
        "Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    ),
}


@pytest.mark.parametrize("case", SUITE)
def test_signs_as_the_published_suite_does(case: str) -> None:
    method, path, headers, body, signature = SUITE[case]
    signed = signed_headers(
        SUITE_KEY,
        method=method,
        url=HOST + path,
        headers=headers,
        body=body.encode(),
        region="us-east-1",
        service="service",
        at=SUITE_TIME,
    )
    assert signed["Authorization"].endswith(f"Signature={signature}")
    assert signed["Authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders="
    )
    assert signed["X-Amz-Date"] == "20150830T123600Z"


names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(lambda name: f"X-{name}")
values = st.text([chr(code) for code in range(0x20, 0x7F)], max_size=30)
segments = st.text(max_size=12).map(lambda text: quote(text, safe=":"))


@given(
    st.sampled_from(["http://127.0.0.1:8080", "https://bedrock-runtime.eu-west-1.amazonaws.com", "https://h.test:443"]),
    st.lists(segments.filter(lambda text: text not in (".", "..", "")), max_size=4),
    st.dictionaries(names, values, max_size=4),
    st.binary(max_size=60),
    st.none() | st.text("abc/+=", min_size=1, max_size=9),
    st.integers(0, 4 * 10**15),
)
def test_signs_as_botocore_does(
    base: str, path: list[str], headers: dict[str, str], body: bytes, token: str | None, at: int
) -> None:
    headers = dict({name.lower(): (name, value) for name, value in headers.items()}.values())
    url = f"{base}/{'/'.join(path)}"
    ours = signed_headers(
        AwsKey("AKID", "secret/+", token),
        method="POST",
        url=url,
        headers=headers,
        body=body,
        region="eu-west-1",
        service="bedrock",
        at=at,
    )
    request = AWSRequest(method="POST", url=url, data=body, headers=headers)
    moment = datetime.datetime(1970, 1, 1, tzinfo=UTC) + datetime.timedelta(microseconds=at)
    signer = botocore.auth.SigV4Auth(Credentials("AKID", "secret/+", token), "bedrock", "eu-west-1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: moment.replace(tzinfo=None))
        signer.add_auth(request)
    assert ours["Authorization"] == request.headers["Authorization"]


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(AwsKey("id", "secret", "secret-token"))
