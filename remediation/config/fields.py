"""The types of values that several keys of the configuration have, and what they may hold."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

# The most seconds of any setting, three years. TOML also has `inf`, but a deadline must be finite.
LONGEST = 1e8
Positive = Annotated[float, Meta(gt=0, le=LONGEST)]
NotNegative = Annotated[float, Meta(ge=0, le=LONGEST)]
Text = Annotated[str, Meta(min_length=1)]
# A path in an HTTP request, RFC 3986 section 3.3, with percent-encoding.
HTTP_PATH = re.compile(r"/[!-~]*")
