"""The two palettes, and the style sheet and QPalette made from them. No widgets here.

Every colour of the window comes from a `Theme`. Hues are chosen so that the four endings and the
series stay distinct for the common kinds of colour blindness; colour is never the only sign.
"""

from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from pathlib import Path

from PySide6.QtCore import QDir, QObject, Qt, Signal
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

from raydash.core.states import Activity, Ending, RunState
from raydash.ui.kit.style_sheet import TEMPLATE

_ASSETS = Path(__file__).parent / "assets"


class Appearance(StrEnum):
    """The appearance that the user asks for."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True, slots=True)
class Theme:
    """Named colours, as `#rrggbb`.

    Attributes:
        name: `light` or `dark`, which is also part of the arrow pictures' file names.
        background: Behind the cards.
        card: Background of cards, menus and fields.
        raised: Background of hovered buttons, headers and tool tips.
        pressed: Background of pressed and checked buttons.
        border: Frame of cards and fields.
        grid: Lines behind curves.
        text: All ordinary text.
        muted: Labels, axes and hints.
        disabled: What cannot be used now.
        accent: The primary button, links and focus rings.
        on_accent: Text on `accent`.
        selection: Background of selected rows; their text stays `text`.
        good: All is well.
        warn: Somebody should look.
        bad: Something is wrong.
        terminated: Episodes that terminated.
        truncated: Episodes that were truncated.
        both: Episodes that terminated and were truncated at once.
        error: Episodes that ended in an error.
        throughput: The total env steps/s.
        series: Curves of selected workers.
        runs: Runs that are drawn together.
    """

    name: str
    background: str
    card: str
    raised: str
    pressed: str
    border: str
    grid: str
    text: str
    muted: str
    disabled: str
    accent: str
    on_accent: str
    selection: str
    good: str
    warn: str
    bad: str
    terminated: str
    truncated: str
    both: str
    error: str
    throughput: str
    series: tuple[str, ...]
    runs: tuple[str, ...]

    @property
    def is_dark(self) -> bool:
        """Whether text is light on a dark ground."""
        return self.name == "dark"

    def ending(self, ending: Ending) -> QColor:
        """The colour of an ending."""
        return QColor(
            {
                Ending.TERMINATED: self.terminated,
                Ending.TRUNCATED: self.truncated,
                Ending.BOTH: self.both,
                Ending.ERROR: self.error,
            }[ending],
        )

    def activity(self, activity: Activity) -> QColor:
        """The colour of an activity, which also has a glyph of its own."""
        return QColor(getattr(self, _ACTIVITY_COLOURS[activity]))

    def run_state(self, state: RunState) -> QColor:
        """The colour of a run's state."""
        return QColor(getattr(self, _RUN_STATE_COLOURS[state]))


_ACTIVITY_COLOURS = {
    Activity.STARTING: "accent",
    Activity.RESETTING: "good",
    Activity.STEPPING: "good",
    Activity.PAUSING: "warn",
    Activity.PAUSED: "warn",
    Activity.DRAINING: "accent",
    Activity.STOPPING: "muted",
    Activity.STOPPED: "muted",
    Activity.RESTARTING: "warn",
    Activity.FAILED: "bad",
    Activity.STALLED: "bad",
    Activity.UNREACHABLE: "bad",
    Activity.IDLE: "muted",
}
_RUN_STATE_COLOURS = {
    RunState.STARTING: "accent",
    RunState.RUNNING: "good",
    RunState.PAUSED: "warn",
    RunState.STOPPING: "accent",
    RunState.FINISHED: "good",
    RunState.STOPPED: "muted",
    RunState.FAILED: "bad",
    RunState.INTERRUPTED: "bad",
}

DARK = Theme(
    name="dark",
    background="#13171b",
    card="#1b2026",
    raised="#272e36",
    pressed="#323b45",
    border="#2d343c",
    grid="#272d34",
    text="#e6e9ee",
    muted="#959ead",
    disabled="#5b6470",
    accent="#4c9fee",
    on_accent="#08131f",
    selection="#2a3644",
    good="#3fb98c",
    warn="#e3a534",
    bad="#f2706a",
    terminated="#2a9a96",
    truncated="#a585e0",
    both="#f0c75a",
    error="#f2605a",
    throughput="#3fb98c",
    series=("#f0b23e", "#c08af0", "#5cc8e8", "#f08a6a", "#9ccc5a", "#f0a0c8"),
    runs=(
        *("#4c9fee", "#f0a030", "#8ff0c0", "#b0673f"),
        *("#cfe4ff", "#5a6ff0", "#f7ea6a", "#3f8f86"),
    ),
)
LIGHT = Theme(
    name="light",
    background="#f3f5f7",
    card="#ffffff",
    raised="#eef1f4",
    pressed="#dfe5eb",
    border="#dde2e8",
    grid="#eceff2",
    text="#1a2028",
    muted="#5f6876",
    disabled="#a3abb6",
    accent="#1c6cc4",
    on_accent="#ffffff",
    selection="#dceafa",
    good="#117a57",
    warn="#97600a",
    bad="#c42f2b",
    terminated="#359b94",
    truncated="#8a66cc",
    both="#dba51c",
    error="#cf3a33",
    throughput="#148a63",
    series=("#b06f00", "#8440c0", "#0f86a8", "#c2502c", "#578a12", "#b8407f"),
    runs=(
        *("#1c6cc4", "#c8820a", "#14755a", "#d0408f"),
        *("#123a6e", "#8a3a12", "#8080f8", "#4f9e6e"),
    ),
)


def stylesheet(theme: Theme) -> str:
    """The style sheet of the whole application.

    Its pictures need the search path of `ThemeManager`.
    """
    sheet = TEMPLATE
    # Longest names first: "$text" must not replace the beginning of a longer name.
    for name in sorted((field.name for field in fields(Theme)), key=len, reverse=True):
        value = getattr(theme, name)
        if isinstance(value, str):
            sheet = sheet.replace(f"${name}", value)
    return sheet


@cache
def palette(theme: Theme) -> QPalette:
    """The same colours for what style sheets do not reach (item views, placeholders, links)."""
    made = QPalette()
    role = QPalette.ColorRole
    for which, colour in (
        (role.Window, theme.background),
        (role.WindowText, theme.text),
        (role.Base, theme.card),
        (role.AlternateBase, theme.background),
        (role.Text, theme.text),
        (role.Button, theme.raised),
        (role.ButtonText, theme.text),
        (role.BrightText, theme.bad),
        (role.ToolTipBase, theme.raised),
        (role.ToolTipText, theme.text),
        (role.PlaceholderText, theme.muted),
        (role.Highlight, theme.selection),
        (role.HighlightedText, theme.text),
        (role.Link, theme.accent),
        (role.LinkVisited, theme.truncated),
        (role.Mid, theme.border),
        (role.Dark, theme.border),
        (role.Light, theme.raised),
        (role.Midlight, theme.raised),
        (role.Accent, theme.accent),
    ):
        made.setColor(which, QColor(colour))
    for which in (role.WindowText, role.Text, role.ButtonText, role.HighlightedText):
        made.setColor(QPalette.ColorGroup.Disabled, which, QColor(theme.disabled))
    return made


class ThemeManager(QObject):
    """Holds the appearance that was asked for and the theme that follows from it.

    Signals:
        changed(Theme): Another theme is in use; the application has its colours already.
    """

    changed = Signal(object)

    def __init__(self, app: QApplication, appearance: Appearance = Appearance.SYSTEM) -> None:
        super().__init__(app)
        self._app = app
        self.appearance = appearance
        self.theme = self._wanted()
        QDir.setSearchPaths("raydash", [str(_ASSETS)])
        app.setStyle("Fusion")
        app.styleHints().colorSchemeChanged.connect(self._on_scheme_changed)
        self._apply_theme()

    def set_appearance(self, appearance: Appearance) -> None:
        """Follow the system, or always be light or dark."""
        self.appearance = appearance
        # Native parts (title bar, file dialogs) follow this; Unknown lets the system decide again.
        self._app.styleHints().setColorScheme(
            {
                Appearance.LIGHT: Qt.ColorScheme.Light,
                Appearance.DARK: Qt.ColorScheme.Dark,
                Appearance.SYSTEM: Qt.ColorScheme.Unknown,
            }[appearance],
        )
        self._follow()

    def _wanted(self) -> Theme:
        match self.appearance:
            case Appearance.LIGHT:
                return LIGHT
            case Appearance.DARK:
                return DARK
            case Appearance.SYSTEM:
                is_dark = self._app.styleHints().colorScheme() is Qt.ColorScheme.Dark
                return DARK if is_dark else LIGHT

    def _on_scheme_changed(self) -> None:
        self._follow()

    def _follow(self) -> None:
        wanted = self._wanted()
        if wanted is not self.theme:
            self.theme = wanted
            self._apply_theme()
            self.changed.emit(wanted)

    def _apply_theme(self) -> None:
        self._app.setPalette(palette(self.theme))
        self._app.setStyleSheet(stylesheet(self.theme))


def apply(app: QApplication, appearance: Appearance = Appearance.SYSTEM) -> ThemeManager:
    """Apply the theme to the application; the returned manager (its child) can change it later."""
    manager = ThemeManager(app)
    manager.set_appearance(appearance)
    return manager
