"""The admin API: a listener of its own for programs that list and end sessions (security.md, S11)."""

from proxy.edge.admin.endpoints import AdminServices
from proxy.edge.admin.guard import Guard
from proxy.edge.admin.server import AdminJudge, AdminServer

__all__ = ["AdminJudge", "AdminServer", "AdminServices", "Guard"]
