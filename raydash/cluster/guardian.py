"""The guardian: a tiny process that owns a launched Ray and ends it when nobody needs it.

``python -m raydash.cluster.guardian FOLDER [LOCK_DESCRIPTOR]``

It starts `ray start --head --block`, writes how that goes to `cluster.json`, and watches the
leases. Once no lease is left it stops Ray, at once if all were given back; after a holder died it
waits for a grace period first. SIGTERM stops Ray at once. If the guardian itself is killed, the
kernel sends SIGTERM to Ray (PR_SET_PDEATHSIG). It uses the standard library only, to start fast and
stay small.
"""

import ctypes
import os
import platform
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import FrameType

from raydash.cluster import leases, private_ray, processes, ray_words
from raydash.cluster.cluster_file import ClusterRecord, FileLock, GuardianPhase, Launch
from raydash.cluster.ray_env import DRIVER_ONLY
from raydash.cluster.temp_dir import remove_temp_dir

_PR_SET_PDEATHSIG = 1
_START_POLL_S = 0.03


def ray_command(launch: Launch) -> list[str]:
    """Return the command `ray start`: local, without dashboard, monitors or fixed ports."""
    return [
        launch.python,
        *("-m", "ray.scripts.scripts", "start", "--head", "--block", "--port=0"),
        # Ray replaces 127.0.0.1 by the machine's address, which a new Wi-Fi or VPN changes.
        "--node-ip-address=127.0.0.2",
        f"--temp-dir={launch.temp_dir}",
        f"--num-cpus={launch.num_cpus}",
        f"--object-store-memory={launch.settings.object_store_bytes}",
        *("--include-dashboard=false", "--include-log-monitor=false", "--no-monitor"),
        "--disable-usage-stats",
    ]


def ray_environment(launch: Launch, base: dict[str, str]) -> dict[str, str]:
    """Return the environment of `ray start`, which every process of the cluster inherits."""
    foreign = {"RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_NAMESPACE", "PYTHONDONTWRITEBYTECODE"}
    foreign |= DRIVER_ONLY.keys()  # the engine that launched us has set them for itself
    environment = {name: value for name, value in base.items() if name not in foreign}
    environment.update(
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=launch.token_path,
        RAY_ENABLE_AUTO_CONNECT="0",
        RAY_ENABLE_UV_RUN_RUNTIME_ENV="0",
        RAY_USAGE_STATS_ENABLED="0",
        # Without it a stop first waits up to 30 s for actors:
        # https://github.com/ray-project/ray/pull/64454
        RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S="0",
        # A worker rotates its logs only when this is in its environment.
        RAY_ROTATION_MAX_BYTES="20000000",
        RAY_ROTATION_BACKUP_COUNT="2",
        # Ray makes every worker process nice 15, the supervisor too, which would then wait behind
        # the rollouts that it serves. Rollout workers make themselves nice instead.
        # https://github.com/ray-project/ray/issues/33287 is the same with Ray's own supervisors.
        RAY_worker_niceness="0",
        # Nobody reads Ray's metrics, task events and timings here; they cost the rollouts half a
        # per cent. Resources of the one node are no news ten times a second.
        RAY_enable_metrics_collection="0",
        RAY_task_events_report_interval_ms="0",
        RAY_event_stats="0",
        RAY_raylet_report_resources_period_milliseconds="1000",
        # Ray starts three times faster with its byte-code cached.
        PYTHONPYCACHEPREFIX=launch.pycache_dir,
    )
    environment[processes.MARKER] = launch.temp_dir
    environment.update(launch.settings.env)
    return environment


class Guardian:
    """Owns one launched cluster, from `ray start` to the removal of its temp folder.

    Attributes:
        folder: The cluster's folder, `<state>/cluster`.
        record: How the cluster stands; every change is written to `cluster.json`.
    """

    def __init__(self, folder: Path, launch: Launch) -> None:
        self.folder = folder
        self.record = ClusterRecord(
            GuardianPhase.STARTING,
            "starting Ray",
            guardian_pid=os.getpid(),
            guardian_mark=processes.birth_mark(os.getpid()),
            token_path=launch.token_path,
            temp_dir=launch.temp_dir,
            leases_dir=launch.leases_dir,
            started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
            ray_version=_ray_version(),
            python_version=platform.python_version(),
        )
        self._launch = launch
        self._settings = launch.settings
        self._leases_dir = Path(launch.leases_dir)
        self._temp_dir = Path(launch.temp_dir)
        self._ray: subprocess.Popen[bytes] | None = None
        self._ray_pidfd = -1
        self._grace_until_s = 0.0
        self._leases_lost = False
        self._stop_requested = False

    def run(self) -> None:
        """Start Ray, watch it and the leases, and stop it."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        began_s = time.monotonic()
        self._update_record()
        try:
            try:
                self._start_ray()
            except OSError as error:
                self._fail(
                    ray_words.explain_start_failure(1, str(error)), "Ray did not start", str(error)
                )
                return
            self._wait_for_address(began_s)
            while self.record.phase is GuardianPhase.UP and not self._should_end():
                self._watch_ray()
        finally:
            self._clean_up()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop_requested = True

    def _update_record(self, **changes: object) -> None:
        """Change the record and write it; a missing folder must not keep Ray from being stopped."""
        self.record = replace(self.record, **changes)  # type: ignore[arg-type]
        try:
            self.record.write(self.folder)
        except OSError as error:
            print(f"cannot write cluster.json: {error}", file=sys.stderr, flush=True)

    def _start_ray(self) -> None:
        (self._temp_dir / "ray_current_cluster").unlink(missing_ok=True)
        parent = os.getpid()
        # The workers' working folder must not depend on where the first engine was started.
        home = Path.home()
        libc = ctypes.CDLL(None)

        def die_with_parent() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
            if os.getppid() != parent:
                os._exit(1)

        with (self.folder / "ray.log").open("wb") as log:
            # Safe with preexec_fn: the guardian has no threads.
            self._ray = subprocess.Popen(
                ray_command(self._launch),
                env=ray_environment(self._launch, dict(os.environ)),
                cwd=home if home.is_dir() else "/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        pid = self._ray.pid
        self._ray_pidfd = os.pidfd_open(pid)  # readable when Ray is not
        self._update_record(ray_pid=pid, ray_mark=processes.birth_mark(pid))

    def _wait_for_address(self, began_s: float) -> None:
        """Wait until Ray is up, has failed, or is no longer needed."""
        assert self._ray is not None
        while not self._should_end():
            address = self._address() or private_ray.registered_address(self._temp_dir)
            elapsed_s = time.monotonic() - began_s
            if address:
                self._update_record(
                    phase=GuardianPhase.UP, text="up", address=address, up_after_s=elapsed_s
                )
                return
            code = self._ray.poll()
            if code is not None or elapsed_s > self._settings.start_timeout_s:
                log = ray_words.tail(self.folder / "ray.log")
                self._fail(ray_words.explain_start_failure(code, log), "Ray did not start", log)
                return
            text = self._progress()
            if text != self.record.text:
                self._update_record(text=text)
            time.sleep(_START_POLL_S)

    def _address(self) -> str:
        try:
            text = (self._temp_dir / "ray_current_cluster").read_text(encoding="utf-8").strip()
        except OSError:
            return ""
        # Ray makes the file before it writes into it.
        return text if text.rpartition(":")[2].isdecimal() else ""

    def _progress(self) -> str:
        """Tell from the logs that exist by now how far `ray start` has come."""
        logs = self._temp_dir / "session_latest" / "logs"
        if (logs / "raylet.out").exists():
            return "starting Ray: waiting for the node to register"
        if (logs / "gcs_server.out").exists():
            return "starting Ray: its control store is up"
        return "starting Ray: loading it"

    def _watch_ray(self) -> None:
        assert self._ray is not None
        # Besides pacing the loop, this returns as soon as Ray dies.
        select.select([self._ray_pidfd], [], [], self._settings.poll_s)
        code = self._ray.poll()
        if code is None:
            return
        exit_log = ray_words.tail(self._temp_dir / "session_latest/logs/ray_process_exit.log")
        log = ray_words.tail(self.folder / "ray.log")
        self._fail(
            ray_words.explain_death(code, exit_log), "Ray died", f"{exit_log}\n\n{log}".strip()
        )

    def _fail(self, words: ray_words.Explanation, text: str, detail: str) -> None:
        self._update_record(
            phase=GuardianPhase.FAILED,
            text=text,
            reason=words.reason,
            remedy=words.remedy,
            detail=detail,
        )

    def _should_end(self) -> bool:
        """Return whether nobody needs the cluster or a signal came; if so, nobody can join it."""
        if not self._stop_requested and self._is_needed():
            return False
        # An engine takes this lock while it makes its lease: it sees "stopping", or is seen.
        try:
            lock = FileLock.try_acquire(self.folder / "launch.lock")
        except OSError:
            return True  # the folder is gone: nobody can join
        if lock is None:
            return False  # an engine is joining right now: decide at the next turn
        with lock:
            if not self._stop_requested and self._is_needed():
                return False
            self._update_record(phase=GuardianPhase.STOPPING, text="stopping Ray")
        return True

    def _is_needed(self) -> bool:
        now_s = time.monotonic()
        lost = not self._leases_dir.is_dir()  # removed from outside, and the leases with it
        if leases.remove_dead(self._leases_dir) or (lost and not self._leases_lost):
            self._grace_until_s = now_s + self._settings.grace_s
        self._leases_lost = lost
        return bool(leases.living(self._leases_dir)) or now_s < self._grace_until_s

    def _clean_up(self) -> None:
        """Stop Ray and remove everything of it except the record."""
        if self._ray is not None and self._ray.poll() is None:
            self._ray.terminate()
            try:
                self._ray.wait(self._settings.stop_grace_s)
            except subprocess.TimeoutExpired:
                self._ray.kill()
                self._ray.wait()
        processes.end_members(
            session_id=self.record.ray_pid,
            mark=self.record.ray_mark,
            folder=self.record.temp_dir,
        )
        remove_temp_dir(self._temp_dir)
        shutil.rmtree(self._leases_dir, ignore_errors=True)
        for name in ("launch.json", "token"):
            (self.folder / name).unlink(missing_ok=True)
        if self.record.phase is not GuardianPhase.FAILED:
            self._update_record(phase=GuardianPhase.ENDED, text="ended")


def _ray_version() -> str:
    try:
        return metadata.version("ray")
    except metadata.PackageNotFoundError:
        return ""


def main(arguments: list[str]) -> int:
    """Guard the cluster that `FOLDER/launch.json` asks for.

    The arguments are that folder and, if the launcher locked `guardian.lock`, its descriptor.
    """
    folder = Path(arguments[0])
    if len(arguments) > 1:
        lock: FileLock | None = FileLock(int(arguments[1]))
    else:
        lock = FileLock.try_acquire(folder / "guardian.lock")
    launch = Launch.read(folder)
    if lock is None or launch is None:
        print("another guardian is here, or launch.json is unreadable", file=sys.stderr)
        return 2
    # The launcher waits for this process only; the guardian becomes init's child, never a zombie.
    if os.fork():
        os._exit(0)
    Guardian(folder, launch).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
