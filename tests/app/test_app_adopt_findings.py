"""What is found in code that is adopted: each with its place, what it means and what to do."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from loopline.app.adopting.adopt import adopt
from loopline.app.adopting.write import write_pipeline
from loopline.errors import Conflict, InvalidInput, NotFound

_spec = spec_from_file_location("adopted", Path(__file__).parent / "adopted.py")
adopted_runs = module_from_spec(_spec)
_spec.loader.exec_module(adopted_runs)

READ = "import pandas as pd\nimport numpy as np\ndf = pd.read_csv('a.csv')\n"
SPLIT = "from sklearn.model_selection import train_test_split\n"


def of_script(tmp_path, text):
    path = tmp_path / "script.py"
    path.write_text(text)
    return adopt(path)


def of_notebook(tmp_path, text):
    path = tmp_path / "book.ipynb"
    path.write_text(json.dumps(adopted_runs.notebook(text)))
    return adopt(path)


def told(made, kind):
    return [(one.weight, one.cell, one.line) for one in made.findings if one.kind == kind]


# code after READ, kind, weight, line of the script
FOUND = [
    ("import requests\nr = requests.get('https://x.org')", "network.read", "note", 5),
    ("import requests\nrequests.post('https://x.org', json={})", "effect.send", "decide", 5),
    ("x = pd.read_csv('https://x.org/a.csv')", "network.read", "note", 4),
    ("df.to_sql('t', 'sqlite:///x.db')", "effect.send", "decide", 4),
    ("import os\nos.system('ls')", "effect.shell", "decide", 5),
    ("import shutil\nshutil.rmtree('old')", "effect.remove", "decide", 5),
    ("now = pd.Timestamp.now()", "time.now", "decide", 4),
    ("from datetime import date\ndf['age'] = date.today().year - df['born']", "time.now", "decide", 5),
    ("s = df.sample(10)", "random.no_seed", "decide", 4),
    ("x = np.random.rand(3)", "random.no_seed", "decide", 4),
    ("def draw():\n    return np.random.rand()\n\n\nx = draw()", "random.no_seed", "decide", 8),
    ("rng = np.random.default_rng()", "random.no_seed", "decide", 4),
    ("from sklearn.ensemble import RandomForestClassifier\nm = RandomForestClassifier()", "random.no_seed", "decide", 5),
    ("other = pd.read_csv('/home/ann/b.csv')", "path.absolute", "decide", 4),
    ("other = pd.read_csv(r'C:\\data\\b.csv')", "path.absolute", "decide", 4),
    ("import sys\nif df.empty:\n    sys.exit(1)", "effect.exit", "decide", 6),
    ("import pickle\nm = pickle.load(open('m.pkl', 'rb'))", "effect.pickle", "decide", 5),
    ("name = input('name?')", "effect.asks", "blocks", 4),
    ("print(nothing)", "order.never_made", "blocks", 4),
    ("b = a + 1\na = 1", "order.used_before_made", "blocks", 4),
    ("globals()['x'] = 1", "names.dynamic", "blocks", 4),
    ("sum = sum(df['a'])", "names.hidden", "blocks", 4),
    ("import sys\nif len(sys.argv) > 1:\n    print(sys.argv)", "argument.argv", "blocks", 5),
    ("df.head()", "display.left_out", "note", 4),
    ("API_KEY = 'abcdef123'", "secret.in_code", "decide", 4),
    (f"{SPLIT}from sklearn.preprocessing import MinMaxScaler\ns = MinMaxScaler()\nX = s.fit_transform(df)\nX_train, X_test = train_test_split(X, random_state=1)", "leak.fit_before_split", "decide", 7),
    (f"{SPLIT}df['a'] = df['a'].fillna(df['a'].mean())\ntrain, test = train_test_split(df, random_state=1)", "leak.statistic_before_split", "decide", 5),
    (f"{SPLIT}y = df['t']\nX = df[['a', 't']]\na, b, c, d = train_test_split(X, y, random_state=1)", "leak.target_in_features", "decide", 6),
    (f"{SPLIT}df['date'] = pd.to_datetime(df['date'])\na, b = train_test_split(df, random_state=1)", "leak.shuffled_in_time", "decide", 6),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "kind", "weight", "line"), FOUND, ids=[f"{one[1]}-{n}" for n, one in enumerate(FOUND)]
)
def test_it_is_found_at_its_line(tmp_path, code, kind, weight, line):
    made = of_script(tmp_path, READ + code + "\n")
    assert (weight, None, line) in told(made, kind)
    assert all(one.what and one.do.endswith((".", "]'", "...")) for one in made.findings)
    assert made.blocked == (weight == "blocks")
    assert bool(made.text) != made.blocked


# code after READ in which this kind must not be found
CLEAN = [
    (f"{SPLIT}from sklearn.preprocessing import MinMaxScaler\na, b = train_test_split(df, random_state=1)\ns = MinMaxScaler()\nX = s.fit_transform(a)", "leak.fit_before_split"),
    (f"{SPLIT}y = df['t']\nX = df.drop(columns=['t'])\na, b, c, d = train_test_split(X, y, random_state=1)", "leak.target_in_features"),
    (f"{SPLIT}df['date'] = pd.to_datetime(df['date'])\na, b = train_test_split(df, shuffle=False)", "leak.shuffled_in_time"),
    ("np.random.seed(1)\nx = np.random.rand(3)", "random.no_seed"),
    ("s = df.sample(10, random_state=1)", "random.no_seed"),
    ("tokenizer = 'words'\nmax_tokens = '1000'\nprint(tokenizer, max_tokens)", "secret.in_code"),
    ("import os\nAPI_KEY = os.environ['API_KEY']", "secret.in_code"),
    ("list_of = [x for x in range(3)]\nf = lambda x: x\ny = f(list_of)", "order.never_made"),
    ("def later():\n    return helper()\n\n\ndef helper():\n    return 1\n\n\nz = later()", "order.used_before_made"),
    ("kept = '/'.join(['a', 'b'])", "path.absolute"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "kind"), CLEAN, ids=[f"{one[1]}-{n}" for n, one in enumerate(CLEAN)])
def test_what_is_well_done_is_not_told(tmp_path, code, kind):
    made = of_script(tmp_path, READ + code + "\n")
    assert told(made, kind) == []
    assert not made.blocked


SECRETS = """
API_KEY = "sk-abcdefghijklmnop1234567890"
url = "postgresql://ann:s3cr3tpw@db.example.org/x"
conn = {"user": "ann", "password": "hunter22"}
# password = "hunter22", or was it token: 'tok12345678'?
def connect(host, password="pa55word!"):
    return (host, password, "hunter22")
print(f"Bearer {API_KEY}", url, conn, connect("h"), "sk-abcdefghijklmnop1234567890")
"""


def test_secrets_are_nowhere_in_what_is_made(tmp_path):
    made = of_script(tmp_path, READ + SECRETS)
    everything = made.text + json.dumps([[one.what, one.do] for one in made.findings])
    for secret in ("sk-abcdef", "s3cr3tpw", "hunter22", "pa55word", "tok12345678"):
        assert secret not in everything
    for name in ("API_KEY", "DATABASE_URL", "PASSWORD"):
        assert f'os.environ["{name}"]' in made.text
    assert [line for _, _, line in told(made, "secret.in_code")] == [5, 6, 7, 9, 10, 11]


def test_cells_out_of_order_are_told(tmp_path):
    made = of_notebook(tmp_path, "# %% [5]\na = 1\n# %% [2]\nb = a\n# %% [6]\nprint(b)\n")
    assert told(made, "order.executed_otherwise") == [("decide", 2, 1)]


@pytest.mark.parametrize(
    ("cell", "kind", "weight"),
    [
        ("!pip install x", "magic.install", "decide"),
        ("%pip install x", "magic.install", "decide"),
        ("%matplotlib inline\na = 1", "magic.left_out", "note"),
        ("%%time\na = 1", "magic.left_out", "note"),
        ("%%sql\nselect 1", "magic.sql", "decide"),
        ("%%writefile x.py\nprint(1)", "magic.writefile", "decide"),
        ("!ls", "effect.shell", "decide"),
        ("%%R\nx <- 1", "magic.unknown", "blocks"),
        ("%run other.py", "magic.unknown", "blocks"),
        ("x = 1 +", "code.syntax", "blocks"),
        ("print _", "code.syntax", "blocks"),
        ("x = _ + 1", "order.history", "blocks"),
        ("await thing()", "names.await", "blocks"),
        ("get_ipython().system('ls')", "names.ipython", "blocks"),
    ],
)
def test_what_only_notebooks_have(tmp_path, cell, kind, weight):
    made = of_notebook(tmp_path, f"# %% [1]\nb = 2\n# %% [2]\n{cell}\n")
    assert [(one[0], one[1]) for one in told(made, kind)][:1] == [(weight, 2)]
    assert made.blocked == (weight == "blocks")


def test_constants_paths_and_seeds_become_params(tmp_path):
    made = of_script(
        tmp_path,
        """
import pandas as pd
from sklearn.model_selection import train_test_split
THRESHOLD = 0.5  # of the price
NAMES = ["a", "b"]
SINCE = "2024-01-01"
RATE = 2


def taxed(x):
    return x * RATE


df = pd.read_csv("in/sales 2024.csv")
df = df[(df["price"] > THRESHOLD) & (df["day"] > SINCE)][NAMES]
df["taxed"] = taxed(df["a"])
train, test = train_test_split(df, random_state=42)
test.to_csv("out.csv")
""",
    )
    assert [(one.name, one.annotation, one.default) for one in made.params] == [
        ("threshold", "float", "0.5"),
        ("since", "str", "'2024-01-01'"),
        ("sales_2024_csv", "str", "'in/sales 2024.csv'"),
        ("seed", "int", "42"),
        ("out_csv", "str", "'out.csv'"),
    ]
    assert 'NAMES = ["a", "b"]' in made.text
    assert "RATE = 2" in made.text
    assert "# of the price" in made.text
    assert [path for step in made.steps for path in step.reads] == ["in/sales 2024.csv"]
    assert [path for step in made.steps for path in step.writes] == ["out.csv"]


def test_arguments_of_a_script_become_params(tmp_path):
    made = of_script(
        tmp_path,
        "import sys\nimport pandas as pd\npath = sys.argv[1]\nn = int(sys.argv[2])\ndf = pd.read_csv(path).head(n)\n",
    )
    assert [(one.name, one.annotation, one.default) for one in made.params] == [
        ("path", "str", None),
        ("n", "int", None),
    ]
    assert told(made, "param.required") == [("note", None, 3), ("note", None, 4)]


def test_steps_that_look_outside_are_not_cached(tmp_path):
    made = of_script(tmp_path, READ + "df['b'] = df['a'] * 2\nprint(df)\ndf.to_csv('b.csv')\n")
    assert [step.reuse for step in made.steps] == [False, True, False]


def test_nothing_of_the_code_is_run(tmp_path):
    of_script(tmp_path, f"open({str(tmp_path / 'made')!r}, 'w').write('x')\nraise SystemExit\n")
    assert not (tmp_path / "made").exists()


def test_comments_and_prose_survive(tmp_path):
    made = of_notebook(
        tmp_path,
        '# %% [markdown]\n# ## Load\n# All of it, with a \\ and """quotes"""\n# %% [1]\n# why\nx = [1,  # first\n     2]\n# the end\n# %% [2]\ny = x + [3]\n',
    )
    for text in ("# why", "# first", "# the end", "All of it, with a \\ and '''quotes'''"):
        assert text in made.text


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.ipynb", "{}", "adopt.not_a_notebook"),
        ("a.ipynb", "print(1)", "adopt.not_a_notebook"),
        ("a.ipynb", '{"nbformat": 3, "worksheets": []}', "adopt.old_notebook"),
        ("a.ipynb", '{"nbformat": 4, "cells": [], "metadata": {"language_info": {"name": "R"}}}', "adopt.not_python"),
    ],
)
def test_what_is_no_notebook_is_refused(tmp_path, name, content, code):
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidInput) as caught:
        adopt(tmp_path / name)
    assert caught.value.code == code


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(NotFound):
        adopt(tmp_path / "none.py")
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput):
        adopt(tmp_path / "bytes.py")


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", '"""Only a docstring."""\n', "import os\n", "def f():\n    return 1\n"]
)
def test_code_that_does_nothing_gives_a_pipeline_that_does_nothing(tmp_path, text):
    made = of_script(tmp_path, text)
    assert not made.blocked
    compile(made.text, "made.py", "exec")
    assert made.steps == []


def test_nothing_is_overwritten(tmp_path):
    made = of_script(tmp_path, "x = [1]\ny = x + [2]\n")
    there = tmp_path / "there.py"
    there.write_text("mine")
    with pytest.raises(Conflict):
        write_pipeline(made, there)
    assert there.read_text() == "mine"
    with pytest.raises(InvalidInput):
        write_pipeline(made, tmp_path / "no" / "folder.py")
