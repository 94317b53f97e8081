"""A CGI script that answers with its environment as JSON (RFC 3875)."""

from __future__ import annotations

import json
import os
import sys

sys.stdin.buffer.read(int(os.environ.get("CONTENT_LENGTH") or 0))
sys.stdout.write("Content-Type: application/json\r\n\r\n")
sys.stdout.write(json.dumps(dict(os.environ)))
