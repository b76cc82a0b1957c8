"""`raydash check-env`: what a throwaway process found out about an environment."""

import json
from collections.abc import Mapping
from dataclasses import asdict

from raydash.core.analysis.env_check_words import lines_of
from raydash.core.faults import FaultError
from raydash.core.spec import SpecError
from raydash.terminal.commands.options import fault_of, source_dirs, spec_from_options
from raydash.trial.trial import check_environment

EXIT_FINE, EXIT_BAD = 0, 2


def check_and_print(options: Mapping[str, object], *, as_json: bool = False) -> int:
    """Check, and print what was found; 0 if it is fine (warnings are), 2 if it is not.

    Args:
        options: Dotted spec keys, of the environment and of how many are stepped together.
        as_json: One JSON object on stdout, also if it could not be checked.

    Raises:
        FaultError: if it can't be made or reset, hangs or crashes, or the input is bad.
    """
    env_id = str(options["env.id"])
    try:
        spec = spec_from_options(None, options)
        found = check_environment(spec.env, source_dirs(None), rollout=spec.rollout)
    except SpecError as error:
        raise _told(FaultError(fault_of(error)), env_id, as_json) from None
    except FaultError as error:
        raise _told(error, env_id, as_json) from None
    assert found is not None  # nobody cancels it
    if as_json:
        print(json.dumps({**asdict(found), "ok": found.ok, "fault": None}))
    else:
        print("\n".join(lines_of(found)))
    return EXIT_FINE if found.ok else EXIT_BAD


def _told(error: FaultError, env_id: str, as_json: bool) -> FaultError:
    """With `--json` there is one JSON object on stdout whatever happens."""
    if as_json:
        print(json.dumps({"env_id": env_id, "ok": False, "fault": asdict(error.fault)}))
    return error
