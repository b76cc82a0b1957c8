"""The part of the form for when a run ends by itself."""

from collections.abc import Mapping

from PySide6.QtWidgets import QLineEdit
from typing_extensions import override

from raydash.core.spec import RunSpec
from raydash.ui.form.command_line import plain_number
from raydash.ui.form.part import FormPart
from raydash.ui.form.values import number_in

_NO_LIMIT = "never"


class StopPart(FormPart):
    """Fields for limits; the run ends at the first that it reaches."""

    def __init__(self) -> None:
        super().__init__("Stop", "stop", is_open=False)
        self._lines = {
            key: QLineEdit(placeholderText=_NO_LIMIT)
            for key in ("stop.seconds", "stop.env_steps", "stop.episodes")
        }
        for title, (key, line) in zip(
            ("Max seconds", "Max steps", "Max episodes"), self._lines.items(), strict=True
        ):
            self.add_row(title, line, key, f"form_{key.replace('.', '_')}")

    @override
    def values(self) -> Mapping[str, object]:
        return {key: number_in(key, line.text()) for key, line in self._lines.items()}

    @override
    def show_spec(self, spec: RunSpec) -> None:
        for key, line in self._lines.items():
            value = getattr(spec.stop, key.removeprefix("stop."))
            line.setText("" if value is None else plain_number(float(value)))

    @override
    def summary(self) -> str:
        units = {"stop.seconds": "s", "stop.env_steps": "steps", "stop.episodes": "episodes"}
        parts = [
            f"{text} {units[key]}" for key, line in self._lines.items() if (text := line.text())
        ]
        return " · ".join(parts) or _NO_LIMIT
