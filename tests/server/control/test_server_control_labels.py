"""Labels pushed over HTTP."""

from loopline.labels.intake import label_table

PATH = "/api/v1/projects/flights/models/late/labels"


def push(served, *labels):
    return served.client.post(PATH, headers=served.token("labels:write"), json={"labels": list(labels)})


def kept(served):
    return served.resources.tables.open(label_table("flights", "late")).current().select("_key", "label").rows()


def test_labels_come_by_id_and_by_key_and_again_without_effect(served):
    first = push(served, {"prediction_id": "pr_1", "label": 1}, {"key": "flight 2", "label": False})
    assert first.json() == {"table": "labels.flights.late", "version": 1, "written": 2, "unchanged": 0}
    again = push(served, {"prediction_id": "pr_1", "label": True}, {"key": "flight 2", "label": 0.0})
    assert again.json() == {"table": "labels.flights.late", "version": None, "written": 0, "unchanged": 2}
    assert sorted(kept(served)) == [("flight 1", 1.0), ("flight 2", 0.0)]
    assert served.resources.tables.open("labels.flights.late").read()["principal"].to_list() == ["ann", "ann"]


def test_an_unknown_prediction_is_named_and_nothing_is_kept(served):
    refused = push(served, {"prediction_id": "pr_1", "label": 1}, {"prediction_id": "pr_x", "label": 1})
    assert (refused.status_code, refused.json()["code"]) == (400, "label.unknown_prediction")
    assert refused.json()["context"] == {"index": 1, "prediction_id": "pr_x"}
    assert not served.resources.tables.exists("labels.flights.late")


def test_what_is_no_label_is_refused(served):
    for label in ({"label": 1}, {"key": "flight 1", "label": "late"}, {"key": "flight 1"}, {"key": 7, "label": 1}):
        assert push(served, label).status_code == 400
    assert push(served).status_code == 400
    assert push(served, *[{"key": "flight 1", "label": 1}] * 20_001).status_code == 400
    assert not served.resources.tables.exists("labels.flights.late")
