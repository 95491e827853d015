"""Readiness: the service answers, and says that it is well."""

import pytest

pytestmark = pytest.mark.heals("api")


def test_health(services):
    """/api/health"""
    response = services["api"].get("/api/health")

    assert response.status_code == 200
    assert response.json()["status"] == "ok"
