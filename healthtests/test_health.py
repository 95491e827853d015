"""Readiness: the service answers and reports that it is healthy."""

import pytest

pytestmark = pytest.mark.heals("api")


def test_health(services):
    """/api/health"""
    response = services["api"].get("/api/health")

    assert response.status_code == 200
    health = response.json()
    assert isinstance(health, dict), "the JSON is not an object"
    assert "status" in health, "there is no status"
    assert health["status"] == "ok"
