"""Draws the comparison as an SVG that is readable on light and dark pages."""

from __future__ import annotations

from pathlib import Path

import jinja2

FILE = Path(__file__).parents[2] / "docs" / "pictures" / "comparison.svg"
WIDTH = 230
"""Of the longest bar."""
LEAST_MS = 0.005
"""What two decimals would show as nothing."""
PANELS = (
    ("store round trips for a request", "trips", "{:.2f}"),
    ("CPU for a request, µs", "cpu_us", "{:.0f}"),
    ("requests a second, one worker", "rate", "{:,.0f}"),
    ("a revocation counts", "lag_ms", "within {:.2f} ms (p99)"),
)

# Two greys and one colour that stand out on white and on black alike; text takes the page's side.
TEMPLATE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 {{ height }}" role="img" aria-labelledby="t">
  <title id="t">Sessions and tokens side by side: as the textbook has them, and with Latchgate</title>
  <style>
    text { font: 13px system-ui, sans-serif; fill: #24292f }
    .head { font-weight: 600 }
    .past { fill: #8c959f }
    .ours { fill: #1a7f64 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .ours { fill: #3fb68b }
    }
  </style>
{%- for panel in panels %}
  <g transform="translate({{ panel.x }} {{ panel.y }})">
    <text class="head" y="0">{{ panel.title }}</text>
{%- for bar in panel.bars %}
    <text x="118" y="{{ 24 + 24 * loop.index0 }}" text-anchor="end">{{ bar.name }}</text>
{%- if bar.width is not none %}
    <rect class="{{ bar.style }}" x="126" y="{{ 12 + 24 * loop.index0 }}" width="{{ bar.width }}" height="15" rx="2"/>
{%- endif %}
    <text x="{{ 132 + (bar.width or 0) }}" y="{{ 24 + 24 * loop.index0 }}">{{ bar.value }}</text>
{%- endfor %}
  </g>
{%- endfor %}
</svg>
"""


def draw(told):
    """Write the picture; `told` has the numbers of each side by their names."""
    panels = [_panel(told, number, *panel) for number, panel in enumerate(PANELS)]
    environment = jinja2.Environment(autoescape=True, keep_trailing_newline=True)
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(environment.from_string(TEMPLATE).render(panels=panels, height=260))


def _panel(told, number, title, key, form):
    known = [side[key] for side in told.values() if side[key] is not None]
    longest = max([*known, 1e-9])
    bars = []
    for name, side in told.items():
        value = side[key]
        is_ours = name.startswith("Latchgate")
        # The last panel has words instead of bars: an expiry would not fit on any page.
        told_value = form.format(value) if value is not None else "when the token expires"
        if key == "lag_ms" and value is not None and value < LEAST_MS:
            told_value = "at once (p99)" if is_ours else "at once: looked up each time"
        width = None if key == "lag_ms" else max(1, round(value / longest * (WIDTH - 80)))
        bars.append(
            {
                "name": name,
                "width": width,
                "value": told_value,
                "style": "ours" if is_ours else "past",
            }
        )
    return {
        "title": title,
        "bars": bars,
        "x": 10 + 410 * (number % 2),
        "y": 24 + 130 * (number // 2),
    }
