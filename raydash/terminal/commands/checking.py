"""`raydash check-env`: checks an environment in a throwaway process and prints the result."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from raydash.core.analysis.env_check_words import lines_of
from raydash.core.faults import FaultError
from raydash.core.spec_rules import SpecError
from raydash.terminal.commands.options import fault_from_spec_error, source_dirs, spec_from_options
from raydash.trial.trial import check_environment

EXIT_FINE, EXIT_BAD = 0, 2


def check_and_print(options: Mapping[str, object], *, as_json: bool = False) -> int:
    """Check an environment and print what was found.

    `options` has dotted spec keys: those of the environment, and of how many are stepped together.
    With `as_json` one JSON object is on stdout, even if the environment could not be checked.

    Returns:
        0 if nothing is wrong but perhaps for warnings, else 2.

    Raises:
        FaultError: if the environment can't be made or reset, hangs, crashes or is no valid input.
    """
    env_id = str(options["env.id"])
    try:
        spec = spec_from_options(None, options)
        found = check_environment(spec.env, source_dirs(None), rollout=spec.rollout)
    except SpecError as error:
        raise _printed_as_json(FaultError(fault_from_spec_error(error)), env_id, as_json) from None
    except FaultError as error:
        raise _printed_as_json(error, env_id, as_json) from None
    assert found is not None  # only a cancelled check finds nothing
    if as_json:
        print(json.dumps({**asdict(found), "ok": found.ok, "fault": None}))
    else:
        print("\n".join(lines_of(found)))
    return EXIT_FINE if found.ok else EXIT_BAD


def _printed_as_json(error: FaultError, env_id: str, as_json: bool) -> FaultError:
    """Print the fault as JSON if `--json` was given, and return the error to be raised."""
    if as_json:
        fault = asdict(error.fault)
        del fault["kind"]  # the keys are part of the interface
        print(json.dumps({"env_id": env_id, "ok": False, "fault": fault}))
    return error
