"""Where the project is, and the real data that may lie beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
"""Real problems and outcomes; tests that need them skip where it does not exist."""
