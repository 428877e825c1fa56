"""alibi-detect: TabularDrift with its defaults (Kolmogorov-Smirnov and chi-square, p 0.05 after Bonferroni) on each chunk."""

import numpy as np
import pandas as pd
from alibi_detect.cd import TabularDrift
from told import Answer, given

task = given()
answer = Answer()
columns = [*task["numbers"], *task["categories"]]
rows = pd.read_parquet(task["stream"], columns=columns)
# It takes one array: categories as numbers, missing numbers as the reference's mean, for it cannot take NaN.
for name in task["categories"]:
    rows[name] = pd.factorize(rows[name])[0]
middle = rows[task["numbers"]].iloc[: task["reference"]].mean()
rows[task["numbers"]] = rows[task["numbers"]].fillna(middle)
x = rows.to_numpy(dtype=np.float32)
count = len(task["numbers"])
categories = {count + place: None for place in range(len(task["categories"]))}
detector = TabularDrift(x[: task["reference"]], p_val=0.05, categories_per_feature=categories or None)
begin = task["reference"]
for end in task["ends"]:
    told = detector.predict(x[begin:end], drift_type="batch")["data"]
    if told["is_drift"]:
        order = np.argsort(-told["distance"])
        answer.page(end, [columns[place] for place in order])
    begin = end
answer.tell()
