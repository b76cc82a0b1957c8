"""The style sheet as a template; `$names` are colours of `raydash.ui.kit.theme.Theme`.

It uses these dynamic properties: `primary`, `danger` (buttons), `role` (labels: `title`, `muted`,
`value`, `small`, `problem`, `warning`; frames: `line`), `card` (frames), `popup` (lists). Object
names are for tests, not for styling.
"""

TEMPLATE = """
QWidget { color: $text; }
QMainWindow, QDialog, QMessageBox { background: $background; }
QMainWindow::separator { width: 6px; height: 6px; background: transparent; }
QLabel { background: transparent; }
QLabel[role="title"] { font-weight: 600; }
QLabel[role="muted"], QLabel[role="small"] { color: $muted; }
QLabel[role="problem"] { color: $bad; }
QLabel[role="warning"] { color: $warn; }
QFrame[role="line"] { background: $border; border: 0; }
QLabel:disabled { color: $disabled; }

QFrame[card="true"] { background: $card; border: 1px solid $border; border-radius: 7px; }

QToolBar { background: $background; border: 0; padding: 6px 8px; spacing: 6px; }
QToolBar::separator { background: $border; width: 1px; margin: 5px 5px; }

QPushButton, QToolButton {
    background: $card; border: 1px solid $border; border-radius: 5px;
    padding: 4px 11px; min-height: 18px;
}
QToolButton { padding: 4px 8px; }
QPushButton:hover, QToolButton:hover { background: $raised; }
QPushButton:pressed, QToolButton:pressed, QPushButton:checked, QToolButton:checked {
    background: $pressed;
}
QToolButton:checked { border-color: $accent; }
QPushButton:focus, QToolButton:focus { border: 1px solid $accent; }
QPushButton:disabled, QToolButton:disabled { color: $disabled; background: transparent; }
QPushButton[primary="true"], QToolButton[primary="true"], QPushButton:default {
    background: $accent; color: $on_accent; border-color: $accent; font-weight: 600;
}
QPushButton[primary="true"]:focus, QToolButton[primary="true"]:focus, QPushButton:default:focus {
    border: 2px solid $text; padding: 3px 10px;
}
QPushButton[primary="true"]:disabled, QToolButton[primary="true"]:disabled,
QPushButton:default:disabled {
    background: $raised; color: $disabled; border-color: $border;
}
QPushButton[danger="true"] { color: $bad; }
QPushButton::menu-indicator, QToolButton::menu-indicator {
    image: url(raydash:down-$name.svg); width: 9px; height: 9px;
    subcontrol-position: right center; subcontrol-origin: padding; right: 5px;
}
QToolButton[popupMode="1"] { padding-right: 20px; }
QToolButton[popupMode="2"] { padding-right: 18px; }
QToolButton::menu-button { border: 0; border-left: 1px solid $border; width: 16px; }
QToolButton::menu-arrow { image: url(raydash:down-$name.svg); width: 9px; height: 9px; }

QLineEdit, QAbstractSpinBox, QComboBox, QPlainTextEdit, QTextEdit {
    background: $card; border: 1px solid $border; border-radius: 5px;
    selection-background-color: $accent; selection-color: $on_accent;
}
QLineEdit, QAbstractSpinBox, QComboBox { padding: 3px 7px; min-height: 18px; }
QComboBox { padding-right: 22px; }
QAbstractSpinBox { padding: 1px 20px 2px 7px; }
QLineEdit:focus, QAbstractSpinBox:focus, QComboBox:focus, QPlainTextEdit:focus, QTextEdit:focus {
    border: 1px solid $accent;
}
QLineEdit:disabled, QAbstractSpinBox:disabled, QComboBox:disabled {
    color: $disabled; background: $background;
}
QLineEdit[invalid="true"], QAbstractSpinBox[invalid="true"], QComboBox[invalid="true"],
QPlainTextEdit[invalid="true"] { border: 1px solid $bad; }
QComboBox QLineEdit, QAbstractSpinBox QLineEdit {
    border: 0; padding: 0; min-height: 0; background: transparent;
}
QAbstractSpinBox QLineEdit { padding-left: 5px; }
QComboBox::drop-down {
    subcontrol-origin: border; subcontrol-position: center right; width: 22px; border: 0;
}
QComboBox::down-arrow { image: url(raydash:down-$name.svg); width: 10px; height: 10px; }
QComboBox QAbstractItemView {
    background: $card; border: 1px solid $border; outline: 0; padding: 2px;
    selection-background-color: $selection; selection-color: $text;
}
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {
    subcontrol-origin: border; width: 18px; border: 0; background: transparent;
}
QAbstractSpinBox::up-button { subcontrol-position: top right; margin: 2px 2px 0 0; }
QAbstractSpinBox::down-button { subcontrol-position: bottom right; margin: 0 2px 2px 0; }
QAbstractSpinBox::up-button:hover, QAbstractSpinBox::down-button:hover {
    background: $raised; border-radius: 3px;
}
QAbstractSpinBox::up-arrow { image: url(raydash:up-$name.svg); width: 9px; height: 9px; }
QAbstractSpinBox::down-arrow { image: url(raydash:down-$name.svg); width: 9px; height: 9px; }
QAbstractSpinBox::up-arrow:off, QAbstractSpinBox::down-arrow:off { image: none; }

QCheckBox, QRadioButton { spacing: 7px; background: transparent; }
QCheckBox::indicator, QRadioButton::indicator {
    width: 14px; height: 14px; border: 1px solid $muted; background: $card;
}
QCheckBox::indicator { border-radius: 3px; }
QRadioButton::indicator { border-radius: 8px; }
QCheckBox::indicator:checked {
    background: $accent; border-color: $accent; image: url(raydash:check-$name.svg);
}
QRadioButton::indicator:checked {
    border-color: $accent;
    background: qradialgradient(cx: 0.5, cy: 0.5, radius: 0.5, fx: 0.5, fy: 0.5,
        stop: 0 $accent, stop: 0.55 $accent, stop: 0.65 $card, stop: 1 $card);
}
QCheckBox::indicator:focus, QRadioButton::indicator:focus { border: 1px solid $accent; }
QCheckBox:disabled, QRadioButton:disabled { color: $disabled; }

QMenuBar { background: $background; }
QMenuBar::item { padding: 4px 9px; background: transparent; border-radius: 4px; }
QMenuBar::item:selected { background: $raised; }
QMenu { background: $card; border: 1px solid $border; padding: 4px; }
QMenu::item { padding: 5px 26px 5px 10px; border-radius: 4px; }
QMenu::icon { padding-left: 8px; }
QMenu::item:selected { background: $selection; }
QMenu::item:disabled { color: $disabled; background: transparent; }
QMenu::separator { height: 1px; background: $border; margin: 4px 6px; }
QMenu::indicator { width: 12px; height: 12px; left: 6px; }
QMenu::indicator:checked { image: url(raydash:tick-$name.svg); }
QToolTip { background: $raised; color: $text; border: 1px solid $border; padding: 5px 7px; }

QTableView, QTreeView, QListView {
    background: $card; border: 0; outline: 0; gridline-color: $grid;
    alternate-background-color: $card;
    selection-background-color: $selection; selection-color: $text;
}
QListView[popup="true"] { border: 1px solid $border; padding: 2px; }
QTableView::item { border: 0; padding: 0 6px; }
QTableView::item:focus, QTreeView::item:focus, QListView::item:focus {
    border: 1px solid $accent;
}
QTreeView::item, QListView::item { padding: 3px 6px; }
QTableView::item:selected, QTreeView::item:selected, QListView::item:selected {
    background: $selection; color: $text;
}
QHeaderView { background: $card; border: 0; }
QHeaderView::section {
    background: $card; color: $muted; font-weight: 600; border: 0;
    border-bottom: 1px solid $border; padding: 5px 6px;
}
QHeaderView::section:hover { color: $text; }
QHeaderView::up-arrow { image: url(raydash:up-$name.svg); width: 9px; height: 9px; }
QHeaderView::down-arrow { image: url(raydash:down-$name.svg); width: 9px; height: 9px; }
QTableCornerButton::section { background: $card; border: 0; }

QScrollBar { background: transparent; border: 0; margin: 0; }
QScrollBar:vertical { width: 11px; }
QScrollBar:horizontal { height: 11px; }
QScrollBar::handle { background: $pressed; border-radius: 3px; margin: 2px; }
QScrollBar::handle:vertical { min-height: 26px; }
QScrollBar::handle:horizontal { min-width: 26px; }
QScrollBar::handle:hover { background: $disabled; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
QScrollArea { border: 0; background: transparent; }
QScrollArea > QWidget > QWidget { background: transparent; }

QSplitter::handle { background: transparent; }
QSplitter::handle:hover { background: $border; }
QStatusBar { background: $background; color: $muted; border-top: 1px solid $border; }
QStatusBar::item { border: 0; }
QStatusBar QLabel { color: $muted; padding: 1px 5px; }

QTabWidget::pane { border: 0; border-top: 1px solid $border; }
QTabBar { background: transparent; }
QTabBar::tab {
    background: transparent; color: $muted; padding: 6px 12px; border: 0;
    border-bottom: 2px solid transparent;
}
QTabBar::tab:hover { color: $text; }
QTabBar::tab:selected { color: $text; border-bottom: 2px solid $accent; }
QTabBar::tab:focus { color: $text; border: 1px solid $accent; }

QGroupBox { border: 1px solid $border; border-radius: 6px; margin-top: 8px; padding-top: 8px; }
QGroupBox::title { subcontrol-origin: margin; left: 10px; padding: 0 4px; color: $muted; }
QDockWidget { titlebar-close-icon: none; titlebar-normal-icon: none; }
QDockWidget::title { background: $background; padding: 5px 8px; }
QSlider { background: transparent; min-height: 18px; }
QSlider::groove:horizontal { background: $pressed; height: 4px; border-radius: 2px; }
QSlider::sub-page:horizontal { background: $accent; height: 4px; border-radius: 2px; }
QSlider::handle:horizontal {
    background: $accent; width: 12px; height: 12px; margin: -4px 0; border-radius: 6px;
}
QSlider::handle:horizontal:hover { background: $text; }
QSlider:focus { border: 1px solid $accent; border-radius: 5px; }
QProgressBar {
    background: $raised; border: 0; border-radius: 3px; max-height: 6px; color: transparent;
}
QProgressBar::chunk { background: $accent; border-radius: 3px; }
QProgressBar[warned="true"]::chunk { background: $warn; }
"""
