"""What both sides need to know of child processes: their environment, how they end, and engines.

The guardian says with it how Ray ended, so importing it loads the standard library only.
"""

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from raydash.core.faults import Fault

if TYPE_CHECKING:
    from raydash.core.messages import Hello

ENGINE_COMMAND = (sys.executable, "-m", "raydash.engine")
SIMULATED_ENGINE_COMMAND = (*ENGINE_COMMAND, "--simulated")
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")


def child_environment(base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Make a child's environment: ours, with byte-code in our cache to import faster.

    PYTHONDONTWRITEBYTECODE is dropped: with it every Ray process would compile everything again.
    """
    from raydash import paths

    environment = {k: v for k, v in base.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(paths.cache_dir() / "pycache")
    return environment


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    """How a process ended.

    Attributes:
        returncode: Its exit code, or minus the number of the signal that ended it.
    """

    returncode: int

    @property
    def signal_name(self) -> str:
        """The signal that ended it (`SIGKILL`); empty if it left by itself."""
        if self.returncode >= 0:
            return ""
        try:
            return signal.Signals(-self.returncode).name
        except ValueError:  # a real-time signal
            return f"signal {-self.returncode}"

    @property
    def words(self) -> str:
        """What the process did, to follow its name: "ended with exit code 3"."""
        if not self.signal_name:
            return f"ended with exit code {self.returncode}"
        verb = "crashed" if self.signal_name in _CRASHES else "was killed"
        return f"{verb} ({self.signal_name})"


def other_protocol_fault(
    theirs: "Hello", ours: "Hello", asker: str, *, remedy: str = "Install one version for both"
) -> Fault:
    """Say that an engine speaks another protocol than the window or command that started it."""
    return Fault(
        f"The engine speaks another protocol than this {asker}",
        f"the engine is raydash {theirs.raydash_version} (protocol {theirs.protocol_version}), "
        f"this {asker} is raydash {ours.raydash_version} (protocol {ours.protocol_version})",
        remedy,
    )
