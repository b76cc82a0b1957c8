"""Ask the engine for the finer history that a zoomed plot could show.

One request is pending at a time, and it is sent only after the user has stopped zooming for a
moment. Until its reply arrives, the coarser history is shown.
"""

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer

from raydash.core.messages import Answer
from raydash.link.session import Session
from raydash.ui.plots.shown.plotted_run import DetailRequest
from raydash.ui.plots.shown.scope import PlotScope

_SETTLE_MS = 150
_RENEW_MS = 2000


class DetailFetcher(QObject):
    """Requests finer history from the session when the plots could show more than they have."""

    def __init__(
        self, session: Session, scope: PlotScope, width_px: Callable[[], float], parent: QObject
    ) -> None:
        """Begin to watch the plots.

        Args:
            session: The session that is asked for history.
            scope: What the plots show.
            width_px: Gives the width of a plot in pixels; 0 while there is no plot.
            parent: The Qt parent, which deletes this object.
        """
        super().__init__(parent)
        self._session = session
        self._scope = scope
        self._width_px = width_px
        self._is_pending = False
        self._last_requests: dict[str, tuple[DetailRequest, float]] = {}
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLE_MS)
        self._timer.timeout.connect(self._ask)
        # A live run grows into the range that is shown.
        self._repeat_timer = QTimer(self)
        self._repeat_timer.setInterval(_RENEW_MS)
        self._repeat_timer.timeout.connect(self._ask)
        self._repeat_timer.start()
        scope.changed.connect(self._timer.start)
        session.store.run_updated.connect(self._on_update)

    def _on_update(self, run_id: str) -> None:
        run = self._scope.run
        is_scrubbed = run is not None and run.run_id == run_id and run.is_recording
        if is_scrubbed and not self._timer.isActive():
            self._timer.start()

    def _ask(self) -> None:
        if self._is_pending:
            return
        for asked in self._scope.wanted_details(self._width_px()):
            request = asked[0]
            # The engine may have nothing finer: the same request would get the same reply.
            if asked == self._last_requests.get(request.run_id):
                continue
            self._is_pending = True
            self._last_requests[request.run_id] = asked
            self._session.library.query_history(
                request.run_id, request.start_s, request.end_s, request.num_buckets, self._on_answer
            )
            return

    def _on_answer(self, _answer: Answer) -> None:
        self._is_pending = False
        self._timer.start()
