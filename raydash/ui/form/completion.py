"""Completion of names: a completer with one look everywhere, and a line for several names."""

from collections.abc import Iterable

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QCompleter, QLineEdit, QWidget
from typing_extensions import override

_POPUP_PX = 230
"""The width that the longest names need; the fields of a form are narrower."""


class NameCompleter(QCompleter):
    """Completes a name from any part of it."""

    def __init__(self, names: Iterable[str], parent: QWidget) -> None:
        super().__init__(list(names), parent)
        self.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setFilterMode(Qt.MatchFlag.MatchContains)
        popup = self.popup()
        assert popup is not None
        popup.setMinimumWidth(_POPUP_PX)
        popup.setProperty("popup", True)


class NamesLine(QLineEdit):
    """A line of names separated by commas, which completes the last one."""

    def set_names(self, names: Iterable[str]) -> None:
        """Complete from these names."""
        self.setCompleter(_LastNameCompleter(names, self))


class _LastNameCompleter(NameCompleter):
    """Completes the text after the last comma and keeps what is before it."""

    @override
    def splitPath(self, path: str) -> list[str]:
        """Look up the last name; nothing inside keyword arguments."""
        return [_last_name(path) or "\0"]

    @override
    def pathFromIndex(self, index: QModelIndex | QPersistentModelIndex) -> str:
        """The line with the chosen name in place of the one being typed."""
        line = self.widget()
        before = line.text() if isinstance(line, QLineEdit) else ""
        kept = before[: len(before) - len(_last_name(before))]
        return kept + super().pathFromIndex(index)


def _last_name(text: str) -> str:
    """The name that is being typed; empty if there is none."""
    if text.count("{") > text.count("}"):
        return ""
    return text.rpartition(",")[2].lstrip()
