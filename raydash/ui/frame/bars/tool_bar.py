"""The tool bar: the shown run's actions, what the plots show, pages, cluster and menu."""

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QToolBar, QToolButton, QWidget

from raydash.link.pending_commands import STARTING_TEXT, VERB_TEXTS
from raydash.ui.form.spec_files import SpecFiles
from raydash.ui.frame.actions import Actions


class ToolBar(QToolBar):
    """The tool bar of the window.

    Attributes:
        menu: The menu behind the button on the right.

    Args:
        actions: What the buttons and the menu do.
        controls: Freeze, range and axis of the plots.
        badge: How the cluster is.
        files: The spec files that were opened last.
        window: The window that it belongs to.
    """

    def __init__(
        self,
        actions: Actions,
        controls: QWidget,
        badge: QWidget,
        files: SpecFiles,
        window: QWidget,
    ) -> None:
        super().__init__("Run")
        self.setObjectName("tool_bar")
        self.setMovable(False)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.setIconSize(QSize(16, 16))
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        for action, longest in (
            (actions.start, STARTING_TEXT),
            *((action, VERB_TEXTS[verb]) for verb, action in actions.verbs.items()),
        ):
            button = self._add_button(action)
            # As wide as its longest text, so that nothing moves under the mouse.
            button.setMinimumWidth(button.fontMetrics().horizontalAdvance(longest) + 36)
            if action is actions.start:
                button.setProperty("primary", True)
        self.addSeparator()
        self.addWidget(controls)
        self.addSeparator()
        self._page_buttons = [self._add_button(page) for page in (actions.library, actions.compare)]
        self.addWidget(badge)
        self.menu = _menu(actions, files, window)
        self.addWidget(_menu_button(self.menu))

    def set_narrow(self, narrow: bool) -> None:
        """Drop the page buttons' names in a narrow window: the cluster's text needs the room."""
        styles = Qt.ToolButtonStyle
        style = styles.ToolButtonIconOnly if narrow else styles.ToolButtonTextBesideIcon
        for button in self._page_buttons:
            button.setToolButtonStyle(style)

    def _add_button(self, action: QAction) -> QToolButton:
        self.addAction(action)
        button = self.widgetForAction(action)
        assert isinstance(button, QToolButton)
        button.setObjectName(action.objectName().replace("action_", "button_"))
        button.setAccessibleName(action.text())
        return button


def _menu(actions: Actions, files: SpecFiles, window: QWidget) -> QMenu:
    menu = QMenu(window)
    menu.setToolTipsVisible(True)
    menu.addAction(actions.open_spec)
    recent = menu.addMenu("Recent specs")
    recent.setToolTipsVisible(True)
    recent.aboutToShow.connect(lambda: files.fill_recent(recent))
    menu.addActions([actions.save_spec, actions.copy_command, actions.check_env])
    menu.addSeparator()
    menu.addActions([actions.attach, actions.local, actions.relaunch])
    menu.addSeparator()
    menu.addMenu("Appearance").addActions(actions.appearance.actions())
    menu.addSeparator()
    menu.addAction(actions.quit)
    return menu


def _menu_button(menu: QMenu) -> QToolButton:
    button = QToolButton()
    button.setObjectName("menu_button")
    button.setText("☰")
    button.setAccessibleName("Menu")
    button.setToolTip("Specs, cluster, appearance")
    button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
    button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    button.setMenu(menu)
    return button
