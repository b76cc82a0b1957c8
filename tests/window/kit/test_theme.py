import itertools
import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import QFile, QSize
from PySide6.QtGui import QColor, QIcon
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from raydash.core.states import Activity, Ending, RunState
from raydash.ui.kit.glyphs import activity_icon, app_icon
from raydash.ui.kit.icons import FOLDER, IconName, icon
from raydash.ui.kit.theme import DARK, LIGHT, Appearance, Theme, apply, stylesheet

# Viénot 1999: what a person without green-sensitive (or red-sensitive) cones sees, linear RGB.
_DEUTAN = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
_PROTAN = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])


@pytest.fixture
def plain_app(qapp: QApplication) -> Iterator[QApplication]:
    yield qapp
    qapp.setStyleSheet("")


def linear(colour: str) -> np.ndarray:
    found = QColor(colour)
    rgb = np.array([found.redF(), found.greenF(), found.blueF()])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    weights = np.array([0.2126, 0.7152, 0.0722])
    light, dark = sorted((linear(one) @ weights, linear(other) @ weights), reverse=True)
    return float((light + 0.05) / (dark + 0.05))


def lab(rgb: np.ndarray) -> np.ndarray:
    """Convert linear RGB to CIE Lab."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_words_can_be_read_on_every_ground(theme: Theme) -> None:
    for ground in (theme.card, theme.background):
        for ink in (theme.text, theme.muted, theme.good, theme.warn, theme.bad):
            assert contrast(ink, ground) >= 4.5, (ink, ground)
    assert contrast(theme.on_accent, theme.accent) >= 4.5
    assert contrast(theme.text, theme.selection) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("eyes", [np.eye(3), _DEUTAN, _PROTAN])
def test_endings_can_be_told_apart_by_the_colour_blind(theme: Theme, eyes: np.ndarray) -> None:
    seen = {kind: lab(eyes @ linear(theme.ending(kind).name())) for kind in Ending}
    for one, other in itertools.combinations(Ending, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 15, (one, other)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_style_sheet_knows_all_its_colours_and_pictures(
    plain_app: QApplication, theme: Theme
) -> None:
    apply(plain_app, Appearance.LIGHT)
    sheet = stylesheet(theme)
    assert "$" not in sheet
    pictures = set(re.findall(r"url\((.*?)\)", sheet))
    assert pictures
    assert all(QFile.exists(picture) for picture in pictures)
    for picture in pictures:
        assert not QIcon(picture).pixmap(QSize(12, 12)).isNull()


def test_appearance_changes_the_theme_and_says_so_once(
    plain_app: QApplication, qtbot: QtBot
) -> None:
    manager = apply(plain_app, Appearance.LIGHT)
    heard: list[Theme] = []
    manager.changed.connect(heard.append)
    manager.set_appearance(Appearance.DARK)
    manager.set_appearance(Appearance.DARK)
    assert heard == [DARK]
    assert plain_app.palette().window().color() == QColor(DARK.background)
    assert DARK.card in plain_app.styleSheet()
    manager.set_appearance(Appearance.SYSTEM)
    manager.set_appearance(Appearance.LIGHT)
    assert manager.theme is LIGHT


def test_every_state_has_a_colour() -> None:
    for theme in (LIGHT, DARK):
        assert all(theme.activity(activity).isValid() for activity in Activity)
        assert all(theme.run_state(state).isValid() for state in RunState)


def test_every_activity_has_a_shape_of_its_own(qapp: QApplication) -> None:
    shapes = set()
    for activity in Activity:
        image = activity_icon(activity, DARK).pixmap(32, 32).toImage()
        alpha = bytes(image.pixelColor(x, y).alpha() > 127 for y in range(32) for x in range(32))
        assert any(alpha)
        shapes.add(alpha)
    assert len(shapes) == len(Activity)


def test_every_icon_is_painted_for_use_and_for_disuse(qapp: QApplication) -> None:
    for name in IconName:
        usual = icon(name, LIGHT).pixmap(16, 16).toImage()
        disabled = icon(name, LIGHT).pixmap(QSize(16, 16), QIcon.Mode.Disabled).toImage()
        assert usual != disabled
        assert any(usual.pixelColor(x, y).alpha() for x in range(16) for y in range(16))
    assert not app_icon().isNull()


def test_every_icon_has_a_file_and_every_file_an_icon_and_a_licence() -> None:
    assert {path.stem for path in FOLDER.glob("*.svg")} == set(IconName)
    assert "ISC License" in (FOLDER / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("mode", [QIcon.Mode.Normal, QIcon.Mode.Disabled])
@pytest.mark.parametrize("name", IconName)
def test_icons_have_the_colours_of_the_theme(
    qapp: QApplication, name: IconName, theme: Theme, mode: QIcon.Mode
) -> None:
    image = icon(name, theme).pixmap(QSize(48, 48), mode).toImage()
    pixels = [image.pixelColor(x, y) for x in range(48) for y in range(48)]
    inks = Counter(pixel.name() for pixel in pixels if pixel.alpha() == 255)
    colour = theme.text if mode is QIcon.Mode.Normal else theme.disabled
    assert inks.most_common(1)[0][0] == colour


@pytest.mark.parametrize("size", [12, 16])
@pytest.mark.parametrize("ratio", [1.0, 1.5, 2.0])
def test_icons_are_drawn_at_the_very_size_that_a_screen_needs(
    qapp: QApplication, size: int, ratio: float
) -> None:
    drawn = icon(IconName.PAUSE, DARK).availableSizes()
    assert QSize(round(size * ratio), round(size * ratio)) in drawn


def test_pause_is_two_bars_at_sixteen_pixels(qapp: QApplication) -> None:
    image = icon(IconName.PAUSE, LIGHT).pixmap(16, 16).toImage()
    row = [image.pixelColor(x, 8).alpha() > 127 for x in range(16)]
    assert [is_ink for is_ink, _ in itertools.groupby(row)] == [False, True, False, True, False]
