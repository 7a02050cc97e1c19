"""The served pages in a browser: browsing, sorting, comparing, submitting, and accessibility.

Debian's Chromium is driven by its path. Screenshots go to the folder that ``PKUBENCH_SCREENSHOTS``
names, for people to look at.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from scipy import stats

from pkubench.agents.resolve.loading import resolve_agent
from pkubench.evaluation.run.harness import evaluate
from pkubench.leaderboard import Board, create_bundle
from pkubench.leaderboard.board.local import own_records
from pkubench.leaderboard.board.tiers import Tier, Verdict, Verification
from pkubench.leaderboard.service.app import create_app
from pkubench.leaderboard.service.tokens import Tokens
from pkubench.leaderboard.service.worker import Worker
from pkubench.leaderboard.site import export
from pkubench.leaderboard.site.comparison_pages import COMPARED
from pkubench.leaderboard.submissions.bundle import Bundle
from pkubench.tasks.registry import make_task
from tests.leaderboard.writing import spread_scores, write_results

TASK = "SimpleSpread-v0"
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
SCORES = {"alpha": -30.0, "beta": -31.0, "gamma": -45.0, "delta": -20.0}


class Served:
    """A board with entries and a server; a worker works when a test asks for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.board = Board.open(folder / "board.sqlite")
        for k, (name, score) in enumerate(SCORES.items()):
            results = write_results(folder, name, TASK, spread_scores(score, seed=k))
            bundle = create_bundle(results, folder / f"{name}.zip", weights=folder / "weights")
            verdicts = own_records(bundle)
            if name == "delta":
                flagged = Verdict(Tier.FLAGGED, "the weights of seed0 are on this board already")
                verdicts = Verification(dict.fromkeys(verdicts.verdicts, flagged))
            self.board.submit(bundle, verdicts)
        config = uvicorn.Config(create_app(self.board), port=0, log_config=None)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        while not self._server.started:
            threading.Event().wait(0.02)
        (socket,) = self._server.servers[0].sockets
        self.address = f"http://127.0.0.1:{socket.getsockname()[1]}"

    @contextmanager
    def working(self) -> Iterator[None]:
        worker, stop = Worker(self.board, processes=0), threading.Event()
        thread = threading.Thread(target=worker.run, args=(stop,))
        thread.start()
        yield
        stop.set()
        thread.join()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self.board.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    found = Served(tmp_path_factory.mktemp("served"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("Chromium is not installed (tools/install-system-packages installs it)")
    with api.sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


class Tab:
    """A page of the browser that collects what goes wrong in it."""

    def __init__(self, browser: Any, served: Served, size: dict[str, int], **context: Any) -> None:
        # Only the accessibility checker needs to get past the content security policy.
        self.page = browser.new_page(viewport=size, **context)
        self.address, self.problems = served.address, list[str]()
        self.page.set_default_timeout(120_000)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on(
            "console",
            lambda message: self.problems.append(message.text) if message.type == "error" else None,
        )
        self.page.on("request", self._check_request)

    def _check_request(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:")):
            self.problems.append(f"loads {request.url}")

    def open(self, path: str) -> Any:
        self.page.goto(f"{self.address}/{path}")
        return self.page

    def names(self) -> list[str]:
        """Return the agents of the rows that are seen, from top to bottom."""
        cells = self.page.locator("table.board tbody tr:not(.group) .agent")
        return [cell.inner_text() for cell in cells.all() if cell.is_visible()]

    def check(self, name: str) -> None:
        """Take a screenshot; nothing may be wider than the window, or inaccessible."""
        folder = os.environ.get("PKUBENCH_SCREENSHOTS")
        if folder:
            self.page.screenshot(path=f"{folder}/{name}.png", full_page=True)
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        self.page.evaluate(AXE)  # by the debugger, which the policy does not bind
        found = self.page.evaluate("axe.run({preload: false})")["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == [], name
        assert self.problems == [], name


def test_a_board_is_sorted_filtered_and_zoomed_by_mouse_and_keyboard(
    chromium: Any, served: Served
) -> None:
    tab = Tab(chromium, served, DESKTOP)
    page = tab.open(f"tasks/{TASK}.html")
    assert tab.names() == ["alpha", "beta", "gamma", "delta"]
    header = page.get_by_role("button", name="Return")
    header.focus()
    page.keyboard.press("Enter")  # ascending, each group by itself
    assert tab.names() == ["gamma", "beta", "alpha", "delta"]
    assert page.locator("th[aria-sort=ascending]").count() == 1
    page.get_by_label("Search").fill("beta")
    assert tab.names() == ["beta"] and page.get_by_role("status").first.inner_text() == "1 of 4"
    assert not page.get_by_text("Flagged: a copy").is_visible()
    page.get_by_label("Search").fill("")
    page.get_by_label("Tier").select_option("flagged")
    assert tab.names() == ["delta"]
    page.get_by_label("Tier").select_option("")
    page.get_by_label("only ranked").check()
    assert tab.names() == ["gamma", "beta", "alpha"]
    assert page.locator(".chart canvas").count() == 1
    key = page.get_by_role("button", name="alpha")
    key.click()
    assert key.get_attribute("aria-pressed") == "false"
    tab.check("task")


@pytest.mark.slow
def test_without_scripts_everything_is_there_but_interaction(chromium: Any, served: Served) -> None:
    tab = Tab(chromium, served, PHONE, java_script_enabled=False)
    page = tab.open(f"tasks/{TASK}.html")
    assert tab.names() == ["alpha", "beta", "gamma", "delta"]
    assert page.locator(".chart svg.curves").count() == 1
    assert not page.get_by_label("Search").is_visible()
    page.get_by_role("link", name="Compare two of these").click()
    page.locator("select[name=a]").select_option(label="alpha")
    page.locator("select[name=b]").select_option(label="gamma")
    page.get_by_role("button", name="Compare").click()
    assert page.locator("h1").inner_text() == "alpha and gamma"
    assert "< 0.001" in page.locator("table.pairs").inner_text()


@pytest.mark.slow
@pytest.mark.parametrize(("size", "where"), [(DESKTOP, "desktop"), (PHONE, "phone")])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_and_fits(
    chromium: Any, served: Served, size: dict[str, int], where: str, scheme: str
) -> None:
    tab = Tab(chromium, served, size, color_scheme=scheme)
    agent, other, *_ = served.board.submissions()
    pages = {
        "index": "",
        "suite": "suites/marl.html",
        "board": f"tasks/{TASK}.html",
        "empty": "tasks/KuhnPoker-v0.html",
        "compare": f"compare/{TASK}.html",
        "pair": f"compare.html?a={agent.digest}&b={other.digest}",
        "agents": "agents.html",
        "agent": f"agents/{agent.name}-{agent.digest[:8]}.html",
        "claims": "claims.html",
        "queue": "queue.html",
        "submit": "submit.html",
        "method": "methodology.html",
    }
    for name, path in pages.items():
        tab.open(path)
        tab.check(f"{where}-{scheme}-{name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"]
)
def test_files_compare_any_two_agents_as_the_records_do(
    chromium: Any, served: Served, tmp_path: Path, size: dict[str, int], scheme: str
) -> None:
    scores = {}
    with Board.open() as board:
        for k in range(COMPARED + 3):
            name = f"agent {k:02d}"
            scores[name] = spread_scores(-30.0 - k, runs=5, episodes=8, seed=k)
            results = write_results(tmp_path, name, TASK, scores[name])
            bundle = create_bundle(results, tmp_path / f"{k}.zip", weights=tmp_path / "weights")
            board.submit(bundle, own_records(bundle))
        export(board, tmp_path / "site")
    tab = Tab(chromium, served, size, color_scheme=scheme)
    tab.address = f"file://{tmp_path}/site"
    page = tab.open(f"compare/{TASK}.html")
    rows, status = page.locator("table.pairs tbody tr"), page.locator("form output")
    assert rows.count() == COMPARED * (COMPARED - 1) // 2
    page.get_by_label("First").select_option(label="agent 18")
    assert status.inner_text() == "choose a second agent"
    page.get_by_label("Second").select_option(label="agent 17")
    rows.last.get_by_text("agent 18").wait_for()
    shown = [row.inner_text() for row in rows.all() if row.is_visible()]
    assert len(shown) == 1 and status.inner_text() == f"1 of {rows.count()}"
    means = [[float(np.mean(run)) for run in scores[name]] for name in ("agent 18", "agent 17")]
    expected = stats.ttest_ind(*means, equal_var=False)
    low, high = expected.confidence_interval()
    for value in (np.mean(means[0]) - np.mean(means[1]), low, high, expected.pvalue):
        text = f"{value:.4g}" if value is not expected.pvalue else f"{value:.2g}"
        assert text.replace("-", "\N{MINUS SIGN}") in shown[0]
    tab.check(f"files-compare-{scheme}")
    page.get_by_label("Second").select_option(label="agent 00")
    page.get_by_label("First").select_option(label="agent 01")
    assert sum(row.is_visible() for row in rows.all()) == 1
    page.get_by_role("link", name="agent 00").locator("visible=true").first.click()
    assert page.locator("h1").inner_text() == "agent 00"
    tab.check(f"files-agent-{scheme}")


@pytest.mark.slow
def test_on_a_phone_a_board_is_sorted_by_a_choice(chromium: Any, served: Served) -> None:
    tab = Tab(chromium, served, PHONE, has_touch=True, is_mobile=True)
    page = tab.open(f"tasks/{TASK}.html")
    page.get_by_label("Sort by").select_option(label="Return ↑, ascending")
    assert tab.names()[:3] == ["gamma", "beta", "alpha"]
    page.get_by_label("Sort by").select_option("")
    assert tab.names() == ["alpha", "beta", "gamma", "delta"]
    tab.check("phone-sorted")


def bundle_of(folder: Path, name: str) -> Bundle:
    task = make_task(TASK)
    evaluate(resolve_agent("random", task), task, episodes=4, workers=0, out=folder)
    return create_bundle(folder / "random", folder / f"{name}.zip", name=name)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "where"), [(DESKTOP, "desktop"), (PHONE, "phone")])
def test_a_bundle_is_submitted_and_its_verdict_arrives(
    chromium: Any, served: Served, tmp_path: Path, size: dict[str, int], where: str
) -> None:
    bundle = bundle_of(tmp_path, f"sent from a {where}")
    tab = Tab(chromium, served, size)
    page = tab.open("submit.html")
    page.get_by_label("Bundle").set_input_files(bundle.path)
    page.get_by_label("Token").fill("pku_wrong")
    page.get_by_role("button", name="Submit").click()
    assert "the token is not known" in page.get_by_role("alert").inner_text()
    tab.problems.clear()  # the browser reports the status 401
    page.get_by_label("Bundle").set_input_files(bundle.path)
    page.get_by_label("Token").fill(Tokens(served.board.database).add("alice"))
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url(f"**/submissions/{bundle.digest}.html")
    assert "number 1 in the queue" in page.get_by_role("status").inner_text()
    tab.check(f"{where}-queued")
    with served.working():  # the page changes by itself
        page.get_by_text("evaluated-here").wait_for()
    assert "accepted" in page.get_by_role("status").inner_text()
    tab.check(f"{where}-accepted")
    page.get_by_role("link", name="Queue").first.click()
    assert bundle.manifest.name in page.locator("main").inner_text()
    tab.check(f"{where}-queue-after")
