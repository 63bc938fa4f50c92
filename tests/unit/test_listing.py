"""Pages of listings: the quick reader and the XML parser agree, and what is no listing is refused in words."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.errors import TransientError
from watcher.model.listed import UNTOLD, Listed
from watcher.storage import _listing, s3
from watcher.storage._listing import glimpse, parse

KEY = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
ENTRY = st.tuples(KEY, st.integers(0, 2**40), st.sampled_from(["STANDARD", "GLACIER", ""]), st.booleans())


SPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def page(entries: list[Any], *, between: str = "", extra: str = "", space: str = SPACE) -> bytes:
    """As a store might write it."""
    text = "".join(
        f"<Contents>{between}<Key>{escape(key)}</Key>{between}<LastModified>2026-11-20T08:00:00.000Z</LastModified>"
        f"<ETag>&quot;{number:x}&quot;</ETag>{'<ChecksumAlgorithm>CRC32</ChecksumAlgorithm>' if owned else ''}"
        f"<Size>{number}</Size>"
        + ("<Owner><ID>1</ID><DisplayName>me</DisplayName></Owner>" if owned else "")
        + (f"<StorageClass>{kind}</StorageClass>" if kind else "")
        + f"{extra}</Contents>"
        for key, number, kind, owned in entries
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{space}"><Name>b</Name>'
        f"<IsTruncated>false</IsTruncated>{text}</ListBucketResult>"
    ).encode()


@given(
    st.lists(ENTRY, max_size=6),
    st.sampled_from(["", "\n  "]),
    st.sampled_from(["", SPACE]),
)
def test_both_readers_agree(entries: list[Any], between: str, space: str) -> None:
    """Whatever is in the keys; and it is what was written."""
    body = page(entries, between=between, space=space)
    quick, token = parse(body, "b", "b")
    slow, _ = parse(body.replace(b"?>", b"?><!-- a comment -->", 1), "b", "b")
    assert quick == slow
    assert token is None
    assert [(i.key, i.size, i.etag) for i in quick.infos] == [
        (key, number, f"{number:x}") for key, number, *_ in entries
    ]
    assert [i.archived for i in quick.infos] == [kind == "GLACIER" for _, _, kind, _ in entries]


@pytest.mark.parametrize("order", ["quick", "slow"])
def test_characters_by_number_and_other_elements(order: str) -> None:
    """Some stores write them."""
    body = page([("a&b", 5, "", True)], extra="" if order == "quick" else "<Other>1</Other>")
    body = body.replace(b"a&amp;b", b"a&#38;&#x62;")
    assert [info.key for info in parse(body, "b", "b")[0].infos] == ["a&b"]


def test_the_quick_reader_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the usual page; else the other test would show nothing."""
    monkeypatch.setattr(_listing, "_from_tree", lambda *_: pytest.fail("it was parsed"))
    assert len(parse(page([("a", 1, "STANDARD", False), ("b", 2, "", True)]), "b", "b")[0].infos) == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no XML"),
        (b"<Error><Code>SlowDown</Code></Error>", "the page is a 'Error'"),
        (page([("a", 1, "", False)])[:-20], "no XML"),
        (page([]).replace(b"false", b"true"), "without a token"),
        (page([("a", 1, "", False)]).replace(b"2026-11", b"soon"), "usable"),
        (page([("a", 1, "", False)]).replace(b"<Size>1</Size>", b""), "usable 'Size'"),
        (b'<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx">]><ListBucketResult>&y;</ListBucketResult>', "no XML"),
    ],
)
def test_what_is_no_listing(body: bytes, reason: str) -> None:
    """Nothing is guessed: the sweep breaks, and begins again where it was."""
    with pytest.raises(TransientError, match=reason):
        parse(body, "b", "b")


@given(st.lists(ENTRY, min_size=1, max_size=6), st.booleans())
def test_a_page_that_is_as_expected_is_not_read(entries: list[Any], truncated: bool) -> None:
    """Whether another one follows is read all the same; any other digest changes nothing."""
    body = page(entries)
    if truncated:
        more = b"<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
        body = body.replace(b"<IsTruncated>false</IsTruncated>", more)
    whole, token = parse(body, "b", "b")
    assert whole.digest is not None
    assert parse(body, "b", "b", None, (b"another", "z")) == (whole, token)
    same, following = parse(body, "b", "b", None, (whole.digest, "last"))
    assert (same.same, same.infos, same.last, following) == (True, [], "last", "t" if truncated else None)
    changed, _ = parse(page([*entries, ("z", 1, "", False)]), "b", "b", None, (whole.digest, "last"))
    assert len(changed.infos) == len(entries) + 1


@given(st.lists(ENTRY, max_size=6), st.booleans())
def test_versions_are_those_of_the_ledger(entries: list[Any], slow: bool) -> None:
    """Whether they are made from a page, or from what it shows of each object."""
    body = page(entries)
    listed = parse(body.replace(b"?>", b"?><!-- a comment -->", 1) if slow else body, "b", "b")[0].infos
    made = Listed.of(list(listed))
    assert listed == made
    assert list(listed.names()) == list(made.names())
    assert listed.modified == made.modified
    assert listed[1:] == list(listed)[1:]
    assert list(listed[1:].names()) == list(listed.names())[1:]


def test_what_has_no_etag_has_no_version() -> None:
    """It would be taken for another version at each look."""
    body = page([("a", 1, "", False), ("b", 2, "", False)]).replace(b"<ETag>&quot;1&quot;</ETag>", b"<ETag></ETag>")
    listed = parse(body, "b", "b")[0].infos
    assert [version == UNTOLD for version in listed.versions] == [True, False]
    assert listed.versions == Listed.of(list(listed)).versions


@given(st.lists(ENTRY, max_size=6), st.booleans(), st.sampled_from(["", "\n  "]))
def test_a_glimpse_of_a_usual_page_is_right(entries: list[Any], behind: bool, between: str) -> None:
    """The token may stand before the entries or behind them."""
    more = b"<IsTruncated>true</IsTruncated><NextContinuationToken>t=/+1</NextContinuationToken>"
    body = page(entries, between=between).replace(b"<IsTruncated>false</IsTruncated>", b"" if behind else more)
    if behind:
        body = body.replace(b"</ListBucketResult>", more + b"</ListBucketResult>")
    whole, token = parse(body, "b", "b")
    seen, last = glimpse(body)
    assert seen == token == "t=/+1"
    if not any(letter in key for key, *_ in entries for letter in "&<>"):
        assert last == (whole.infos.keys[-1] if entries else b"")


class Scripted(s3.S3Storage):
    """Answers with pages that a test wrote, by token."""

    def __init__(self, pages: dict[str | None, bytes]) -> None:
        super().__init__("b", s3.Options())
        self.asked: list[str | None] = []
        self._pages = pages

    async def _page(self, prefix: str, after: str, token: str | None) -> tuple[bytes, str | None]:
        self.asked.append(token)
        return self._pages[token], None


def truncated(keys: str, token: str, extra: bytes = b"") -> bytes:
    """A page of keys of one letter, and the token of the next."""
    more = b"<IsTruncated>true</IsTruncated><NextContinuationToken>%b</NextContinuationToken>" % token.encode()
    body = page([(key, 1, "STANDARD", False) for key in keys])
    return body.replace(b"<IsTruncated>false</IsTruncated>", extra + more)


async def listing(storage: Scripted, until: str | None = None) -> list[str]:
    return [info.key async for page in storage.pages(until=until) for info in page.infos]


async def test_a_glimpse_that_was_wrong_is_asked_again() -> None:
    """A comment may hold something that looks like a token: what follows is what the page says, once it was read."""
    hidden = b"<!-- <NextContinuationToken>wrong</NextContinuationToken> -->"
    pages = {
        None: truncated("ab", "1", hidden),
        "1": truncated("c", "2"),
        "2": page([("d", 1, "", False)]),
        "wrong": b"",
    }
    storage = Scripted(pages)
    assert await listing(storage) == ["a", "b", "c", "d"]
    assert storage.asked in ([None, "wrong", "1", "2"], [None, "1", "2"])


async def test_no_page_is_asked_for_behind_the_end_of_a_range() -> None:
    """Requests are paid for."""
    pages = {None: truncated("ab", "1"), "1": truncated("cd", "2"), "2": truncated("ef", "3"), "3": b"none asks for it"}
    for until, keys, asked in (("b", "ab", 1), ("c", "abcd", 2), ("d", "abcd", 2), ("e", "abcdef", 3)):
        storage = Scripted(pages)
        assert await listing(storage, until) == list(keys)
        assert len(storage.asked) == asked


async def test_a_listing_that_goes_round_is_an_error() -> None:
    """The same token twice would be the same page for ever."""
    with pytest.raises(TransientError, match="again and again"):
        await listing(Scripted({None: truncated("a", "1"), "1": truncated("b", "1")}))
