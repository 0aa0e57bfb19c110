"""An extension of Griffe: a docstring's `rise_ms, decay_ms: time constants [ms]` is shown as an entry for each name."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

SEVERAL = re.compile(r"^( +)(\w+(?:, \w+)+): (.*(?:\n\1 +.*)*)", re.MULTILINE)


class OneEntryEach(Extension):
    """See the module."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Split the entries of an object's docstring."""
        if obj.docstring is not None:
            obj.docstring.value = SEVERAL.sub(
                lambda found: "\n".join(f"{found[1]}{name}: {found[3]}" for name in found[2].split(", ")),
                obj.docstring.value,
            )
