"""What the gate says about itself: structured log lines, one per request and one per event.

Nothing here ever writes a credential (security.md, S15).
"""

from proxy.adapters.telemetry.access import AccessLog
from proxy.adapters.telemetry.logs import LogFormat, Telemetry, start_telemetry

__all__ = ["AccessLog", "LogFormat", "Telemetry", "start_telemetry"]
