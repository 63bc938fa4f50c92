"""A Whisper network that says "hello world" from 0 to 2 seconds, whatever it hears: small enough to be made by a test.

Its weights are zeros, but for the places of the decoder, which are one-hot, and a projection that turns each place into
the next token. So the real library runs over a real file, and what comes out is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
from ctranslate2.specs import WhisperSpec
from ctranslate2.specs.model_spec import OPTIONAL
from tokenizers import Tokenizer, decoders, models

LANGUAGES = ("en", "zh", "de")
SPECIAL = (
    "<|endoftext|>", "<|startoftranscript|>", *(f"<|{name}|>" for name in LANGUAGES),
    "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
    *(f"<|{number * 0.02:.2f}|>" for number in range(1501)),
)  # fmt: skip
TOKENS = ("hello", " world", "?", *SPECIAL)
SAID = {0: "<|0.00|>", 1: "hello", 2: " world", 3: "<|2.00|>", 4: "<|endoftext|>"}
"""What follows at each place; the prompt of a network for English only is one token."""
SIZE, MELS, HEARD, PLACES = 16, 80, 1500, 448


def make(folder: Path) -> Path:
    """Write the network into a folder, as CTranslate2 and faster-whisper read it."""
    spec = WhisperSpec(1, 2, 1, 2)
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (SIZE, MELS, 3), "conv2.weight": (SIZE, SIZE, 3)}
    shapes |= {"conv1.bias": (SIZE,), "conv2.bias": (SIZE,), "encodings": (HEARD, SIZE)}
    _fill(spec.encoder, shapes)
    _fill(spec.decoder, {"embeddings.weight": (len(TOKENS), SIZE), "projection.weight": (len(TOKENS), SIZE)})
    places = numpy.zeros((PLACES, SIZE), numpy.float32)
    places[range(SIZE), range(SIZE)] = 1
    spec.decoder.position_encodings.encodings = places
    # Each place listens to half a second of its own, which is what times of words are made of.
    for frame in range(HEARD):
        spec.encoder.position_encodings.encodings[frame, min(SIZE - 1, frame // 25)] = 1
    listening = spec.decoder.layer[0].attention.linear
    listening[0].weight[range(SIZE), range(SIZE)] = 10
    listening[1].weight[range(SIZE), range(SIZE)] = 10
    for place, token in SAID.items():
        spec.decoder.projection.weight[TOKENS.index(token), place] = 10
    spec.register_vocabulary(list(TOKENS))
    spec.config.lang_ids = [TOKENS.index(f"<|{name}|>") for name in LANGUAGES]
    spec.config.alignment_heads = [(0, 0)]
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    spec.validate()
    folder.mkdir()
    spec.save(str(folder))
    words = Tokenizer(models.WordLevel({token: number for number, token in enumerate(TOKENS)}, unk_token="?"))
    words.decoder = decoders.Fuse()
    words.save(str(folder / "tokenizer.json"))
    return folder


def _fill(part: Any, shapes: dict[str, tuple[int, ...]], path: str = "") -> None:
    """Give each weight its shape, and zeros; what normalises changes nothing."""
    for name, value in list(vars(part).items()):
        here = f"{path}.{name}" if path else name
        if isinstance(value, list):
            for number, child in enumerate(value):
                _fill(child, shapes, f"{here}.{number}")
        elif hasattr(value, "__dict__") and type(value).__module__.startswith("ctranslate2"):
            _fill(value, shapes, here)
        elif name == "gamma":
            setattr(part, name, numpy.ones(SIZE, numpy.float32))
        elif name == "beta":
            setattr(part, name, numpy.zeros(SIZE, numpy.float32))
        else:
            shape = next((shape for end, shape in shapes.items() if here.endswith(end)), None)
            if shape is None and value is None:
                shape = _shape(here)
            if shape is None and value == OPTIONAL and name == "bias" and "linear" in here:
                shape = (_shape(here.replace("bias", "weight"))[0],)
            if shape is not None:
                setattr(part, name, numpy.zeros(shape, numpy.float32))


def _shape(path: str) -> tuple[int, int]:
    """Of the weight of a layer: queries, keys and values are one matrix in self-attention, keys and values in the
    other one."""
    if "self_attention.linear.0" in path:
        return 3 * SIZE, SIZE
    if ".attention.linear.1" in path:
        return 2 * SIZE, SIZE
    if "ffn.linear_0" in path:
        return 4 * SIZE, SIZE
    if "ffn.linear_1" in path:
        return SIZE, 4 * SIZE
    return SIZE, SIZE
