"""The gate's own endpoints: what people and their programs meet below `login.path`."""

from proxy.edge.portal.portal import Portal
from proxy.edge.portal.reply import Refused, Reply, json_reply, redirect
from proxy.edge.portal.visit import Visit

__all__ = ["Portal", "Refused", "Reply", "Visit", "json_reply", "redirect"]
