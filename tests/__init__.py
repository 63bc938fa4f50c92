"""Tests, and what they share. Assertions of the oracle are explained like those of tests."""

import pytest

pytest.register_assert_rewrite("tests.rig")
