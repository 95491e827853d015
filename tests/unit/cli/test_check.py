"""What `auto-heal check` says before it runs anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediation.cli.check import with_checks
from remediation.config.load import load_project
from remediation.config.schema import ConfigError
from remediation.messages.translation import translated


def test_a_project_without_checks_is_told_where_they_go(tmp_path: Path) -> None:
    (tmp_path / "auto-heal.toml").write_text('[services.api]\nurl = "http://localhost:8787"\n')

    with pytest.raises(ConfigError) as caught:
        with_checks([], load_project(tmp_path))

    # `auto-heal init` leaves a service as it is, so it would be no help.
    assert str(caught.value) == (
        f"auto-heal.toml: no service has checks, and there is no folder healthtests in {tmp_path}; "
        "add checks = [...] to a service, or tests to healthtests/"
    )
    assert translated(str(caught.value), "ru") == (
        f"auto-heal.toml: ни у одного сервиса нет checks, и в {tmp_path} нет папки healthtests; "
        "добавьте сервису checks = [...] или тесты в healthtests/"
    )
