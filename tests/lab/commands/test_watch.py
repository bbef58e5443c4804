"""The report of a folder that is served while a process writes to it."""

import contextlib
import http.client
import shutil
import signal
import socket
import threading
import urllib.error
import urllib.request

import pytest
import small_runs
import small_studies

from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.commands.watched import Watched
from optchain.lab.commands.watched import page as page_of
from optchain.lab.comparison import compare
from optchain.lab.comparison.tables import Comparison
from optchain.lab.reports import live, server
from optchain.lab.reports.live import Live
from optchain.lab.reports.server import Server
from optchain.lab.runs import config
from optchain.lab.runs.writer import sole_writer


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(live, "IDLE", 0.0)


@contextlib.contextmanager
def served(page, host="127.0.0.1"):
    with Server(page, host, 0) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


def read(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def status(running, path="/", method="GET", host="localhost"):
    connection = http.client.HTTPConnection("127.0.0.1", running.server_address[1], timeout=20)
    connection.request(method, path, headers={"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def listing(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    return small_runs.train(tmp_path_factory.mktemp("ended"), "train.steps=20", "train.evaluate_every=10").run.folder


def test_a_run_is_shown_as_it_grows(ended, tmp_path):
    folder = tmp_path / "run"
    lines = (ended / "metrics.jsonl").read_text().splitlines(keepends=True)
    with served(Watched(folder)) as running:
        assert "awaited: a run, a study or a comparison" in read(running.url)
        folder.mkdir()
        assert "awaited: a run, a study or a comparison" in read(running.url)
        for name in ("config.json", "run.json"):
            shutil.copy(ended / name, folder)
        assert "awaited: task.json" in read(running.url)
        shutil.copy(ended / "task.json", folder)
        (folder / "metrics.jsonl").write_text("")
        assert "unfinished" in read(running.url) and "<svg" in read(running.url)
        (folder / "metrics.jsonl").write_text("".join(lines[:11]) + lines[11][:9])  # the last one is being written
        with sole_writer(folder):
            before = listing(folder)
            first = read(running.url)
            assert "validation, average" in first and "<span>evaluating</span>" in first
            assert read(running.url) == first and listing(folder) == before
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(lines[11][9:] + "".join(lines[12:]))
        shutil.copy(ended / "result.json", folder)
        assert "finished at step 20" in read(running.url)
        (folder / "result.json").write_text("{")
        assert "result.json: Expecting" in (broken := read(running.url)) and "Traceback" not in broken


def test_a_page_is_made_again_only_when_files_have_changed(tmp_path, monkeypatch):
    made = []
    pages = Live(tmp_path, lambda folder: made.append(folder) or f"page {len(made)}")
    (tmp_path / "clock").mkdir()
    for _ in range(2):
        assert pages.page() == "page 1"
        (tmp_path / "report.html").write_text("of the run itself")
        (tmp_path / "clock" / "config.json").write_text("[1, 2]")
    (tmp_path / "result.json").write_text("{}")
    assert pages.page() == "page 2" and made == [tmp_path] * 2
    monkeypatch.setattr(live, "IDLE", 1e9)
    (tmp_path / "result.json").write_text("{ }")
    assert pages.page() == "page 3"
    (tmp_path / "result.json").write_text("{  }")
    assert pages.page() == "page 3"  # a page that is long in the making is not made at each request


def test_a_study_is_only_read(tmp_path):
    tuning = small_studies.tuning(tmp_path, search='trials = 2\nsampler = "random"\nfresh = 0')
    before = listing(tuning.folder)
    assert "trials: none has begun" in page_of(tuning.folder)
    assert listing(tuning.folder) == before
    with tuning.claims.next() as claim:  # a trial that is running, and a line that is being written
        with (tuning.folder / "study.journal").open("a") as file:
            file.write('{"op_code": 5, "work')
        before = listing(tuning.folder)
        assert "trials: 1 running" in page_of(tuning.folder) and claim.number == 0
        assert listing(tuning.folder) == before


def test_a_database_is_only_read(tmp_path):
    search = f'trials = 2\nsampler = "random"\nfresh = 0\nstorage = "sqlite:///{tmp_path}/trials.db"'
    tuning = small_studies.tuning(tmp_path, search=search)
    assert "trials: none has begun" in page_of(tuning.folder)
    with tuning.claims.next():
        before = listing(tuning.folder)
        assert "trials: 1 running" in page_of(tuning.folder)
        assert listing(tuning.folder) == before


def test_a_comparison_leads_to_its_studies(tmp_path):
    text = small_studies.STUDY.format(search='trials = 2\nsampler = "random"\nfresh = 2', space="")
    text = text[: text.index("[optimizer.adam]")].replace("[space]", "")
    for name in ("one", "two"):
        text += f'[optimizers.{name}]\nspace.learning_rate = {{ use = "log", low = 1e-3, high = 1e-1 }}\n'
        text += 'chain = { use = "sgd", learning_rate = 0.0 }\n'
    (tmp_path / "compare.toml").write_text(text)
    comparison = config.load(tmp_path / "compare.toml", table=Comparison)
    folder = tmp_path / "out"
    tunings = compare.studies(comparison, folder, "compare.toml", "the command")
    compare.prepare(folder, comparison, tunings, "the command", False)
    before = listing(folder)
    with served(Watched(folder)) as running:
        assert "2 optimizers compared" in (first := read(running.url)) and "studies/one/report.html" in first
        assert "a search over 1 dimension<" in read(f"{running.url}studies/one/report.html")
        for path in ("/studies/one/study.json", "/studies/three/report.html", "/studies/one/../../comparison.json"):
            assert status(running, path)[0] == 404
    assert listing(folder) == before


def test_only_pages_are_served_and_only_to_readers():
    with served({"": "the page"}.get) as running:
        code, headers, body = status(running)
        assert (code, body, headers["Refresh"]) == (200, b"the page", str(server.EVERY))
        code, headers, body = status(running, method="HEAD")
        assert (code, body, headers["Content-Length"]) == (200, b"", "8")
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND"):
            code, headers, _ = status(running, method=method)
            assert (code, headers["Allow"]) == (405, "GET, HEAD")
        for path in ("/config.json", "/../config.json", "/%2e%2e/config.json", "//etc/passwd", "/etc/passwd"):
            assert status(running, path)[0] == 404
        assert status(running, host="elsewhere.example")[0] == 403  # a name that was made to lead to this machine
        assert status(running, host="[::1]:8000")[0] == 200


def test_others_need_a_token():
    with served({"": "the page"}.get, host="0.0.0.0") as running:
        assert len(running.token) > 40 and running.url.endswith(f"/{running.token}/")
        assert status(running, f"/{running.token}/", host="elsewhere")[0] == 200
        for path in ("/", "/x/", f"/{running.token}x/", f"/{running.token[:-1]}/", "/%ff/"):
            assert status(running, path)[0] == 403
        assert status(running, f"/{running.token}/config.json")[0] == 404
        assert status(running, f"/{running.token}/", method="POST")[0] == 405


def test_a_port_that_is_taken_is_named_with_a_free_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"--port {port}: .*in use; the nearest free one is --port \d+") as error:
            Server({}.get, "127.0.0.1", port)
        near = int(str(error.value).rpartition(" ")[2])
    Server({}.get, "127.0.0.1", near).server_close()
    with pytest.raises(InputError, match="--host no.such.host.invalid: .*expected a name or an address of this"):
        Server({}.get, "no.such.host.invalid", 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "1"], "got no --watch"),
        (["--watch", "--out", "x.html"], "expected that folder alone"),
        (["--watch", "other"], "expected that folder alone"),
    ],
)
def test_options_that_do_not_fit(tmp_path, capsys, arguments, said):
    assert main(["report", *arguments, str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.full
def test_the_command_ends_with_an_interrupt(ended):
    before = listing(ended)
    process = small_runs.start("report", "--watch", ended, "--port", 0)
    line = process.stdout.readline()
    assert "finished at step 20" in read(line.split()[1].rstrip(";"))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err and listing(ended) == before
