"""Data: the service has something to say."""

import pytest

pytestmark = pytest.mark.heals("api")


def test_girls(services):
    """/api/girls"""
    response = services["api"].get("/api/girls")
    girls = response.json()

    assert response.status_code == 200
    assert isinstance(girls, list)
    assert girls, "the list is empty"
    assert all("id" in girl and "name" in girl for girl in girls)
    services.show(count=len(girls))
