"""Makes the parts of the tools importable: they are scripts, not a part of the distribution."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))
