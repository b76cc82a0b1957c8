"""Asks for the detail that a zoomed plot could show: late enough not to ask for each notch.

One question is under way at most. Until its answer is there, the coarser history is shown.
"""

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer

from raydash.core.messages import Answer
from raydash.link.session import Session
from raydash.ui.plots.shown.scope import PlotScope
from raydash.ui.plots.shown.seen_run import DetailWish

_SETTLE_MS = 150
_RENEW_MS = 2000


class DetailFetcher(QObject):
    """Looks at what the plots show together, and asks the session for what they lack."""

    def __init__(
        self, session: Session, scope: PlotScope, width_px: Callable[[], float], parent: QObject
    ) -> None:
        """Begin to look.

        Args:
            session: Asked for history.
            scope: What the plots show.
            width_px: How wide a plot is; 0 while there is none.
            parent: As of any QObject.
        """
        super().__init__(parent)
        self._session = session
        self._scope = scope
        self._width_px = width_px
        self._is_out = False
        self._asked: dict[str, tuple[DetailWish, float]] = {}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLE_MS)
        self._timer.timeout.connect(self._ask)
        # A live run grows into the range that is shown.
        self._renew = QTimer(self)
        self._renew.setInterval(_RENEW_MS)
        self._renew.timeout.connect(self._ask)
        self._renew.start()
        scope.changed.connect(self._timer.start)
        session.store.run_updated.connect(self._on_update)

    def _on_update(self, run_id: str) -> None:
        run = self._scope.run
        is_scrubbed = run is not None and run.run_id == run_id and run.is_recording
        if is_scrubbed and not self._timer.isActive():
            self._timer.start()

    def _ask(self) -> None:
        if self._is_out:
            return
        for asked in self._scope.wanted_details(self._width_px()):
            wish = asked[0]
            # The engine may have nothing finer: the same question gets the same answer.
            if asked == self._asked.get(wish.run_id):
                continue
            self._is_out = True
            self._asked[wish.run_id] = asked
            self._session.library.query_history(
                wish.run_id, wish.start_s, wish.end_s, wish.num_buckets, self._on_answer
            )
            return

    def _on_answer(self, _answer: Answer) -> None:
        self._is_out = False
        self._timer.start()
