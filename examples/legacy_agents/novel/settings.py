"""Settings that are read when the module is imported, as many backends have them."""

import os

TONE = os.environ.get("NOVEL_TONE", "plain")
TICK_S = float(os.environ.get("NOVEL_TICK_S", "0.2"))
