"""One colour per model and per set, everywhere; told apart by colour-blind readers, and at least 3:1 on
the light and on the dark page. The style sheet names the same values.
"""

from __future__ import annotations

MODELS = {"original": "#2b7fd0", "unlearned": "#d9661a", "retain_only": "#7b8794", "wiped": "#886644"}
SETS = {"forget": "#b8489f", "retain": "#2c9161", "general": "#b07a10"}
RUNS = ("#d9661a", "#8a5bc4", "#0f8f8f", "#b026f5")  # runs beside each other; each also has a letter
LETTERS = "ABCD"
TOTAL = "#7b8794"
GRID = "rgba(128,128,128,0.22)"
# Verdicts: colour and plotly marker, so that shape tells them apart too; none has a model's colour but the
# grey, which stands for nothing happening.
VERDICTS = {
    "unchanged": ("#7b8794", "circle"),
    "under-forgotten": ("#b07a10", "square"),
    "traces remain": ("#cd0ab7", "cross"),
    "answers gone": ("#748cf9", "pentagon"),
    "forgotten": ("#2c9161", "diamond"),
    "over-forgotten": ("#9033e8", "triangle-up"),
    "collapsed": ("#c8372d", "x"),
}
