"""The documents say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests import api_page, fields_page, openapi_page, settings_page
from watcher import settings
from watcher.cli import app
from watcher.mps import files
from watcher.mps.sample_files import load_samples

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_setting_is_documented() -> None:
    """The page is made from the settings."""
    assert (ROOT / "docs" / "settings.md").read_text() == settings_page.page()


def test_every_action_is_listed() -> None:
    """The pages are made from the actions, and say of all the model's what becomes of them."""
    assert (ROOT / "docs" / "api.md").read_text() == api_page.page()
    assert (ROOT / "docs" / "openapi.json").read_text() == openapi_page.page()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Links to files of the repository exist."""
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_commands_that_are_named_exist() -> None:
    """`watcher NAME` in a document is a command."""
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    commands |= {group.name for group in app.registered_groups}
    for page in PAGES:
        for name in re.findall(r"`watcher ([a-z]+)", page.read_text()):
            assert name in commands, (page.name, name)


def test_every_field_is_listed() -> None:
    """The page is made from the models, with what is refused by name."""
    assert (ROOT / "docs" / "fields.md").read_text() == fields_page.page()


def test_examples_are_right(tmp_path: Path) -> None:
    """Each YAML block in the documents is a configuration or a workflow that loads."""
    checked = 0
    for page in PAGES:
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)):
            data = yaml.safe_load(block)
            if "WorkflowName" in data:
                files.decode_workflow(data, f"{page.name} block {number}")
            elif all(name.endswith("TemplateSet") for name in data):
                (tmp_path / "templates").mkdir(exist_ok=True)
                (tmp_path / "templates" / "t.yaml").write_text(block)
                assert files.load_templates([tmp_path / "templates"])[1] == []
            elif all(name in ("WordSet", "PersonSet") for name in data):
                (tmp_path / "samples").mkdir(exist_ok=True)
                for picture in (name for person in data["PersonSet"] for name in person["Faces"]):
                    (tmp_path / "samples" / picture).write_bytes(b"a picture")
                (tmp_path / "samples" / "s.yaml").write_text(block)
                assert load_samples(tmp_path / "samples")[1] == []
            else:
                file = tmp_path / "watcher.yaml"
                file.write_text(re.sub(r"\$\{[^}]*\}", "x", block))
                settings.load(file)
            checked += 1
    assert checked >= 3
