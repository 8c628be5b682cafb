"""Settings that are more than a word or a number: what they hold, and what is refused with the variable's name."""

from pathlib import Path

import pytest

from caio.config import WitnessAddress, read_settings
from caio.foundation.errors import Misconfigured

VKEY = "witness.example/w1+0a1b2c3d+BIsrZcTq9wmk/0dJVVTtTa7jZ2Zk+Q=="


@pytest.mark.parametrize(
    ("anchor", "directory", "bucket"),
    [
        (None, Path("data/anchors"), None),
        ("none", None, None),
        ("/mnt/anchors", Path("/mnt/anchors"), None),
        ("relative", Path("relative"), None),
        ("s3://my.bucket-1", None, ("my.bucket-1", "")),
        ("s3://my.bucket-1/", None, ("my.bucket-1", "")),
        ("s3://bucket/some/where/", None, ("bucket", "some/where")),
    ],
)
def test_an_anchor_is_a_directory_or_a_bucket_or_none(anchor, directory, bucket):
    settings = read_settings(data_dir=Path("data"), anchor=anchor)
    assert (settings.anchor_directory, settings.anchor_bucket) == (directory, bucket)


@pytest.mark.parametrize(
    "anchor", ["", "s3://", "s3://UPPER/x", "s3://a", "s3://bucket/a b", "gs://bucket", "file:///x"]
)
def test_an_anchor_of_another_form_is_refused(anchor, monkeypatch):
    monkeypatch.setenv("CAIO_ANCHOR", anchor)
    with pytest.raises(Misconfigured, match=r"CAIO_ANCHOR: .*a directory, s3://bucket/prefix or none"):
        read_settings()


@pytest.mark.parametrize("origin", ["caio.localhost", "a", "example.com/log", "example.com:8443/x_y~z-1"])
def test_origins_are_names_without_a_scheme(origin):
    assert read_settings(audit_origin=origin).audit_origin == origin


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a/", "/a", "a//b", "a\n", "é", "x" * 129])
def test_other_origins_are_refused(origin):
    with pytest.raises(Misconfigured, match=r"CAIO_AUDIT_ORIGIN"):
        read_settings(audit_origin=origin)


def test_witnesses_are_addresses_with_their_keys(monkeypatch):
    monkeypatch.setenv("CAIO_WITNESSES", f"https://one.example={VKEY} , http://127.0.0.1:9/w={VKEY},")
    assert read_settings().witnesses == (
        WitnessAddress("https://one.example", VKEY),
        WitnessAddress("http://127.0.0.1:9/w", VKEY),
    )
    monkeypatch.setenv("CAIO_WITNESSES", "")
    assert read_settings().witnesses == ()


@pytest.mark.parametrize("witness", ["https://one.example", f"={VKEY}", f"ftp://one.example={VKEY}", "https://a=b+c+d"])
def test_other_witnesses_are_refused(witness):
    with pytest.raises(Misconfigured, match=r"CAIO_WITNESSES: .*https://witness.example=name"):
        read_settings(witnesses=witness)


def test_a_key_of_kms_has_a_name():
    with pytest.raises(Misconfigured, match=r"CAIO_KMS_KEY_ID"):
        read_settings(kms_key_id="")


def test_commands_are_named_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAIO_PROCESS_COMMANDS", '{"classify": ["/usr/bin/classify", "--fast"]}')
    assert read_settings().process_commands == {"classify": ("/usr/bin/classify", "--fast")}


@pytest.mark.parametrize(
    "commands",
    [
        "{",
        "[]",
        '{"A b": ["/x"]}',
        '{"a": []}',
        '{"a": ["x"]}',
        '{"a": "/bin/x"}',
        '{"a": ["/x", 1]}',
        '{"a": ["/x\\u0000"]}',
    ],
)
def test_commands_of_another_form_are_refused(commands: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAIO_PROCESS_COMMANDS", commands)
    with pytest.raises(Misconfigured, match="CAIO_PROCESS_COMMANDS"):
        read_settings()


@pytest.mark.parametrize(
    "other",
    [
        {"database_url": "postgresql://127.0.0.1/x"},
        {"redis_url": "redis://127.0.0.1:1"},
        {"oidc_issuers": '[{"issuer": "https://id.example", "audiences": ["caio"]}]'},
    ],
)
def test_commands_are_for_one_process_on_sqlite(other: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match=r"CAIO_PROCESS_COMMANDS: .*one process on SQLite"):
        read_settings(process_commands='{"a": ["/bin/a"]}', **other)
