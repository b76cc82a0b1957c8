"""A user's notes on a recording, kept beside it in `<run_id>.notes.json`.

They are not in the recording itself, because a recording that is being written is locked. Notes
are data only: no part of them is ever used as a path.
"""

import unicodedata
from pathlib import Path

from raydash.core.faults import Fault, FaultError
from raydash.core.library import MAX_NOTE, MAX_TAG, MAX_TAGS, MAX_TITLE, Notes
from raydash.record.file.json_file import read_table, write_table

_NOT_IN_A_LINE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, lone surrogates and line ends."""
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They reverse the text around them, and so could make a list say something else."""


def validated(notes: Notes) -> Notes:
    """Check notes, and return them without surrounding blanks and with each tag once.

    Raises:
        FaultError: naming everything that is too long, too many, or can't be shown in a line.
    """
    title = notes.title.strip()
    tags = tuple(dict.fromkeys(tag for tag in map(str.strip, notes.tags) if tag))
    text = notes.text.replace("\r\n", "\n").replace("\r", "\n")
    problems = []
    if len(title) > MAX_TITLE:
        problems.append(f"the title has {len(title)} characters, {MAX_TITLE} are allowed")
    if len(tags) > MAX_TAGS:
        problems.append(f"there are {len(tags)} tags, {MAX_TAGS} are allowed")
    problems += [
        f"the tag {tag[:20]}… has {len(tag)} characters, {MAX_TAG} are allowed"
        for tag in tags
        if len(tag) > MAX_TAG
    ]
    if len(text) > MAX_NOTE:
        problems.append(f"the text has {len(text)} characters, {MAX_NOTE} are allowed")
    for name, words in (("the title", title), *(("a tag", tag) for tag in tags)):
        problems += _control_characters(name, words)
    problems += _control_characters("the text", text.replace("\n", "").replace("\t", ""))
    if problems:
        raise FaultError(
            Fault(
                "The notes were not saved",
                "; ".join(dict.fromkeys(problems)),
                "Change that and save again",
                bad_input=True,
            )
        )
    return Notes(title=title, tags=tags, text=text, pinned=notes.pinned)


def read_notes(path: Path) -> tuple[Notes, str]:
    """Read notes, and say why they can't be read; empty if they can, or if there are none.

    A file that can't be read may say that the recording is pinned, so it counts as pinned.
    """
    try:
        table = read_table(path)
        if table is None:
            return Notes(), ""
        return _notes_of(table), ""
    except FaultError as error:
        reason = error.fault.why
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:
        reason = str(error)
    return Notes(pinned=True), f"the notes in {path.name} can't be read: {reason}"


def write_notes(path: Path, notes: Notes) -> None:
    """Write validated notes; an old file that can't be read is kept under another name.

    Raises:
        OSError: if the disk refuses them; the old ones are untouched.
    """
    _, problem = read_notes(path)
    if problem:
        path.rename(_free_name(path))
    table = {
        "version": 1,
        "title": notes.title,
        "tags": list(notes.tags),
        "text": notes.text,
        "pinned": notes.pinned,
    }
    write_table(path, table)


def _notes_of(table: dict[str, object]) -> Notes:
    title, tags = table.get("title", ""), table.get("tags", [])
    text, pinned = table.get("text", ""), table.get("pinned", False)
    if (
        isinstance(title, str)
        and isinstance(text, str)
        and isinstance(pinned, bool)
        and isinstance(tags, list)
        and all(isinstance(tag, str) for tag in tags)
    ):
        return validated(Notes(title, tuple(tags), text, pinned))
    raise ValueError("it does not hold notes")


def _control_characters(name: str, words: str) -> list[str]:
    odd = {c for c in words if c in _DIRECTIONS or unicodedata.category(c) in _NOT_IN_A_LINE}
    return [f"{name} holds the control character U+{ord(c):04X}" for c in sorted(odd)]


def _free_name(path: Path) -> Path:
    count = 1
    while (aside := path.with_name(f"{path.name}.damaged-{count}")).exists():
        count += 1
    return aside
