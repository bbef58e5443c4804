"""Which trials of a study keep their models."""

import numpy as np
import pytest
import small_studies

from optchain.lab.runs import run
from optchain.lab.training.evaluate import restore, scores_of
from optchain.lab.tuning.tables import Search
from optchain.lab.tuning.trials import ranked

SEARCH = 'trials = 5\nsampler = "quasi_random"\nfresh = 0\nkeep = 2\nparallel = "{}"'


def kept(found):
    return {trial.number for trial in found.trials() if any(trial.folder.glob("*/checkpoints/*"))}


@pytest.mark.parametrize("parallel", ["none", "vmap"])
@pytest.mark.full
def test_the_best_trials_keep_their_models(tmp_path, parallel):
    found = small_studies.searched(tmp_path, search=SEARCH.format(parallel))
    best = ranked(found.trials(), found.objective)[:2]
    assert len(best) == 2 and kept(found) == {trial.number for trial in best}
    for trial in best:
        (one,) = map(run.find, trial.folder.glob("seed=*"))
        trained = restore(one)
        assert trained.step == 20
        scored = trained.scores(["validation"])["validation"]["parameters"]["loss"]
        np.testing.assert_allclose(scored, scores_of(one.result, "validation")["loss"], rtol=1e-5)
    # Fewer may be kept later.
    found = small_studies.searched(tmp_path, search=SEARCH.format(parallel).replace("keep = 2", "keep = 1"))
    assert kept(found) == {found.winner.number}


def test_a_population_keeps_its_own():
    with pytest.raises(ValueError, match="a population trains side by side to its end; leave out search.keep"):
        Search.model_validate({"trials": 2, "sampler": "population", "keep": 1})
