"""config/latchgate.service under a real systemd, in namespaces of its own: what it forbids, the gate does without."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BOX = Path(__file__).with_name("unit_box.sh")
SYSTEMD = Path("/lib/systemd/systemd")
NAMESPACES = ("unshare", "-mpfuinC", "--kill-child")
CONFIGURATION = """\
server: {listen: ["127.0.0.1:8080"], workers: 1, drain: 2s}
secrets: {key: {file: "${CREDENTIALS_DIRECTORY}/key"}}
tokens: {issuer: "https://a.example", audience: x}
upstreams: {app: {servers: ["http://127.0.0.1:9001"]}}
schemes:
  web: {type: session, format: native}
  api: {type: jwt, keys: {local: true}}
routes: [{match: {path: /**}, auth: [web, api], upstream: app}]
"""
PROBE = """\
for attempt in $(seq 150); do
  curl -sf -o /dev/null http://127.0.0.1:9902/readyz && break
  sleep 0.1
done
echo "ready $(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9902/readyz)"
echo "guarded $(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/)"
pid=$(systemctl show latchgate -p MainPID --value)
tr '\\t' ' ' <"/proc/$pid/status" | grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):'
echo "state $(stat -c '%U %a' /var/lib/private/latchgate)"
ls -A /etc/latchgate/ /run/latchgate/latchgate
sed -i 's#^routes: .#&{match: {path: /open}, auth: none, upstream: app}, #' /etc/latchgate/latchgate.yaml
systemctl reload latchgate && echo "reloaded $(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/open)"
echo "rutes: []" >>/etc/latchgate/latchgate.yaml
systemctl reload latchgate || echo "refused $(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/open)"
systemctl stop latchgate
systemctl show latchgate -p Result -p ExecMainStatus
cat /run/gate.log
systemctl --force --force poweroff
"""


@pytest.fixture
def told():
    """Run the unit in a box; give what the probe says of it."""
    if os.geteuid() != 0 or not SYSTEMD.exists() or shutil.which("curl") is None:
        pytest.skip("needs root, systemd and curl")
    if subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces can be made here")
    directory = Path(tempfile.mkdtemp(prefix="lgu-"))
    try:
        (directory / "latchgate.yaml").write_text(CONFIGURATION)
        (directory / "probe.sh").write_text(PROBE)
        environment = {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "BOX": str(directory),
            "BASE": sys.base_prefix,
            "SITE": sysconfig.get_path("purelib"),
            "SOURCE": str(ROOT),
        }
        made = subprocess.run(
            ["bash", BOX],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )
        text = (directory / "told").read_text()
        if not text:
            pytest.skip(f"no box for a unit can be made here: {made.stderr.strip()[-200:]}")
        yield text
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def test_the_unit_runs_with_everything_that_it_forbids(told):
    """Ready, guarded, a user of its own without a capability, filtered calls, and a good end."""
    assert "ready 200\nguarded 401\n" in told, told
    uid = int(re.search(r"^Uid: (\d+)", told, re.MULTILINE)[1])
    assert 61184 <= uid <= 65519  # what systemd makes users of
    for line in (
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
        "NoNewPrivs: 1",
        "Seccomp: 2",
    ):
        assert line in told
    assert "state latchgate 700" in told
    assert re.search(r"^\w+\.sock$", told, re.MULTILINE), told  # commands find the running gate
    # 502: nobody is behind the route that a reload opened, and that a bad file did not take away.
    assert "reloaded 502\n" in told, told
    assert "refused 502\n" in told, told
    assert "Result=success" in told
    assert "ExecMainStatus=0" in told
