"""Draws what a request costs each of the peers, as an SVG that is readable on light and dark pages."""

from __future__ import annotations

from pathlib import Path

import jinja2

from benchmarks.rig.scenarios import SIDES

FILE = Path(__file__).parents[2] / "docs" / "pictures" / "peers.svg"
PANELS = (("api", "API clients"), ("browser", "browsers, no two alike"))
WIDTH = 160
"""Of the longest bar that is drawn in full."""
LONGEST = 1.2
"""A bar is drawn in full up to so many times the longest but one; the naive proxy would dwarf the rest."""
ROW, TOP, PANEL = 23, 58, 425
NAMES = 205

# One grey and one colour that stand out on white and on black alike; text takes the page's side.
TEMPLATE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ width }} {{ height }}" role="img" aria-labelledby="t">
  <title id="t">CPU for a request, in microseconds: {{ spoken }}</title>
  <style>
    text { font: 13px system-ui, sans-serif; fill: #24292f }
    .head { font-weight: 600 }
    .theirs { fill: #8c959f }
    .ours { fill: #1a7f64 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .ours { fill: #3fb68b }
    }
  </style>
  <text class="head" x="10" y="20">CPU for a request, µs (less is better)</text>
{%- for panel in panels %}
  <g transform="translate({{ panel.x }} 0)">
    <text class="head" x="{{ names }}" y="44">{{ panel.title }}</text>
{%- for bar in panel.bars %}
    <text x="{{ names - 8 }}" y="{{ bar.y + 12 }}" text-anchor="end">{{ bar.name }}</text>
    <rect class="{{ bar.style }}" x="{{ names }}" y="{{ bar.y }}" width="{{ bar.width }}" height="15" rx="2"/>
    <text x="{{ names + bar.width + 6 }}" y="{{ bar.y + 12 }}">{{ bar.value }}</text>
{%- endfor %}
  </g>
{%- endfor %}
</svg>
"""


def draw(results):
    """Write the picture of the scenarios that were measured; none if nothing of it was."""
    text = picture(results)
    if text:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(text)


def picture(results):
    """Return the SVG, or nothing."""
    shown = [(title, results[key]) for key, title in PANELS if key in results]
    shown = [(title, result) for title, result in shown if result.samples]
    if not shown:
        return ""
    panels = [_panel(number, *panel) for number, panel in enumerate(shown)]
    rows = max(len(panel["bars"]) for panel in panels)
    spoken = ", ".join(f"{bar['name']} {bar['value']}" for bar in panels[0]["bars"])
    environment = jinja2.Environment(autoescape=True, keep_trailing_newline=True)
    return environment.from_string(TEMPLATE).render(
        panels=panels,
        names=NAMES,
        spoken=spoken,
        width=PANEL * len(panels) + 10,
        height=TOP + ROW * rows + 8,
    )


def _panel(number, title, result):
    told = {side: result.median(side.key) for side in SIDES if side.key in result.samples}
    ordered = sorted(told, key=told.get)
    largest = [told[side] for side in ordered][-2:]
    full = min(largest[-1], largest[0] * LONGEST)
    bars = [
        {
            "name": side.title,
            "value": f"{told[side]:.0f}" + (" …" if told[side] > full else ""),
            "width": max(1, round(min(told[side], full) / full * WIDTH)),
            "style": "ours" if side.title.startswith("Latchgate") else "theirs",
            "y": TOP + ROW * row,
        }
        for row, side in enumerate(ordered)
    ]
    return {"title": title, "bars": bars, "x": PANEL * number}
