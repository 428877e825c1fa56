"""NannyML: realised performance and data quality by chunk, which its documentation says to alert on; drift ranks the columns."""

import nannyml as nml
import pandas as pd
from told import Answer, given

task = given()
answer = Answer()
columns = [*task["numbers"], *task["categories"]]
rows = pd.read_parquet(task["stream"], columns=[*columns, *(("score", "label") if task["mode"] == "faults" else ())])
cut = task["reference"]
reference, later = rows.iloc[:cut].reset_index(drop=True), rows.iloc[cut:].reset_index(drop=True)
sizes = [b - a for a, b in zip([cut, *task["ends"]], task["ends"], strict=False)]
size = sorted(sizes)[len(sizes) // 2]
later = later.iloc[: task["ends"][-1] - cut]
drift = nml.UnivariateDriftCalculator(
    column_names=columns, continuous_methods=["jensen_shannon"], categorical_methods=["jensen_shannon"],
    treat_as_categorical=task["categories"], chunk_size=size,
).fit(reference).calculate(later)  # fmt: skip
moved = drift.to_df(multilevel=False)
if task["mode"] == "faults":
    for one in (reference, later):
        one["label"] = one["label"].astype(int)
        one["predicted"] = (one["score"] > 0.5).astype(int)
    performance = nml.PerformanceCalculator(
        y_pred_proba="score", y_pred="predicted", y_true="label", problem_type="classification_binary",
        metrics=["roc_auc"], chunk_size=size,
    ).fit(reference).calculate(later).to_df(multilevel=False)  # fmt: skip
    missing = nml.MissingValuesCalculator(column_names=columns, chunk_size=size).fit(reference).calculate(later)
    unseen = (
        nml.UnseenValuesCalculator(column_names=task["categories"], chunk_size=size).fit(reference).calculate(later)
    )
    tables = [one.to_df(multilevel=False) for one in (missing, unseen)]
    if "period" in performance.columns:
        performance = performance[performance["period"] == "analysis"].reset_index(drop=True)
        tables = [table[table["period"] == "analysis"].reset_index(drop=True) for table in tables]
        moved = moved[moved["period"] == "analysis"].reset_index(drop=True)
    for place, row in performance.iterrows():
        wrong = []
        for table in tables:
            for name in columns:
                found = [key for key in table.columns if key.startswith(name) and key.endswith("alert")]
                if any(bool(table.loc[place, key]) for key in found):
                    wrong.append(name)
        if bool(row.get("roc_auc_alert")) or wrong:
            by_drift = sorted(
                columns,
                key=lambda name: (
                    -max(
                        (
                            float(moved.loc[place, key])
                            for key in moved.columns
                            if key.startswith(f"{name}_") and key.endswith("value")
                        ),
                        default=0.0,
                    )
                ),
            )
            end = cut + int(row[next(key for key in performance.columns if key.endswith("end_index"))]) + 1
            answer.page(end, [*wrong, *(name for name in by_drift if name not in wrong)], "performance or quality")
answer.tell()
