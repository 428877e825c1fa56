"""Evidently: its DataDriftPreset on each chunk, as its documentation shows it; a page where it says that the data set drifted."""

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
from told import Answer, given

task = given()
answer = Answer()
columns = [*task["numbers"], *task["categories"]]
rows = pd.read_parquet(task["stream"], columns=columns)
definition = DataDefinition(numerical_columns=task["numbers"], categorical_columns=task["categories"])
reference = Dataset.from_pandas(rows.iloc[: task["reference"]], definition)
begin = task["reference"]
for end in task["ends"]:
    current = Dataset.from_pandas(rows.iloc[begin:end], definition)
    told = Report([DataDriftPreset()]).run(current, reference).dict()
    drifted, scores = 0, []
    for metric in told["metrics"]:
        name = metric.get("metric_name") or metric.get("metric_id", "")
        if name.startswith("DriftedColumnsCount"):
            drifted = metric["value"]["count"]
        elif name.startswith("ValueDrift"):
            config = metric.get("config", {})
            column, method = config.get("column", name), str(config.get("method", ""))
            value = float(metric["value"])
            scores.append((1 - value if "p_value" in method else value, column))
    if drifted >= 0.5 * len(columns):
        answer.page(end, [column for _, column in sorted(scores, reverse=True)])
    begin = end
answer.tell()
