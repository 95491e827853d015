"""The commonest plugins of pytest: a run with one of them in use is what it is without.

`nox -s plugins` tries many more, each in an environment of its own; here these are all installed together.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from plugins.situations import SITUATIONS
from plugins.table import PLUGINS


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", ["xdist", "cov", "asyncio", "html"])
def test_a_run_with_a_plugin_has_the_same_verdict_and_the_plugin_has_its_own_report(
    tmp_path: Path, name: str, situation: str
) -> None:
    SITUATIONS[situation](PLUGINS[name], tmp_path)
