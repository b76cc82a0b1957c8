"""What is said of a process that ended, what a child inherits, and when an engine is refused."""

import subprocess
import sys

import pytest

from raydash.child_process import ProcessEnd, child_environment, other_protocol_fault
from raydash.core.messages import Hello


@pytest.mark.parametrize(
    ("returncode", "signal_name", "words"),
    [
        (0, "", "ended with exit code 0"),
        (3, "", "ended with exit code 3"),
        (-9, "SIGKILL", "was killed (SIGKILL)"),
        (-15, "SIGTERM", "was killed (SIGTERM)"),
        (-11, "SIGSEGV", "crashed (SIGSEGV)"),
        (-6, "SIGABRT", "crashed (SIGABRT)"),
        (-40, "signal 40", "was killed (signal 40)"),
    ],
)
def test_end_of_a_process_is_told_by_exit_code_or_signal(
    returncode: int, signal_name: str, words: str
) -> None:
    end = ProcessEnd(returncode)
    assert (end.signal_name, end.words) == (signal_name, words)


def test_child_may_write_byte_code_into_our_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYDASH_CACHE_DIR", "/somewhere")
    environment = child_environment({"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/h"})
    assert environment == {"HOME": "/h", "PYTHONPYCACHEPREFIX": "/somewhere/pycache"}


def test_engine_of_another_protocol_is_refused_with_both_versions() -> None:
    fault = other_protocol_fault(Hello(999, "9.9", 1), Hello(3, "0.1.0", 2), "window")
    assert fault.sentence() == (
        "The engine speaks another protocol than this window: the engine is raydash 9.9 "
        "(protocol 999), this window is raydash 0.1.0 (protocol 3). Install one version for both."
    )


def test_guardian_loads_the_standard_library_only() -> None:
    code = "import sys; old = set(sys.modules); import raydash.cluster.guardian; " + (
        "print(*{name.partition('.')[0] for name in set(sys.modules) - old})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - set(sys.stdlib_module_names) == {"raydash"}
