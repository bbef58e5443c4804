"""The survey's question is answered from what comparisons found."""

import re

import pytest
import small_runs

from experiments.__main__ import main
from experiments.translate.families import ADAPTIVE, GRADIENT, LATER, MOMENTS, family_of
from optchain import lab

COMPARISON = """
[search]
sampler = "quasi_random"
trials = 2
fresh = 3

[task]
use = "experiments/tasks/translate.py:Translate"
examples = 400
vocabulary = 40
longest = 6
validation = 40
test = 40

[model]
use = "experiments/translate/model.py:translator"
width = 16
heads = 2

[loss]
use = "experiments/translate/scores.py:word_loss"

[metrics.word_accuracy]
use = "experiments/translate/scores.py:word_accuracy"
better = "higher"

[train]
steps = 40
batch = 16
evaluate_every = 20
checkpoint_every = 40
diverged_above = 30.0

[optimizers.sgd]
space.learning_rate = { use = "log", low = 1e-4, high = 1e-3 }
chain = { use = "sgd", learning_rate = 1e-3 }

[optimizers.adam]
space.learning_rate = { use = "log", low = 1e-2, high = 2e-2 }
chain = { use = "adam", learning_rate = 1e-2 }

[optimizers.rmsprop]
space.learning_rate = { use = "log", low = 1e-5, high = 1e-4 }
chain = { use = "rmsprop", learning_rate = 1e-5 }
"""


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    path = folder / "survey.toml"
    path.write_text(COMPARISON.replace('"experiments/', f'"{small_runs.ROOT}/experiments/'))
    lab.load(path).compare(folder / "compared")
    return folder / "compared"


@pytest.mark.full
def test_the_report_answers_in_its_first_sentence(compared, tmp_path, capsys):
    pytest.importorskip("sacrebleu")
    out = tmp_path / "report.html"
    assert main(["survey", f"a small corpus={compared}", "--sentences", "20", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    answer = r"On a small corpus, the family of adaptive moments wins: adam has a test loss of \d\.\d+ ± \d"
    assert re.match(answer, said), said
    page = out.read_text()
    assert re.search(answer, page) and "is not reproduced here" in page
    for name in ("adam", "sgd", "rmsprop"):
        assert len(re.findall(rf"<td[^>]*>{name}</td>", page)) == 1
    assert "exact, %" in page and "p of its BLEU" in page and page.count("<svg") == 2


def test_what_is_no_comparison(tmp_path, capsys):
    assert main(["survey", f"x={tmp_path}"]) == 2
    assert "holds no run, no study and no comparison" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["survey", str(tmp_path)])
    assert "expected NAME=FOLDER" in capsys.readouterr().err


def test_families():
    names = ("gradient_descent", "nesterov", "rmsprop", "adamw", "adam-cosine", "muon")
    assert [family_of(name) for name in names] == [GRADIENT, GRADIENT, ADAPTIVE, MOMENTS, MOMENTS, LATER]
