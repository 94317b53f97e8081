"""`latchgate serve`: one loaded configuration, run until a signal ends it."""

from __future__ import annotations

import logging
from typing import Final

from proxy.adapters.store import StoreMisconfigured
from proxy.adapters.telemetry import LogFormat, start_telemetry
from proxy.config.loader import LoadedConfig
from proxy.errors import StoreUnavailable
from proxy.run import loop
from proxy.run.listeners import ListenError
from proxy.run.supervisor import Beside, Supervisor

EXIT_REFUSED: Final = 1
EXIT_CONFIGURATION: Final = 2
EXIT_STORE: Final = 3
EXIT_CRASH: Final = 70  # EX_SOFTWARE of sysexits.h

_log = logging.getLogger("latchgate.supervisor")


def serve(
    loaded: LoadedConfig, *, log_format: LogFormat | None = None, beside: Beside | None = None
) -> int:
    """Run the gate; return the exit status of reference.md §3.

    `log_format` takes the place of the configured one; `beside` is what goes on while it serves.
    """
    format_ = log_format or loaded.config.log.format
    telemetry = start_telemetry(format_, process="supervisor", has_access=False)
    try:
        return loop.run(_supervise(loaded, format_, beside))
    except ListenError as error:
        _log.critical("%s", error)
        return EXIT_REFUSED
    except StoreMisconfigured as error:
        _log.critical("%s", error)
        return EXIT_CONFIGURATION
    except StoreUnavailable as error:
        _log.critical("%s", error)
        return EXIT_STORE
    except Exception:  # noqa: BLE001 - whatever it was, it is logged through the safe filter
        _log.critical("the supervisor crashed", exc_info=True)
        return EXIT_CRASH
    finally:
        telemetry.close()


async def _supervise(loaded: LoadedConfig, log_format: LogFormat, beside: Beside | None) -> int:
    return await Supervisor(loaded, log_format=log_format, beside=beside).run()
