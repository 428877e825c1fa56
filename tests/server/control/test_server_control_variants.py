"""What is deployed beside champions, over HTTP."""

PLACE = "/api/v1/projects/flights"
VARIANTS = f"{PLACE}/models/late/variants"
CANARY = {"version": 2, "role": "canary", "share": 0.2, "reason": "to see"}


def post(served, path, body, *permissions):
    return served.client.post(path, json=body, headers=served.token(*(permissions or ("models:promote",))))


def beside(served):
    answer = served.client.get(VARIANTS, headers=served.token("models:read"))
    assert answer.status_code == 200, answer.text
    return [one["deployed"] for one in answer.json()]


def test_a_canary_is_deployed_grown_and_stopped(served):
    made = post(served, VARIANTS, CANARY)
    assert (made.status_code, made.json()["changed"]) == (200, True)
    [found] = beside(served)
    assert (found["name"], found["role"], found["version"], found["share"]) == ("v2", "canary", 2, 0.2)
    assert (found["started_by"], found["why"], found["terms"]["alpha"]) == ("ann", "to see", 0.05)
    grown = post(served, f"{VARIANTS}/v2/share", {"share": 0.5, "reason": "looks well"})
    assert grown.json()["sentence"] == "v2 has 50 % instead of 20 %."
    assert beside(served)[0]["share"] == 0.5
    stopped = post(served, f"{VARIANTS}/v2/stop", {"reason": "enough"})
    assert stopped.json()["changed"]
    assert beside(served) == []
    again = post(served, f"{VARIANTS}/v2/stop", {"reason": "enough"})
    assert (again.status_code, again.json()["code"]) == (404, "variants.unknown")


def test_a_variant_is_promoted(served):
    post(served, VARIANTS, {**CANARY, "role": "split", "name": "b"})
    assert (
        post(served, f"{VARIANTS}/b/promote", {"reason": "won"}).json()["sentence"] == "Version 2 replaced version 1."
    )
    [endpoint] = served.client.get(f"{PLACE}/endpoints", headers=served.token("models:read")).json()
    assert [(one["variant"], one["version"]) for one in endpoint["served"]] == [("champion", 2)]


def test_what_cannot_be_is_refused_with_its_code(served):
    terms = {"labels": 0.1, "loss": "log_loss"}
    refused = {
        "variants.is_champion": {**CANARY, "version": 1},
        "model.version_not_found": {**CANARY, "version": 9},
        "environment.unknown": {**CANARY, "environment": "moon"},
        "variants.nothing_left": {**CANARY, "share": 1.0},
        "canary.unbounded_loss": {**CANARY, "terms": terms},
        "loss.unknown": {**CANARY, "terms": {**terms, "loss": "made_up"}},
        "canary.terms": {**CANARY, "terms": {"errors": 1.5}},
        "http.bad_request": {**CANARY, "share": 0.0},
    }
    for code, body in refused.items():
        answer = post(served, VARIANTS, body)
        assert 400 <= answer.status_code < 500
        if code != "http.bad_request":
            assert answer.json()["code"] == code
    assert beside(served) == []


def test_endpoints_and_shadows_are_told(served):
    post(served, VARIANTS, {**CANARY, "role": "shadow", "share": 1.0})
    [endpoint] = served.client.get(f"{PLACE}/endpoints", headers=served.token("models:read")).json()
    champion, shadow = endpoint["served"]
    assert (champion["variant"], champion["version"], champion["share"]) == ("champion", 1, 1.0)
    assert (shadow["variant"], shadow["role"], shadow["predictions"]) == ("v2", "shadow", 0)
    answer = served.client.get(f"{VARIANTS}/v2/comparison", headers=served.token("models:read"))
    assert (answer.status_code, answer.json()["rows"], answer.json()["regret"]) == (200, 0, None)
