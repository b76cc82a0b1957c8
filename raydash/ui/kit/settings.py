"""What a window remembers until its next start: an INI file in the state folder."""

from pathlib import Path

from PySide6.QtCore import QSettings

from raydash import paths

MAX_RECENT = 8


def settings() -> QSettings:
    """The window's settings, which are stored below `RAYDASH_STATE_DIR`."""
    return QSettings(str(paths.state_dir() / "window.ini"), QSettings.Format.IniFormat)


def recent_specs() -> list[Path]:
    """The spec files that were opened or saved last and still exist, newest first."""
    stored = settings().value("recent_specs") or []
    names = [stored] if isinstance(stored, str) else stored
    assert isinstance(names, list)
    return [path for name in names if (path := Path(str(name))).is_file()]


def remember_spec(path: Path) -> None:
    """Put a spec file at the top of the recent ones."""
    known = [path.absolute(), *(other for other in recent_specs() if other != path.absolute())]
    settings().setValue("recent_specs", [str(each) for each in known[:MAX_RECENT]])
