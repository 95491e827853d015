"""With `log_format = "json"`, a whole run leaves JSON objects, and those of a heal have the incident's id."""

from __future__ import annotations

import json
import os
import signal

import pytest
from sandbox import Sandbox


@pytest.mark.soak
def test_the_lines_of_a_heal_in_json_have_the_id_of_the_incident(project: Sandbox) -> None:
    project.configure(top='log_format = "json"')
    assert project.check().code == 0
    os.kill(project.pid, signal.SIGKILL)

    result = project.check()

    assert result.code == 0, result
    events = [json.loads(line) for line in project.log.splitlines()]
    restarts = [event for event in events if event["event"] == "restart"]
    incidents = [event.get("incident") for event in restarts]
    # The first start of a service is no incident.
    assert incidents == [None, project.property("api.incident")]
    assert incidents[1]
    assert {event["service"] for event in restarts} == {"api"}
    assert "🎉 Healed!" in result.output


def test_an_unknown_format_is_refused(project: Sandbox) -> None:
    project.configure(top='log_format = "yaml"')

    result = project.auto_heal("validate")

    assert result.code == 4
    assert "log_format: unknown value 'yaml'; known values: 'text', 'json'" in result.output
