"""The check before saving: what the schema allows, and where each misuse is."""

import pytest

from caio.routing.expressions import (
    Bool,
    Double,
    Dyn,
    ExpressionError,
    Int,
    List,
    Map,
    Record,
    String,
    check,
    parse,
)

SCHEMA = {
    "request": Record({"region": String, "stream": Bool, "max_tokens": Int, "labels": Map(String), "extra": Dyn}),
    "service": Record(
        {
            "id": String,
            "cost": Record({"per_request": Double}),
            "regions": List(String),
            "limits": Map(Int),
            "endpoints": List(Record({"path": String, "weights": List(Int)})),
        }
    ),
}


@pytest.mark.parametrize(
    "source",
    [
        "request.stream",
        "!request.stream && true",
        "service.cost.per_request <= 0.5",
        "service.cost.per_request < 1",
        "request.max_tokens == 1.0",
        "request.region in service.regions",
        "'eu' in ['eu', 'us'] + service.regions",
        "'k' in service.limits && service.limits.k > service.limits['k'] - 1",
        "request.labels.team == 'a'",
        "has(service.cost.per_request) && has(request.labels.anything) && has(request.extra.a.b)",
        "request.extra",
        "request.extra.a + 1 > request.extra[0]",
        "request.extra == null",
        "size(service.regions) + service.id.size() > size(service.limits)",
        "service.endpoints.exists(e, e.path.startsWith('/v1') && e.weights.all(w, w > 0))",
        "service.endpoints.map(e, e.weights[0]).filter(w, w > 1)[0] == 2",
        "request.extra.all(x, x.y == 1)",
        "(request.stream ? 1 : request.max_tokens) > 0",
        "(request.stream ? request.extra : 'a') == 'a'",
        "([1, 'a'][0] == 'a') != ([] == [2])",
        "[[1], []] == [[2]]",
        "double(request.max_tokens) * 0.5 < double('1') && int('1') == int(1.5) && string(true) < string(1)",
        "service.cost == service.cost",
        "true < false",
        "null == null",
        "service.regions.exists(service, service == 'eu')",
    ],
)
def test_what_fits_the_schema_is_saved(source):
    check(parse(source), SCHEMA)


@pytest.mark.parametrize(
    ("source", "line", "column", "message"),
    [
        ("servise.id == 'a'", 1, 1, "there is no variable 'servise'; did you mean 'service'?"),
        ("true &&\n  foo", 2, 3, "there is no variable 'foo'"),
        ("service.cost.per_requst > 1", 1, 14, "there is no field 'per_requst' here; did you mean 'per_request'?"),
        ("has(service.costs)", 1, 13, "there is no field 'costs' here; did you mean 'cost'?"),
        ("has(service.nowhere.at_all)", 1, 13, "there is no field 'nowhere' here"),
        ("service.id.length == 1", 1, 12, "a value of type string has no fields, so no 'length'"),
        ("service.regions.first == 'a'", 1, 17, "a value of type list(string) has no fields, so no 'first'"),
        ("service.id", 1, 9, "the expression's result is of type string, not bool"),
        ("1 + 1", 1, 3, "the expression's result is of type int, not bool"),
        ("service.limits", 1, 9, "the expression's result is of type map(string, int), not bool"),
        ("service.cost", 1, 9, "the expression's result is of type record, not bool"),
        ("null", 1, 1, "the expression's result is of type null, not bool"),
        (
            "request.max_tokens * 0.5 > 1",
            1,
            20,
            "no such overload: int * double; convert one side with int() or double()",
        ),
        ("service.id + 1 == ''", 1, 12, "no such overload: string + int"),
        ("service.id - 'a' == ''", 1, 12, "no such overload: string - string"),
        ("1.5 % 2.0 == 1.0", 1, 5, "no such overload: double % double"),
        ("request.extra % 2.0 == 1", 1, 15, "no such overload: dyn % double"),
        ("[1] + 1 == []", 1, 5, "no such overload: list(int) + int"),
        ("service.id == 1", 1, 12, "no such overload: string == int"),
        ("service.regions == ['a', 'b'] || [1] != ['a']", 1, 38, "no such overload: list(int) != list(string)"),
        (
            "service.id == null",
            1,
            12,
            "no such overload: string == null; has(a.b) tests whether a field is present",
        ),
        ("request.stream == 'true'", 1, 16, "no such overload: bool == string"),
        ("service.id < 1", 1, 12, "no such overload: string < int"),
        ("[1] < [2]", 1, 5, "no such overload: list(int) < list(int)"),
        ("service.cost > service.cost", 1, 14, "no such overload: record > record"),
        ("null < null", 1, 6, "no such overload: null < null; has(a.b) tests whether a field is present"),
        ("1 in service.regions", 1, 3, "no such overload: int in list(string)"),
        ("'a' in service.id", 1, 5, "no such overload: string in string"),
        ("1 in service.limits", 1, 3, "no such overload: int in map(string, int)"),
        ("'cost' in service", 1, 8, "no such overload: string in record"),
        ("service.regions['a'] == 'a'", 1, 16, "a list's index takes int, not string"),
        ("service.regions[1.0] == 'a'", 1, 16, "a list's index takes int, not double"),
        ("service.limits[0] == 1", 1, 15, "a map's key takes string, not int"),
        ("service['id'] == 'a'", 1, 8, "a record has named fields; write a.b instead of a['b']"),
        ("service.id[0] == 'a'", 1, 11, "a value of type string cannot be indexed"),
        ("request.extra[true] == 1", 1, 14, "a key or index takes int or double or string, not bool"),
        ("!service.id", 1, 1, "! takes bool, not string"),
        ("-service.id == ''", 1, 1, "- takes int or double, not string"),
        ("request.stream && service.id", 1, 27, "&& takes bool, not string"),
        ("1 || true", 1, 1, "|| takes bool, not int"),
        ("1 ? true : false", 1, 3, "?: takes bool, not int"),
        ("true ? 1 : 'a'", 1, 6, "the branches of ?: differ in type: int and string"),
        ("(true ? 1 : 1.0) == 1", 1, 7, "the branches of ?: differ in type: int and double"),
        ("size(1) == 1", 1, 1, "size() takes a string, list or map, not int"),
        ("service.cost.size() == 1", 1, 14, "size() takes a string, list or map, not record"),
        ("int(true) == 1", 1, 1, "int() takes int or double or string, not bool"),
        ("double([1]) == 1", 1, 1, "double() takes int or double or string, not list(int)"),
        ("string(1.5) == ''", 1, 1, "string() takes int or bool or string, not double"),
        ("service.id.startsWith(1)", 1, 12, "startsWith() takes string, not int"),
        ("service.regions.contains('a')", 1, 17, "contains() takes string, not list(string)"),
        ("service.limits.all(k, true)", 1, 16, "all() walks over a list, not over map(string, int)"),
        ("service.regions.exists(r, r.size())", 1, 29, "exists() takes bool, not int"),
        ("service.regions.filter(r, 1)", 1, 27, "filter() takes bool, not int"),
        ("service.regions.map(r, r) ", 1, 17, "the expression's result is of type list(string), not bool"),
        ("service.regions.all(r, r > 1)", 1, 26, "no such overload: string > int"),
        ("service.regions.all(r, true) && r", 1, 33, "there is no variable 'r'"),
        (
            "service.endpoints.all(e,\n  e.weight == [1])",
            2,
            5,
            "there is no field 'weight' here; did you mean 'weights'?",
        ),
    ],
)
def test_every_fault_has_its_place(source, line, column, message):
    with pytest.raises(ExpressionError) as caught:
        check(parse(source), SCHEMA)
    assert (caught.value.line, caught.value.column, caught.value.message) == (line, column, message)


def test_another_result_may_be_expected():
    check(parse("service.cost.per_request * 2.0"), SCHEMA, expected=Double)
    check(parse("service.regions"), SCHEMA, expected=List(String))
    with pytest.raises(ExpressionError, match="of type bool, not double"):
        check(parse("true"), SCHEMA, expected=Double)
