"""river: ADWIN with its defaults on the loss of each row, as its documentation watches a model; in `size` on each numeric column; single series
by ADWIN, KSWIN and PageHinkley with their defaults."""

import csv
import json
import math
import sys
from pathlib import Path

from river.drift import ADWIN, KSWIN, PageHinkley
from told import Answer, given

task = given()
answer = Answer()
if task["mode"] == "series":
    series = ADWIN()
    for place, value in enumerate(json.loads(Path(task["stream"]).read_text())):
        series.update(value)
        if series.drift_detected:
            answer.page(place + 1, [])
    answer.tell()
    sys.exit()
if task["mode"] == "many":
    made = {"ADWIN": ADWIN, "KSWIN": lambda: KSWIN(seed=0), "PageHinkley": PageHinkley}[task["detector"]]
    fired = []
    for values in json.loads(Path(task["stream"]).read_text()):
        one, rows = made(), []
        for place, value in enumerate(values):
            one.update(value)
            if one.drift_detected:
                rows.append(place + 1)
        fired.append(rows)
    answer.more = {"fired": fired}
    answer.tell()
    sys.exit()
with Path(task["stream"].replace(".parquet", ".csv")).open(newline="") as file:
    rows = csv.DictReader(file)
    if task["mode"] == "faults":
        detector, before = ADWIN(), 0.0
        for place, row in enumerate(rows):
            p = min(max(float(row["score"]), 1e-6), 1 - 1e-6)
            before = detector.estimation
            detector.update(-math.log(p if float(row["label"]) == 1 else 1 - p))
            if detector.drift_detected and place >= task["reference"] and detector.estimation > before:
                answer.page(place + 1, [])
    else:
        detectors = {name: ADWIN() for name in task["numbers"]}
        for row in rows:
            for name, one in detectors.items():
                one.update(float(row[name]))
answer.tell()
