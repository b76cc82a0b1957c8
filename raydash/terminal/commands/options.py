"""Makes a spec from a TOML file and the options that win over it, or says all that is wrong."""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raydash import paths
from raydash.core.faults import Fault
from raydash.core.spec import RunSpec
from raydash.core.spec_rules import SpecError, Violation, spec_from_table
from raydash.protocol.spec_file import read_table

_JSON = {
    "env.kwargs": ("--env-kwargs", "a JSON object, '{\"name\": 1}'"),
    "policy.action": ("--action", "1, or [0.5, 0]"),
}
"""Spec keys whose options are JSON, with the option and an example of what it takes."""


def spec_from_options(spec_path: Path | None, options: Mapping[str, object]) -> RunSpec:
    """Make the spec of a command line, from a TOML file (if any) and options.

    The options are given by their dotted spec keys; None means that an option was not given.
    `env.kwargs` and `policy.action` are JSON text. If any `stop.*` is given, all stop conditions
    of the file are dropped.

    Raises:
        SpecError: with everything that is wrong, in the file and in the options.
    """
    table = read_table(spec_path) if spec_path else {}
    violations: list[Violation] = []
    given = {key: value for key, value in options.items() if value is not None}
    for key in _JSON.keys() & given.keys():
        option, allowed = _JSON[key]
        try:
            given[key] = json.loads(str(given[key]))
        except (ValueError, RecursionError) as error:
            del given[key]
            violations.append(Violation(key, f"{option} is not JSON: {error}", allowed))
    if any(key.startswith("stop.") for key in given):
        table.pop("stop", None)
    for key, value in given.items():
        _set_key(table, key, value)
    try:
        spec = spec_from_table(table)
    except SpecError as error:
        known = {violation.key for violation in violations}
        more = (violation for violation in error.violations if violation.key not in known)
        raise SpecError((*violations, *more)) from None
    if violations:
        raise SpecError(tuple(violations))
    return spec


def policy_options(kind: str | None, path: Path | None, action: str | None) -> dict[str, object]:
    """Make the options of a policy for `spec_from_options`.

    `kind` is one of the kinds or `module:callable`; `action` is the JSON of what a constant policy
    does.
    """
    return {
        "policy.kind": kind,
        "policy.path": None if path is None else str(path.expanduser().absolute()),
        "policy.action": action,
    }


def _set_key(table: dict[str, Any], key: str, value: object) -> None:
    part, _, name = key.partition(".")
    section = table.setdefault(part, {})
    if isinstance(section, dict):  # else the file is wrong there, and is refused for that
        section[name] = value


def source_dirs(spec_path: Path | None) -> tuple[str, ...]:
    """List the folders of the user's own modules: that of the spec file, and the current one."""
    places = [spec_path.absolute().parent] if spec_path else []
    return tuple(dict.fromkeys(str(place) for place in [*places, Path.cwd()]))


def unwritable_folder() -> Fault | None:
    """Say why state or recordings could not be written, or None. Makes the folders."""
    for variable, folder in (
        ("RAYDASH_STATE_DIR", paths.state_dir()),
        ("RAYDASH_DATA_DIR", paths.data_dir()),
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            return Fault(
                f"{folder} cannot be written",
                error.strerror or str(error),
                f"Make it writable, or set {variable} to a folder on a local disk",
                keys=(variable,),
                bad_input=True,
            )
    return None


def fault_from_spec_error(error: SpecError) -> Fault:
    """Make a fault of a refused spec, with one violation per line in its details."""
    return Fault(
        "The spec was refused",
        "; ".join(violation.sentence() for violation in error.violations),
        detail=str(error),
        keys=tuple(violation.key for violation in error.violations),
        bad_input=True,
    )


def why_wrong_platform(platform: str = sys.platform) -> str:
    """Say why raydash cannot run here; empty if it can."""
    if platform.startswith("linux"):
        return ""
    return (
        f"raydash runs on Linux only, and this is {platform}: use a Linux machine, a container, "
        "or WSL on Windows."
    )
