"""The base of the value objects that come from outside and are validated."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """Immutable, refuses unknown fields, compares by content."""

    # Built when first used: a third of them is, at a start.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
