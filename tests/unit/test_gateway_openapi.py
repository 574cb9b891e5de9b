"""How the components' OpenAPI documents become one."""

from __future__ import annotations

from typing import Any

from components.gateway.openapi import merged


def document(path: str = "/items", *, ref: str = "Item", **schemas: Any) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ref}"}
    answer = {"200": {"content": {"application/json": {"schema": schema}}}}
    return {
        "paths": {path: {"get": {"operationId": "list_items", "responses": answer}}},
        "components": {"schemas": schemas},
    }


def schema_of(result: dict[str, Any], path: str) -> str:
    content = result["paths"][path]["get"]["responses"]["200"]["content"]
    ref: str = content["application/json"]["schema"]["$ref"]
    return ref


TEXT = {"type": "string"}
NUMBER = {"type": "integer"}


def test_paths_get_the_prefix_of_their_component() -> None:
    result = merged([("a", "/a", document()), ("root", "/", document("/x"))], title="T")
    assert list(result["paths"]) == ["/a/items", "/x"]
    assert result["info"]["title"] == "T"


def test_operations_are_grouped_by_component_unless_they_say_otherwise() -> None:
    tagged = document("/tagged")
    tagged["paths"]["/tagged"]["get"]["tags"] = ["mine"]
    result = merged([("a", "/a", document()), ("b", "/b", tagged)], title="T")
    assert result["paths"]["/a/items"]["get"]["tags"] == ["a"]
    assert result["paths"]["/b/tagged"]["get"]["tags"] == ["mine"]


def test_a_schema_that_all_define_alike_is_shared() -> None:
    result = merged([("a", "/a", document(Item=TEXT)), ("b", "/b", document(Item=TEXT))], title="T")
    assert result["components"]["schemas"] == {"Item": TEXT}


def test_schemas_that_clash_are_kept_apart() -> None:
    result = merged([("a", "/a", document(Item=TEXT)), ("b", "/b", document(Item=NUMBER))], title="T")
    assert result["components"]["schemas"] == {"a_Item": TEXT, "b_Item": NUMBER}
    assert schema_of(result, "/a/items") == "#/components/schemas/a_Item"
    assert schema_of(result, "/b/items") == "#/components/schemas/b_Item"


def test_what_refers_to_a_clash_is_kept_apart_too() -> None:
    """Equal texts mean different things when what they refer to differs."""
    page = {"items": [{"$ref": "#/components/schemas/Item"}]}
    result = merged(
        [
            ("a", "/a", document(ref="Page", Page=page, Item=TEXT)),
            ("b", "/b", document(ref="Page", Page=page, Item=NUMBER)),
        ],
        title="T",
    )
    assert result["components"]["schemas"]["a_Page"] == {"items": [{"$ref": "#/components/schemas/a_Item"}]}
    assert schema_of(result, "/b/items") == "#/components/schemas/b_Page"


def test_operation_ids_stay_unique() -> None:
    result = merged([("a", "/a", document()), ("b", "/b", document())], title="T")
    assert result["paths"]["/a/items"]["get"]["operationId"] == "a_list_items"
    assert result["paths"]["/b/items"]["get"]["operationId"] == "b_list_items"


def test_security_schemes_that_clash_are_named_apart_where_they_are_asked_for() -> None:
    def secured(url: str) -> dict[str, Any]:
        made = document()
        made["components"] = {
            "securitySchemes": {"login": {"type": "openIdConnect", "openIdConnectUrl": url}}
        }
        made["security"] = [{"login": []}]
        return made

    result = merged([("a", "/a", secured("/1")), ("b", "/b", secured("/2"))], title="T")
    assert set(result["components"]["securitySchemes"]) == {"a_login", "b_login"}
    assert result["paths"]["/b/items"]["get"]["security"] == [{"b_login": []}]
