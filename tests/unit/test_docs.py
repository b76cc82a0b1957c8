"""The pages say what is so: links, files, specs, commands, columns."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from raydash.protocol.spec_file import read_spec, spec_from_toml
from raydash.record.file.schema import DDL
from raydash.terminal.cli import app
from tests.fakes.places import ROOT

EXAMPLES = sorted((ROOT / "assets" / "examples").glob("*.toml"))
DOCS = ROOT / "assets" / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")),
    *sorted(DOCS.rglob("*.md")),
]

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What its headings are called in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[str]:
    """What it says of `raydash` to type, without comments."""
    for block in blocks(page, "sh"):
        yield from (line for line in block.splitlines() if line.startswith("raydash"))
    yield from re.findall(r"`(raydash [^`\[|]*)`", page.read_text())


@pages
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    missing = []
    for link in links:
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(link)
    assert missing == []


@pages
def test_every_file_that_is_named_with_its_folder_is_there(page: Path) -> None:
    named = re.findall(r"`([\w.]+(?:/[\w.]+)*/[\w.]+\.(?:py|md|toml|txt))`", page.read_text())
    places = (ROOT, ROOT / "raydash", page.parent)
    assert [path for path in named if not any((place / path).exists() for place in places)] == []


@pages
def test_every_command_is_one_that_the_program_takes(page: Path) -> None:
    for line in commands(page):
        words = shlex.split(line, comments=True)[1:]
        group = typer.main.get_command(app)
        while isinstance(group, click.Group | typer.core.TyperGroup):
            known = words and words[0] in group.commands
            group = group.commands[words.pop(0) if known else "gui"]
        try:
            group.make_context(line, words)
        except click.exceptions.UsageError as error:
            pytest.fail(f"{line}: {error.format_message()}")


@pages
def test_every_spec_is_good_and_a_named_one_lies_among_the_examples(page: Path) -> None:
    known = [read_spec(path) for path in EXAMPLES]
    for block in blocks(page, "toml"):
        spec = spec_from_toml(block)
        if spec.name:
            assert spec in known, spec.name


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_a_good_spec_and_says_how_to_run_it(path: Path) -> None:
    assert read_spec(path).name
    assert path.name in path.read_text().splitlines()[0]


def test_every_picture_of_the_pages_has_a_light_and_a_dark_one() -> None:
    pictures = {path.name for path in (ROOT / "assets").rglob("*.png")}
    for name in pictures:
        stem = name.removesuffix("-light.png").removesuffix("-dark.png")
        assert {f"{stem}-light.png", f"{stem}-dark.png"} <= pictures, name


def test_page_about_recordings_has_every_column() -> None:
    page = (DOCS / "internals" / "recording.md").read_text()
    tables = re.findall(
        r"CREATE TABLE IF NOT EXISTS (\w+) \((.*?)^\);", DDL, re.DOTALL | re.MULTILINE
    )
    assert len(tables) == DDL.count("CREATE TABLE")
    for table, body in tables:
        told = page.partition(f"### `{table}`\n")[2].partition("\n### ")[0]
        columns = re.findall(r"^    \"?(\w+)\"? [A-Z]", body, re.MULTILINE)
        assert re.findall(r"^\| `(\w+)` ", told, re.MULTILINE) == columns, table


def test_every_hop_of_a_walk_names_what_is_in_its_files() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    hops = re.findall(r"^\d+\. (.*?)(?=^\d+\. |^$)", page, re.DOTALL | re.MULTILINE)
    assert len(hops) > 20
    for hop in hops:
        quoted = re.findall(r"`([\w./]+)`", hop)
        files = [ROOT / "raydash" / name for name in quoted if name.endswith(".py")]
        code = "\n".join(path.read_text() for path in files)
        names = [name.rpartition(".")[2] for name in quoted if not name.endswith(".py")]
        assert [name for name in names if not re.search(rf"\b{name}\b", code)] == [], hop
