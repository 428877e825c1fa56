"""nannyml's CBPE and DLE on the rows of a folder: `python peer.py FOLDER KIND`; runs in an environment of its own, prints JSON.

The folder holds `reference.csv` and `analysis.csv`, without labels in the latter: features, `y`, `p` (or `p_0`, `p_1`, ...), `pred`, `chunk`.
"""

import json
import sys
import warnings
from pathlib import Path

import nannyml
import pandas as pd

warnings.filterwarnings("ignore")
CHUNK = 1500


def main() -> None:
    folder, kind = Path(sys.argv[1]), sys.argv[2]
    reference, analysis = (pd.read_csv(folder / f"{name}.csv") for name in ("reference", "analysis"))
    common = {"y_true": "y", "y_pred": "pred", "chunk_size": CHUNK}
    if kind == "regression":
        features = [name for name in reference.columns if name.startswith("f")]
        estimator = nannyml.DLE(
            feature_column_names=features, metrics=["mae", "mse"], tune_hyperparameters=False, **common
        )
        wanted = {"mae": "absolute_error", "mse": "squared_error"}
    else:
        classes = sorted(name for name in reference.columns if name.startswith("p_"))
        probability = "p" if not classes else {int(name[2:]): name for name in classes}
        problem = "classification_multiclass" if classes else "classification_binary"
        estimator = nannyml.CBPE(y_pred_proba=probability, problem_type=problem, metrics=["accuracy"], **common)
        wanted = {"accuracy": "accuracy"}
    estimator.fit(reference)
    found = estimator.estimate(analysis).filter(period="analysis").to_df(multilevel=True)
    told = {ours: found[name]["value"].tolist() for name, ours in wanted.items()}
    errors = {ours: found[name]["sampling_error"].tolist() for name, ours in wanted.items()}
    print(json.dumps({"version": nannyml.__version__, "values": told, "sampling": errors}))


if __name__ == "__main__":
    main()
