"""Signatures: the vectors of the contract, and everything that must not pass."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.mps import signature
from watcher.mps.faults import RequestError
from watcher.mps.flat import unflatten
from watcher.mps.signature import Arrived, verify

ID, KEY, HOST, NOW = "AKIDEXAMPLE", "s3cretkey", "mps.tencentcloudapi.com", 1_700_000_000


def keys(secret_id: str) -> str | None:
    return KEY if secret_id == ID else None


def tc3(
    body: bytes = b'{"Limit": 1}',
    *,
    method: str = "POST",
    query: str = "",
    signed: str = "content-type;host",
    made: str = "",
    changes: Mapping[str, str] | None = None,
) -> Arrived:
    """A request as the SDK sends it; ``made`` is the signature, if not the right one."""
    kind = "application/json" if method == "POST" else "application/x-www-form-urlencoded"
    headers = {
        "content-type": kind,
        "host": HOST,
        "x-tc-action": "DescribeWorkflows",
        "x-tc-version": "2019-06-12",
        "x-tc-timestamp": str(NOW),
    } | dict(changes or {})
    arrived = Arrived(method, query, headers, body)
    if not made:
        made = signature.tc3_signature(KEY, signature.canonical(arrived, signed.split(";")), str(NOW), "2023-11-14/mps")
    given = f"TC3-HMAC-SHA256 Credential={ID}/2023-11-14/mps/tc3_request, SignedHeaders={signed}, Signature={made}"
    return replace(arrived, headers={**headers, "authorization": given})


POST_MADE = "d8e984afb0eb6f3b0506355aa16d2f0164279754d1d9a7904be422e3af987705"
GET_MADE = "0fccecc102b04a280c86acb41af5c364a6327100168ee7af86127acb913f8199"


def test_the_vectors_of_the_contract() -> None:
    """Made by the official SDK (api.md, section 2)."""
    assert verify(tc3(made=POST_MADE), keys, NOW).action == "DescribeWorkflows"
    found = verify(tc3(b"", method="GET", query="Limit=1", made=GET_MADE), keys, NOW)
    assert found.fields == (("Limit", "1"),)


V1 = {
    ("GET", "HmacSHA1"): "+j60vDJ3QXdJzROc2jIKaJ47mew=",
    ("GET", "HmacSHA256"): "8mfZNKgM/ukn/20GEJHAtxk1KA8IirADxT/1XXapabc=",
    ("POST", "HmacSHA1"): "qygeHkiH6QIa4b3/TME7xReauLs=",
    ("POST", "HmacSHA256"): "FYyrJX6Sh8lebgJ0sTLvwrD1yIjGcpS3g/ApHCbzfxo=",
}


def v1(method: str, algorithm: str, made: str, **changes: str) -> Arrived:
    fields = {
        "Limit": "1", "WorkflowIds.0": "10001", "Action": "DescribeWorkflows", "Version": "2019-06-12",
        "RequestClient": "SDK_PYTHON_3.1.193", "Nonce": "12345", "Timestamp": str(NOW), "Language": "en-US",
        "SignatureMethod": algorithm, "SecretId": ID, "Signature": made,
    } | changes  # fmt: skip
    text = urlencode({name: value for name, value in fields.items() if value})
    if method == "GET":
        return Arrived("GET", text, {"host": HOST}, b"")
    return Arrived("POST", "", {"host": HOST, "content-type": "application/x-www-form-urlencoded"}, text.encode())


@pytest.mark.parametrize(("method", "algorithm"), V1)
def test_the_older_vectors(method: str, algorithm: str) -> None:
    """Forms and queries (api.md, section 3)."""
    found = verify(v1(method, algorithm, V1[method, algorithm]), keys, NOW)
    assert found.fields is not None
    assert unflatten(found.fields) == {"Limit": "1", "WorkflowIds": ["10001"]}


def refused(arrived: Arrived, now: float = NOW) -> str:
    with pytest.raises(RequestError) as caught:
        verify(arrived, keys, now)
    return caught.value.code


@pytest.mark.parametrize(
    ("arrived", "code"),
    [
        (Arrived("POST", "", {}, b""), "AuthFailure.InvalidAuthorization"),
        (replace(tc3(), body=b'{"Limit": 2}'), "AuthFailure.SignatureFailure"),
        (replace(tc3(), query="Limit=2"), "InvalidRequest"),
        (tc3(made="0" * 64), "AuthFailure.SignatureFailure"),
        (tc3(made="x" * 64), "AuthFailure.InvalidAuthorization"),
        (tc3(made=POST_MADE.upper()), "AuthFailure.InvalidAuthorization"),
        (tc3(changes={"x-tc-token": "t"}), "AuthFailure.TokenFailure"),
        (tc3(changes={"x-tc-version": ""}), "MissingParameter"),
        (tc3(changes={"x-tc-action": ""}), "MissingParameter"),
        (tc3(changes={"x-tc-timestamp": "soon"}), "InvalidParameter"),
        (tc3(changes={"x-tc-timestamp": "٣" * 10}), "InvalidParameter"),
        (v1("GET", "HmacSHA1", "AAAA"), "AuthFailure.SignatureFailure"),
        (v1("POST", "HmacSHA1", ""), "AuthFailure.InvalidAuthorization"),
        (v1("POST", "HmacMD5", "x"), "InvalidParameter"),
        (v1("POST", "HmacSHA1", "x", Token="t"), "AuthFailure.TokenFailure"),
        (v1("POST", "HmacSHA1", "x", Nonce=""), "MissingParameter"),
        (v1("POST", "HmacSHA1", "x", SecretId="AKIDother"), "AuthFailure.SecretIdNotFound"),
    ],
)
def test_what_does_not_pass(arrived: Arrived, code: str) -> None:
    """Each with its own code."""
    assert refused(arrived) == code


def test_a_skipped_signature() -> None:
    """The SDK can leave the signature out; nobody is let in by that."""
    arrived = tc3()
    headers = {**arrived.headers, "authorization": "SKIP"}
    assert refused(replace(arrived, headers=headers)) == "AuthFailure.InvalidAuthorization"


@pytest.mark.parametrize(("drift", "passes"), [(0, True), (299, True), (-299, True), (301, False), (-301, False)])
def test_the_clock_window(drift: int, passes: bool) -> None:
    """Five minutes, both ways."""
    if passes:
        assert verify(tc3(), keys, NOW + drift).secret_id == ID
    else:
        assert refused(tc3(), NOW + drift) == "AuthFailure.SignatureExpire"


@pytest.mark.parametrize(
    ("scope", "code"),
    [("2023-11-13/mps", "AuthFailure.InvalidAuthorization"), ("2023-11-14/cvm", "AuthFailure.SignatureFailure")],
)
def test_the_scope_is_signed_for_its_day_and_service(scope: str, code: str) -> None:
    """A key derived for another day or service does not open this one."""
    given = tc3().headers["authorization"].replace("2023-11-14/mps", scope)
    assert refused(replace(tc3(), headers={**tc3().headers, "authorization": given})) == code


def test_too_little_is_signed() -> None:
    """Host and content type have to be; so has every header that is named to be there."""
    for signed in ("host", "content-type", "content-type;host;x-tc-region"):
        given = tc3().headers["authorization"].replace("content-type;host", signed)
        assert refused(replace(tc3(), headers={**tc3().headers, "authorization": given})) == (
            "AuthFailure.InvalidAuthorization"
        )


def test_further_signed_headers() -> None:
    """Clients may sign more than the two."""
    arrived = tc3(signed="content-type;host;x-tc-action")
    assert verify(arrived, keys, NOW).action == "DescribeWorkflows"
    other = {**arrived.headers, "x-tc-action": "DeleteWorkflow"}
    assert refused(replace(arrived, headers=other)) == "AuthFailure.SignatureFailure"


def test_an_unsigned_body_needs_tls() -> None:
    """Else anybody on the way could put another in its place."""
    plain = tc3(made="0" * 64, changes={"x-tc-content-sha256": "UNSIGNED-PAYLOAD"})
    assert refused(plain) == "AuthFailure.SignatureFailure"
    hashed = hashlib.sha256(b"UNSIGNED-PAYLOAD").hexdigest()
    text = f"POST\n/\n\ncontent-type:application/json\nhost:{HOST}\n\ncontent-type;host\n{hashed}"
    made = signature.tc3_signature(KEY, text, str(NOW), "2023-11-14/mps")
    over_tls = replace(tc3(made=made, changes={"x-tc-content-sha256": "UNSIGNED-PAYLOAD"}), encrypted=True)
    assert verify(over_tls, keys, NOW).secret_id == ID


def test_the_key_is_derived_as_the_contract_says() -> None:
    """Step by step, past our own code."""
    key = hmac.new(b"TC3" + KEY.encode(), b"2023-11-14", "sha256").digest()
    key = hmac.new(key, b"mps", "sha256").digest()
    key = hmac.new(key, b"tc3_request", "sha256").digest()
    text = f"TC3-HMAC-SHA256\n{NOW}\n2023-11-14/mps/tc3_request\n{hashlib.sha256(b'c').hexdigest()}"
    expected = hmac.new(key, text.encode(), "sha256").hexdigest()
    assert signature.tc3_signature(KEY, "c", str(NOW), "2023-11-14/mps") == expected
    assert datetime.fromtimestamp(NOW, UTC).strftime("%Y-%m-%d") == "2023-11-14"


names = st.text(st.characters(codec="utf-8"), max_size=12)


@given(st.dictionaries(names, names, max_size=8), st.binary(max_size=64), st.sampled_from(["GET", "POST", "PUT"]))
def test_nothing_else_comes_of_strange_requests(headers: dict[str, str], body: bytes, method: str) -> None:
    """Whatever arrives is refused by an error of the API."""
    with pytest.raises(RequestError):
        verify(Arrived(method, body.decode("latin-1"), headers, body), keys, NOW)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("A.B", "1"), ("A.C.0", "x"), ("A.C.1", "y")], {"A": {"B": "1", "C": ["x", "y"]}}),
        ([("S.1.N", "b"), ("S.0.N", "a")], {"S": [{"N": "a"}, {"N": "b"}]}),
        ([("E", "")], {"E": ""}),
        ([], {}),
    ],
)
def test_unflatten(pairs: list[tuple[str, str]], expected: dict[str, object]) -> None:
    """Names with dots are groups, numbers are positions."""
    assert unflatten(pairs) == expected


@pytest.mark.parametrize(
    "pairs",
    [
        [("A", "1"), ("A.B", "2")],
        [("A.B", "2"), ("A", "1")],
        [("A.1", "x")],
        [("A.0", "x"), ("A.2", "y")],
        [("A.99999", "x")],
        [(".".join("a" * 64), "x")],
        [("A", "1"), ("A", "2")],
    ],
)
def test_names_that_contradict_each_other(pairs: list[tuple[str, str]]) -> None:
    """And lists with gaps, and depth without end."""
    with pytest.raises(RequestError):
        unflatten(pairs)
