"""What well-known libraries return, as kinds of `guess`."""

_FRAME, _SERIES = "pd.DataFrame", "pd.Series"
_MEASURED, _ARRAY = "np.float64", "np.ndarray"

FUNCTIONS = {
    **dict.fromkeys(
        (f"pandas.{name}" for name in (
            "read_csv", "read_parquet", "read_json", "read_excel", "read_table", "read_sql", "read_sql_query", "read_sql_table", "read_feather",
            "read_fwf", "DataFrame", "merge", "merge_asof", "merge_ordered", "get_dummies", "pivot_table", "crosstab", "melt", "json_normalize",
            "pivot", "wide_to_long", "DataFrame.from_dict", "DataFrame.from_records",
        )), _FRAME,
    ),
    "pandas.Series": _SERIES, "pandas.Timestamp": "pd.Timestamp", "pandas.date_range": "index", "pandas.isna": "",
    **dict.fromkeys(
        (f"polars.{name}" for name in (
            "read_csv", "read_parquet", "read_json", "read_ndjson", "read_excel", "read_database", "DataFrame", "from_dicts", "from_dict",
            "from_pandas", "from_arrow", "from_numpy", "read_delta",
        )), "pl.DataFrame",
    ),
    **dict.fromkeys(("polars.scan_csv", "polars.scan_parquet", "polars.scan_ndjson", "polars.LazyFrame", "polars.scan_delta"), "lazy"),
    "polars.Series": "pl.Series",
    **dict.fromkeys(
        (f"numpy.{name}" for name in (
            "array", "asarray", "zeros", "ones", "full", "arange", "linspace", "concatenate", "vstack", "hstack", "stack", "column_stack",
            "loadtxt", "genfromtxt", "eye", "zeros_like", "ones_like", "where", "cumsum", "diff", "argsort", "sort", "round", "clip",
            "random.normal", "random.rand", "random.randn", "random.randint", "random.uniform", "random.choice", "random.permutation",
            "random.exponential", "random.poisson", "random.random", "linalg.inv", "linalg.solve", "dot", "matmul", "polyfit", "polyval",
            "empty", "repeat", "tile", "meshgrid_", "histogram_", "outer", "percentile_", "exp", "sin", "cos", "maximum", "minimum", "c_", "atleast_2d",
        )), _ARRAY,
    ),
    "numpy.random.default_rng": "rng", "numpy.random.RandomState": "rng", "random.Random": "rng",
    "pathlib.Path": "path", "json.dumps": "str", "os.path.join": "str", "os.environ.get": "", "os.getcwd": "str", "os.getenv": "",
    "matplotlib.pyplot.figure": "figure", "matplotlib.pyplot.subplots": "figure",
    "math.sqrt": "float", "math.log": "float", "math.exp": "float", "math.ceil": "int", "math.floor": "int",
    "sklearn.model_selection.cross_val_score": _ARRAY, "sklearn.model_selection.cross_val_predict": _ARRAY,
    "sklearn.metrics.confusion_matrix": _ARRAY, "sklearn.metrics.classification_report": "str",
    "sklearn.pipeline.make_pipeline": "estimator", "sklearn.compose.make_column_transformer": "estimator",
    "sklearn.preprocessing.scale": _ARRAY, "sklearn.preprocessing.normalize": _ARRAY,
    "random.randint": "int", "random.random": "float", "random.uniform": "float", "random.gauss": "float",
    "time.time": "float", "time.perf_counter": "float",
    "statsmodels.api.add_constant": "",
}  # fmt: skip

MODULES = {
    "sklearn": "estimator",
    "xgboost": "estimator",
    "lightgbm": "estimator",
    "catboost": "estimator",
    "imblearn": "estimator",
}
"""What the classes of a library make."""

NUMBERS = {
    "accuracy_score", "f1_score", "precision_score", "recall_score", "roc_auc_score", "log_loss", "brier_score_loss", "r2_score",
    "mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "root_mean_squared_error", "average_precision_score",
    "balanced_accuracy_score", "matthews_corrcoef", "silhouette_score", "median_absolute_error", "adjusted_rand_score", "cohen_kappa_score",
}  # fmt: skip

FRAME_METHODS = {
    **dict.fromkeys((
        "copy", "dropna", "fillna", "drop", "rename", "assign", "merge", "join", "sort_values", "sort_index", "reset_index", "set_index", "head",
        "tail", "sample", "query", "astype", "drop_duplicates", "describe", "corr", "cov", "pivot", "pivot_table", "melt", "isna", "isnull",
        "notna", "notnull", "replace", "round", "clip", "filter", "select_dtypes", "explode", "nlargest", "nsmallest", "shift", "diff",
        "cumsum", "pct_change", "interpolate", "ffill", "bfill", "where", "mask", "isin", "rank", "transpose", "add_prefix", "add_suffix",
        "set_axis", "reindex", "truncate", "tz_localize", "convert_dtypes", "infer_objects", "abs", "applymap", "map", "transform", "combine_first",
        "droplevel", "asfreq", "between_time", "xs", "pop_", "stack_",
    ), _FRAME),
    **dict.fromkeys((
        "sum", "mean", "median", "std", "var", "min", "max", "count", "nunique", "any", "all", "value_counts", "duplicated", "idxmax",
        "idxmin", "quantile", "mode_", "skew", "corrwith", "pop", "memory_usage", "sem", "prod", "eq_", "size_",
    ), _SERIES),
    "to_numpy": _ARRAY, "to_string": "str", "to_markdown": "str", "groupby": "groups", "apply": "", "agg": "", "iterrows": "", "itertuples": "",
    "pipe": "", "plot": "figure", "hist": "figure", "boxplot": "figure", "insert": "None", "update": "None", "info": "None", "items": "", "to_dict": "",
    "to_csv": "None", "to_parquet": "None", "to_json": "None", "to_sql": "int", "style": "", "stack": "", "unstack": "", "squeeze": "", "aggregate": "",
    "dtypes": _SERIES, "resample": "groups", "rolling": "groups", "expanding": "groups", "ewm": "groups", "empty": "bool", "get": "", "mode": _FRAME, "axes": "", "at": "", "iat": "", "ndim": "int", "attrs": "",
}  # fmt: skip
"""Of a pandas frame; also which attributes are not columns."""

SERIES_METHODS = {
    **dict.fromkeys((
        "copy", "dropna", "fillna", "drop", "rename", "sort_values", "sort_index", "head", "tail", "sample", "astype", "drop_duplicates", "describe",
        "isna", "isnull", "notna", "notnull", "replace", "round", "clip", "map", "apply", "shift", "diff", "cumsum", "pct_change", "interpolate",
        "ffill", "bfill", "where", "mask", "isin", "rank", "value_counts", "between", "abs", "nlargest", "nsmallest", "explode", "reindex", "add",
        "sub", "mul", "div", "mode", "transform", "duplicated", "to_period_", "combine_first", "str_", "gt", "lt", "ge", "le", "eq", "ne", "tz_localize",
    ), _SERIES),
    **dict.fromkeys((
        "sum", "mean", "median", "std", "var", "min", "max", "skew", "kurt", "corr", "autocorr", "sem", "prod",
    ), _MEASURED),
    "quantile": _MEASURED, "count": "int", "nunique": "int", "to_numpy": _ARRAY, "unique": _ARRAY, "to_frame": _FRAME, "reset_index": _FRAME,
    "tolist": "", "to_list": "", "groupby": "groups:one", "rolling": "groups:one", "resample": "groups:one", "expanding": "groups:one",
    "ewm": "groups:one", "unstack": _FRAME, "plot": "figure", "hist": "figure",
}  # fmt: skip

POLARS_METHODS = {
    **dict.fromkeys((("pl.DataFrame", name) for name in (
        "filter", "select", "with_columns", "sort", "join", "join_asof", "drop", "rename", "head", "tail", "limit", "unique", "drop_nulls",
        "fill_null", "fill_nan", "describe", "sample", "slice", "clone", "pivot", "unpivot", "melt", "explode", "unnest", "cast", "vstack",
        "hstack", "with_row_index", "top_k", "bottom_k", "reverse", "sum", "mean", "min", "max", "median", "std", "null_count", "upsample",
        "transpose", "to_dummies", "drop_nans", "extend", "shift", "gather_every", "interpolate", "rechunk", "set_sorted",
    )), "pl.DataFrame"),
    **dict.fromkeys((("lazy", name) for name in (
        "filter", "select", "with_columns", "sort", "join", "join_asof", "drop", "rename", "head", "tail", "limit", "unique", "drop_nulls",
        "fill_null", "fill_nan", "slice", "unpivot", "explode", "unnest", "cast", "with_row_index", "sum", "mean", "min", "max",
    )), "lazy"),
    ("lazy", "collect"): "pl.DataFrame", ("pl.DataFrame", "lazy"): "lazy",
    ("pl.DataFrame", "group_by"): "pl.groups", ("pl.DataFrame", "group_by_dynamic"): "pl.groups", ("pl.DataFrame", "rolling"): "pl.groups",
    ("lazy", "group_by"): "pl.lazygroups", ("lazy", "group_by_dynamic"): "pl.lazygroups",
    ("pl.lazygroups", "agg"): "lazy", ("pl.lazygroups", "len"): "lazy",
    **dict.fromkeys((("pl.groups", name) for name in ("agg", "len", "mean", "sum", "first", "last", "max", "min", "count", "head")), "pl.DataFrame"),
    ("pl.DataFrame", "to_numpy"): _ARRAY, ("pl.Series", "to_numpy"): _ARRAY, ("pl.DataFrame", "to_pandas"): _FRAME,
    ("pl.DataFrame", "get_column"): "pl.Series", ("pl.DataFrame", "to_series"): "pl.Series", ("pl.DataFrame", "height"): "int",
    **dict.fromkeys((("pl.Series", name) for name in ("mean", "std", "median")), "float"),
    **dict.fromkeys((("pl.Series", name) for name in ("n_unique", "len", "null_count")), "int"),
}  # fmt: skip
