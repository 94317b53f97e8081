"""`latchgate serve`: one loaded configuration, run until a signal ends it."""

from __future__ import annotations

import logging
from typing import Final

from proxy.adapters.store import StoreMisconfigured
from proxy.adapters.telemetry import start_telemetry
from proxy.config.loader import LoadedConfig
from proxy.errors import StoreUnavailable
from proxy.run import loop
from proxy.run.listeners import ListenError
from proxy.run.supervisor import Supervisor

EXIT_REFUSED: Final = 1
EXIT_CONFIGURATION: Final = 2
EXIT_STORE: Final = 3

_log = logging.getLogger("latchgate.supervisor")


def serve(loaded: LoadedConfig) -> int:
    """Run the gate; return the exit status of reference.md §3."""
    log = loaded.config.log
    telemetry = start_telemetry(log.format, process="supervisor", has_access=False)
    try:
        return loop.run(_supervise(loaded))
    except ListenError as error:
        _log.critical("%s", error)
        return EXIT_REFUSED
    except StoreMisconfigured as error:
        _log.critical("%s", error)
        return EXIT_CONFIGURATION
    except StoreUnavailable as error:
        _log.critical("%s", error)
        return EXIT_STORE
    finally:
        telemetry.close()


async def _supervise(loaded: LoadedConfig) -> int:
    return await Supervisor(loaded).run()
