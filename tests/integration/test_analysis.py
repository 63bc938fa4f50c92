"""Analysis: covers of films in which it is known what is good, and labels by a server of models."""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests import parts
from tests.workbench import Bench

ON = {"Switch": "ON"}


async def analysed(bench: Bench, source: Path, **template: Any) -> dict[str, dict[str, Any]]:
    """The parts of an analysis by their type."""
    (bench.root / source.name).write_bytes(source.read_bytes())
    bench.template("ai_analysis", 50001, {"Name": "n"} | template)
    (result,) = (await bench.run(source.name, AiAnalysisTask={"Definition": 50001})).results
    assert result.output is not None, result.message
    return {part["type"]: part for part in result.output["parts"]}


async def test_covers_are_of_what_is_good(workbench: Bench, tmp_path: Path) -> None:
    """Of a film that is black, blurred, dark and grey but for two stretches, the covers are from these."""
    plain = "mandelbrot=size=640x360:rate=25:start_scale=1.5"
    wrong = ("drawbox=color=black:t=fill", "gblur=sigma=9", "eq=brightness=-0.4", "drawbox=color=gray:t=fill")
    # Each for three seconds, and what is fine from 3 to 6 and from 12 to 15 seconds; that is red at its edge.
    chain = ",".join(
        f"{name}:enable='between(t,{start},{start + 2.99})'" for name, start in zip(wrong, (0, 6, 9, 15), strict=True)
    )
    fine = "+".join(f"between(t,{start},{start + 2.99})" for start in (3, 12))
    graph = f"{plain},format=yuv420p,{chain},drawbox=color=red:w=40:h=ih:t=fill:enable='{fine}'"
    source = tmp_path / "film.mp4"
    subprocess.run([parts.FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", graph, "-t", "18", str(source)], check=True)
    found = await analysed(workbench, source, CoverConfigure=ON)
    output = found["Cover"]["output"]
    covers = output["cover_set"]
    assert len(covers) >= 2
    assert [cover["confidence"] for cover in covers] == sorted((c["confidence"] for c in covers), reverse=True)
    for cover in covers[:2]:
        with Image.open(workbench.path(cover["cover_path"])) as picture:
            red, green, _ = picture.convert("RGB").getpixel((20, 180))  # type: ignore[misc]
            assert red > 150 > green, cover
    assert covers[0]["cover_path"] == "/out/film_cover_50001_0.jpg"
    assert output["output_storage"]["cos_output_storage"]["bucket"] == "b"
    blind = await analysed(workbench, parts.make_clip(tmp_path / "blind.m4a", "-vn", seconds=1), CoverConfigure=ON)
    assert blind["Cover"]["code"] == "SourceFileError.NoVideoMedia"
    one = await analysed(workbench, parts.make_clip(tmp_path / "one.mp4", "-frames:v", "1"), CoverConfigure=ON)
    assert len(one["Cover"]["output"]["cover_set"]) == 1


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any]]]:
    """One that says of red pictures that they are red, and of others that they are blue; or what it is told to say."""
    state: list[Any] = [None]

    def respond(path: str, authorization: str, body: bytes) -> tuple[int, bytes]:
        asked = json.loads(body)
        state.append((path, authorization, asked["model"]))
        address = asked["messages"][0]["content"][1]["image_url"]["url"]
        data = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
        return 200, json.dumps({"choices": [{"message": {"content": state[0] or _said(data)}}]}).encode()

    with parts.model_server(respond) as url:
        yield url, state


def _said(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as picture:
        red, _, blue = picture.convert("RGB").resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
    name, kind = ("fire", "drama") if red > blue else ("sea", "nature")
    return json.dumps({"category": kind, "tags": [{"name": name, "confidence": 90}]})


async def test_labels_by_a_server(workbench: Bench, server: tuple[str, list[Any]], tmp_path: Path) -> None:
    """Classes, tags and tags by time are made of what it says of some pictures; a lie fails those parts only."""
    url, state = server
    source = tmp_path / "film.mp4"
    graph = "color=red:size=320x180:d=2[a];color=blue:size=320x180:d=6[b];[a][b]concat"
    subprocess.run([parts.FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", graph, str(source)], check=True)
    workbench.serve(vision=("openai", {"url": url, "model": "llava", "api_key": "k3y", "pictures": 8}))
    wanted = dict.fromkeys(("ClassificationConfigure", "TagConfigure", "FrameTagConfigure", "CoverConfigure"), ON)
    try:
        found = await analysed(workbench, source, **wanted)
        assert {part["status"] for part in found.values()} == {"SUCCESS"}
        assert found["Classification"]["output"]["classification_set"] == [
            {"classification": "nature", "confidence": 75.0}, {"classification": "drama", "confidence": 25.0},
        ]  # fmt: skip
        assert [tag["tag"] for tag in found["Tag"]["output"]["tag_set"]] == ["sea", "fire"]
        segments = found["FrameTag"]["output"]["segment_set"]
        times = [(s["start_time_offset"], s["end_time_offset"], s["tag_set"][0]["tag"]) for s in segments]
        assert times == [(0.0, 2.0, "fire"), (2.0, 8.0, "sea")]
        assert state[1:] == [("/v1/chat/completions", "Bearer k3y", "llava")] * 8
        for lie in ("I see the sea", '{"tags": []}', '{"category": "a", "tags": [{"name": "b", "confidence": "NaN"}]}'):
            state[0] = lie
            found = await analysed(workbench, source, **wanted)
            assert "not the JSON that was asked for" in found["Tag"]["message"]
            assert found["Cover"]["status"] == "SUCCESS"
    finally:
        await workbench.worker.models.close()
