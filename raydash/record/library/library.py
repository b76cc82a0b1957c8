"""The library of recordings on disk: `<data>/runs/`, with `<data>/library.json`.

Several windows and commands may use one library, so every change is made under a lock file, and a
recording that somebody else has deleted is no error. A run's id is looked up among the names in
the folder and never turned into a path, so no id can lead out of it.
"""

import contextlib
import difflib
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from raydash import paths
from raydash.core.faults import Fault, FaultError
from raydash.core.library import DiskUse, LibrarySettings, Notes, RecordedRun
from raydash.core.words import plain
from raydash.record.file.folder import RecordingEntry, scan, shown_name
from raydash.record.file.notes import read_notes, validated, write_notes
from raydash.record.library.index import Index
from raydash.record.library.retention import (
    Doomed,
    doomed,
    read_settings,
    warning,
    write_settings,
)

LOCK_PATIENCE_S = 5.0
_POLL_S = 0.02
_NUM_SUGGESTIONS = 3

log = logging.getLogger(__name__)


def open_library(data_dir: Path) -> "LibraryFolder":
    """Open the library in a data folder, which need not exist yet."""
    return LibraryFolder(data_dir, cache_dir=paths.cache_dir(), state_dir=paths.state_dir())


class LibraryFolder:
    """A library in a folder. Every method may be called from any thread."""

    def __init__(
        self,
        data_dir: Path,
        *,
        cache_dir: Path,
        state_dir: Path,
        now_s: Callable[[], float] = time.time,
        lock_patience_s: float = LOCK_PATIENCE_S,
    ) -> None:
        """Read and create nothing yet.

        Args:
            data_dir: The folder of `runs/` and `library.json`.
            cache_dir: The folder of the index's cache.
            state_dir: The folder of `library.log`, which names every deletion.
            now_s: Returns Unix time, for rules about age.
            lock_patience_s: How long to wait while another process changes the library.
        """
        self.folder = data_dir / "runs"
        self._settings_path = data_dir / "library.json"
        self._lock_path = data_dir / "library.lock"
        self._log_path = state_dir / "library.log"
        self._index = Index(self.folder, cache_dir)
        self._now_s = now_s
        self._lock_timeout_s = lock_patience_s

    # --- looking --------------------------------------------------------------------------------

    def runs(self) -> tuple[RecordedRun, ...]:
        """List all recordings, newest first, including those that can't be read.

        Raises:
            FaultError: if the folder itself can't be read.
        """
        return self._index.runs(scan(self.folder))

    def disk(self) -> DiskUse:
        """Measure how much disk the library uses, with a warning before that is too much.

        Raises:
            FaultError: if the folder can't be read.
        """
        settings, problem = read_settings(self._settings_path)
        library_bytes = sum(entry.size_bytes for entry in scan(self.folder))
        free_bytes, words = warning(self.folder, library_bytes, settings.limit_bytes)
        return DiskUse(
            folder=shown_name(str(self.folder)),
            library_bytes=library_bytes,
            free_bytes=free_bytes,
            warning="; ".join(part for part in (words, problem) if part),
        )

    def settings(self) -> LibrarySettings:
        """Read the limits and rules; defaults stand in where the file is missing or wrong."""
        return read_settings(self._settings_path)[0]

    def find(self, recording: str) -> Path:
        """Find a recording by a run's id, a path, a unique beginning of an id, or a title.

        Raises:
            FaultError: if there is none, or more than one; it suggests similar names.
        """
        entries = self._entries()
        if recording in entries:
            return entries[recording].path
        path, problem = _file_at(recording)
        if path is not None:
            return path
        with_prefix = [run_id for run_id in entries if recording and run_id.startswith(recording)]
        # A damaged file that was set aside begins like the one that took its place.
        with_prefix = [
            run_id for run_id in with_prefix if entries[run_id].is_in_place
        ] or with_prefix
        if len(with_prefix) == 1:
            return entries[with_prefix[0]].path
        runs = self.runs()
        with_title = [run.run_id for run in runs if recording and run.title == recording]
        if len(with_title) == 1:
            return entries[with_title[0]].path
        several = sorted(with_title or with_prefix)
        if several:
            raise FaultError(
                Fault(
                    f"{_printable(recording)} may be any of {len(several)} recordings",
                    ", ".join(several[:10]) + (" ..." if len(several) > 10 else ""),
                    "Say more of the id",
                    bad_input=True,
                )
            )
        if problem:
            what = f"There is no recording {_printable(recording)}"
            raise FaultError(Fault(what, problem, bad_input=True))
        near = _closest_ids(recording, runs)
        raise FaultError(
            Fault(
                f"There is no recording {_printable(recording)} in {self.folder}",
                remedy=f"Did you mean {' or '.join(near)}?" if near else "See raydash runs",
                bad_input=True,
            )
        )

    # --- changing -------------------------------------------------------------------------------

    def edit_notes(self, run_id: str, notes: Notes) -> None:
        """Replace the user's notes on a recording.

        Raises:
            FaultError: if there is no such recording, or the notes or the disk are at fault; the
                old notes are untouched then.
        """
        wanted = validated(notes)
        self.change_notes(run_id, lambda _: wanted)

    def change_notes(self, run_id: str, change: Callable[[Notes], Notes]) -> Notes:
        """Change a recording's notes under the library's lock, so that no other change is lost.

        Raises:
            FaultError: as for `edit_notes`.
        """
        with self._locked("The notes were not saved"):
            entry = self._entries().get(run_id)
            if entry is None:
                raise FaultError(
                    Fault(
                        "The notes were not saved",
                        f"there is no recording {_printable(run_id)} in the library any more",
                        bad_input=True,
                    )
                )
            before, problem = read_notes(entry.notes_path)
            notes = validated(change(Notes() if problem else before))
            try:
                write_notes(entry.notes_path, notes)
            except OSError as error:
                raise _disk_fault("The notes were not saved", error) from error
            return notes

    def delete(self, run_ids: Sequence[str], *, even_pinned: bool = False) -> None:
        """Delete recordings and all that lies beside them; one that is gone already is no fault.

        Raises:
            FaultError: naming those that were not deleted and why (live, pinned, not a recording,
                or the disk refused); the others are gone.
        """
        refused = {}
        for run_id in dict.fromkeys(run_ids):
            reason = self._delete(run_id, "by hand", even_pinned=even_pinned)
            if reason:
                refused[run_id] = reason
        if refused:
            count = len(refused)
            raise FaultError(
                Fault(
                    "A recording was not deleted"
                    if count == 1
                    else f"{count} recordings were not deleted",
                    "; ".join(f"{_printable(run_id)}: {why}" for run_id, why in refused.items()),
                    bad_input=True,
                )
            )

    def change_settings(self, settings: LibrarySettings) -> None:
        """Save new limits and rules, and apply them at once.

        Raises:
            FaultError: if they make no sense or can't be saved; nothing is changed or deleted then.
        """
        what = "The library's limits were not changed"
        with self._locked(what):
            try:
                self._settings_path.parent.mkdir(parents=True, exist_ok=True)
                write_settings(self._settings_path, settings)
            except OSError as error:
                raise _disk_fault(what, error) from error
        self.apply_retention()

    def doomed(self, settings: LibrarySettings | None = None) -> tuple[Doomed, ...]:
        """List what `apply_retention` would delete now, oldest first.

        Args:
            settings: The rules; None: the saved ones.
        """
        return doomed(self.runs(), settings or self.settings(), self._now_s())

    def apply_retention(self, settings: LibrarySettings | None = None) -> tuple[str, ...]:
        """Delete what the rules say, and log it.

        Args:
            settings: The rules; None: the saved ones.

        Returns:
            The ids of what was deleted. What could not be deleted is logged, and tried again the
            next time.
        """
        rules = settings or self.settings()
        if rules.keep_days is None and rules.keep_bytes is None:
            return ()
        deleted = []
        for each in self.doomed(rules):
            run_id = each.run.run_id
            reason = self._delete(run_id, each.reason)
            if reason:
                self._log_deletion(f"could not delete {run_id} ({each.reason}): {reason}")
            else:
                deleted.append(run_id)
        return tuple(deleted)

    # --- within ---------------------------------------------------------------------------------

    def _entries(self) -> dict[str, RecordingEntry]:
        return {shown_name(entry.run_id): entry for entry in scan(self.folder)}

    def _delete(self, run_id: str, reason: str, *, even_pinned: bool = False) -> str:
        """Delete one recording; return why that was refused, or an empty string."""
        entry = self._entries().get(run_id)
        if entry is None:
            is_name = run_id not in ("", ".", "..") and not set("/\0") & set(run_id)
            return "" if is_name else "that is no run's id"
        # Before the lock: replaying the WAL of an interrupted run may take a second.
        holder = self._index.writer_of(entry)
        if holder:
            return holder
        with self._locked("The recording was not deleted"):
            notes, problem = read_notes(entry.notes_path)
            if notes.pinned and not even_pinned:
                return f"it counts as pinned, for {problem}" if problem else "it is pinned"
            refusal = _remove(entry)
        if not refusal:
            size = plain.size(entry.size_bytes)
            self._log_deletion(f"deleted {run_id} ({size}): {reason}")
        return refusal

    def _log_deletion(self, text: str) -> None:
        """Add a line to the library's log; a disk that refuses it is no reason to stop."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = f"{now} {self.folder} {text}".encode("unicode_escape").decode()
        try:
            self._log_path.parent.mkdir(parents=True, exist_ok=True)
            with open(self._log_path, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            log.info("%s (not logged: %s)", text, error)

    @contextlib.contextmanager
    def _locked(self, what: str) -> Iterator[None]:
        """Keep others from changing the library inside the `with` block.

        Raises:
            FaultError: if somebody else changes it for too long; its first words are `what`.
        """
        try:
            handle = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            # Go on without a lock, so that recordings can be deleted from a full disk. Whatever
            # else is wrong with the disk shows when something is written to it.
            log.info("no lock for the library: %s", error)
            yield
            return
        until_s = time.monotonic() + self._lock_timeout_s
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until_s:
                        raise FaultError(
                            Fault(what, "another raydash is changing the library", "Try again")
                        ) from None
                    time.sleep(_POLL_S)
                except OSError as error:
                    log.info("locks are not to be had here: %s", error)
                    break
            yield
        finally:
            os.close(handle)


def _file_at(recording: str) -> tuple[Path | None, str]:
    """Find the file at a path, or say why there is none; neither if it is no path at all."""
    is_path = os.sep in recording or recording.startswith("~")
    problem = "there is no such file"
    try:
        path = Path(recording).expanduser()
        if path.is_file() and (is_path or path.suffix == ".duckdb"):
            return path.absolute(), ""
        if path.is_dir():
            problem = "it is a folder"
    except (OSError, RuntimeError) as error:  # too long for a path; no such home
        problem = getattr(error, "strerror", None) or str(error)
    return None, problem if is_path else ""


def _remove(entry: RecordingEntry) -> str:
    """Delete the recording first, then what lies beside it; return what went wrong, or nothing.

    If the recording itself can't be deleted, nothing is lost. Links are removed, not followed.
    """
    try:
        entry.path.unlink()
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        return "it is a folder, which raydash leaves alone"
    except OSError as error:
        return error.strerror or str(error)
    remaining = []
    for part in entry.beside:
        try:
            if part.is_dir() and not part.is_symlink():
                shutil.rmtree(part)
            else:
                part.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            remaining.append(f"{part.name} ({error.strerror})")
    return f"it is gone, but not all beside it: {', '.join(remaining)}" if remaining else ""


def _disk_fault(what: str, error: OSError) -> FaultError:
    return FaultError(
        Fault(
            what,
            error.strerror or str(error),
            "Make room or make the folder writable, and try again",
            detail=str(error),
        )
    )


def _closest_ids(recording: str, runs: Sequence[RecordedRun]) -> list[str]:
    """Suggest ids of runs whose id, title or environment is similar to what was typed."""
    known: dict[str, str] = {}
    for run in reversed(runs):  # the newest of equal words wins
        known.update({word.casefold(): run.run_id for word in (run.env_id, run.title, run.run_id)})
    wanted = recording[:200].casefold()
    near = difflib.get_close_matches(wanted, known, n=_NUM_SUGGESTIONS, cutoff=0.6)
    parts = [word for word in known if wanted and wanted in word][:_NUM_SUGGESTIONS]
    return list(dict.fromkeys(known[word] for word in [*near, *parts]))[:_NUM_SUGGESTIONS]


def _printable(recording: str) -> str:
    """Make what was typed fit to be quoted in a sentence."""
    return "".join(c if c.isprintable() else "?" for c in recording[:80]) or "without a name"
