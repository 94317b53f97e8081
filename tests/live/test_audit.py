"""Following the audit trail as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

CONFIG = """
store: {{url: "{url}"}}
upstreams: {{app: {{servers: ["http://127.0.0.1:1"]}}}}
schemes: {{web: {{type: session, format: native}}}}
routes: [{{match: {{path: "/**"}}, auth: [web], upstream: app}}]
"""


def test_the_trail_can_be_followed_until_ctrl_c(valkey, tmp_path):
    """Events appear as they are noted, each once and in order, and Ctrl-C is the ordinary end."""
    file = tmp_path / "latchgate.yaml"
    file.write_text(CONFIG.format(url=valkey.url))
    command = [sys.executable, "-m", "proxy", "audit", "--follow", "--json", "-c", str(file)]
    with valkey.client() as client:
        client.xadd("latchgate:audit", {"kind": "login", "subject": "before"})
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            seen = [json.loads(process.stdout.readline())["subject"]]
            for number in range(600):
                client.xadd("latchgate:audit", {"kind": "login", "subject": str(number)})
            seen += [json.loads(process.stdout.readline())["subject"] for _ in range(600)]
            process.send_signal(signal.SIGINT)
            assert ("", 0) == (process.stdout.read(), process.wait(10))
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    assert ["before", *map(str, range(600))] == seen
