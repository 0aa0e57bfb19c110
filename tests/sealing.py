"""Seal a twin's folder again after a change, as somebody who knows how could."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

SEALED = ("model.safetensors", "tree.h5")


def seal_again(folder: Path, **changes: Any) -> None:
    """Right digests for what the folder holds, with some fields of config.json changed."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    config.pop("seal", None)
    config["sha256"] = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in SEALED}
    seal = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({**config, "seal": seal}))
