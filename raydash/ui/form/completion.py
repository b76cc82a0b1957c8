"""Lines that complete names: one look for the list of them, and a line for several names."""

from collections.abc import Iterable

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtWidgets import QCompleter, QLineEdit, QWidget

_POPUP_PX = 230
"""The longest names need so much; the fields of a form are narrower."""


class NameCompleter(QCompleter):
    """Finds names by any part of them."""

    def __init__(self, names: Iterable[str], parent: QWidget) -> None:
        super().__init__(list(names), parent)
        self.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setFilterMode(Qt.MatchFlag.MatchContains)
        popup = self.popup()
        assert popup is not None
        popup.setMinimumWidth(_POPUP_PX)
        popup.setProperty("popup", True)


class NamesLine(QLineEdit):
    """A line of names with commas between them, whose last one is completed."""

    def set_names(self, names: Iterable[str]) -> None:
        """Complete from these."""
        self.setCompleter(_LastNameCompleter(names, self))


class _LastNameCompleter(NameCompleter):
    """Completes what stands behind the last comma, and keeps what stands before it."""

    def splitPath(self, path: str) -> list[str]:
        """What is looked up: nothing inside of keyword arguments."""
        return [_last_name(path) or "\0"]

    def pathFromIndex(self, index: QModelIndex | QPersistentModelIndex) -> str:
        """The line with the name that was chosen."""
        line = self.widget()
        before = line.text() if isinstance(line, QLineEdit) else ""
        kept = before[: len(before) - len(_last_name(before))]
        return kept + super().pathFromIndex(index)


def _last_name(text: str) -> str:
    """The name that is being typed; empty: none is."""
    if text.count("{") > text.count("}"):
        return ""
    return text.rpartition(",")[2].lstrip()
