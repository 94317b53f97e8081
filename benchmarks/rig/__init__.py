"""What the benchmarks of a whole gate share: its processes, its credentials, load, and reports."""

import importlib.util

if importlib.util.find_spec("psutil") is None:
    raise SystemExit("the benchmarks need psutil: python -m pip install -e '.[bench]'")
