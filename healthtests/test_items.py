"""Data: the service returns items."""

import pytest

pytestmark = pytest.mark.heals("api")


def test_girls(services):
    """/api/girls"""
    response = services["api"].get("/api/girls")

    assert response.status_code == 200
    girls = response.json()
    assert isinstance(girls, list), "the JSON is not a list"
    assert girls, "the list is empty"
    assert all(isinstance(girl, dict) for girl in girls), "an item is not an object"
    assert all("id" in girl and "name" in girl for girl in girls), "an item has no id or no name"
    services.show(count=len(girls))
