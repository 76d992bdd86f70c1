"""The page in a real browser: it loads without an error, sorts, filters, and opens a cell's record.

Chromium is driven over its debugging pipe, with nothing but the standard library.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import report, table
from tests.bench.small_results import make_results

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt install chromium")


class Browser:
    """A headless Chromium that shows one page."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        shell = ["bash", "-c", f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}', CHROMIUM]
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        # The browser reads from descriptor 3 and writes to 4.
        self._process = subprocess.Popen(
            [*shell, *options, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.said: list[str] = []  # errors and messages of the console, and requests to the network
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(each["targetId"] for each in targets if each["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self._note(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._in, 1 << 20)
            assert part, "The browser is gone."
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(text))

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method", ""), event.get("params", {})
        if method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.said.append(json.dumps(parameters))
        elif method == "Network.requestWillBeSent":
            url = parameters["request"]["url"]
            if not url.startswith(("file:", "data:", "about:")):
                self.said.append(url)

    def open(self, file: Path, width: int = 1280, height: int = 900, fragment: str = "") -> None:
        """Shows a file, in a window of so many pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call("Page.navigate", url="about:blank")  # a new fragment alone would load nothing
        self.call("Page.navigate", url=file.resolve().as_uri() + f"#{fragment}" * bool(fragment))
        while self.run("document.readyState") != "complete" or self.run("location.protocol") != "file:":
            pass

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, file: Path) -> None:
        """Saves what the window shows as PNG."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """Ends the browser."""
        os.close(self._out)
        self._process.terminate()
        self._process.wait()
        os.close(self._in)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = make_results(tmp_path_factory.mktemp("results"))
    table.write_table(results)
    assert report.main(["--results", str(results)]) == 0
    return results / "table1" / "index.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


def choose(browser: Browser, name: str, value: str) -> None:
    browser.run(
        f"(() => {{ const s = document.querySelector('select[name={name}]'); s.value = '{value}';"
        "s.dispatchEvent(new Event('change')); })()"
    )


def wait(browser: Browser, condition: str) -> None:
    """Until a condition holds in the page, some seconds at most."""
    end = time.monotonic() + 10
    while not browser.run(condition):
        assert time.monotonic() < end, condition


def rows(browser: Browser) -> list[list[str]]:
    """The methods of the visible table, those above the rule and the controls."""
    script = (
        "[...document.querySelector('.table1[data-protocol=table]').tBodies]"
        ".map(b => [...b.rows].map(r => r.dataset.method))"
    )
    return list(browser.run(script))


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_loads_without_a_word_and_fits_its_window(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width)
    assert browser.run("document.querySelectorAll('button.cell').length") > 0
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.said == []


def test_headings_sort_within_rows_and_controls(browser: Browser, page: Path) -> None:
    browser.open(page)
    order = rows(browser)
    assert order[1] == ["item_mean"]
    click = "document.querySelector('.table1[data-protocol=table] th[data-key=coat-auc] button').click()"
    heading = "document.querySelector('.table1[data-protocol=table] th[data-key=coat-auc]')"
    browser.run(click)
    # What is missing stays last either way.
    assert rows(browser) == [["dr", "mf", "ips", "ultd_jl"], ["item_mean"]]
    assert browser.run(f"{heading}.getAttribute('aria-sort')") == "descending"
    browser.run(click)
    assert rows(browser)[0] == ["ips", "mf", "dr", "ultd_jl"]
    browser.run(click)
    assert rows(browser) == order
    assert browser.run(f"{heading}.getAttribute('aria-sort')") is None


def test_filters_leave_what_is_chosen(browser: Browser, page: Path) -> None:
    browser.open(page)
    visible = "[...document.querySelectorAll('.table1 td[data-metric]')].filter(e => e.offsetParent !== null)"
    seen = f"[...new Set({visible}.map(e => e.dataset.dataset + ' ' + e.dataset.metric))]"
    assert len(browser.run(seen)) == 6
    choose(browser, "dataset", "coat")
    choose(browser, "metric", "ndcg")
    assert browser.run(seen) == ["coat ndcg"]
    assert browser.run("location.hash") == "#dataset=coat&metric=ndcg"
    head = "document.querySelector('.table1[data-protocol=table] th[scope=colgroup][data-dataset=coat]')"
    assert browser.run(f"{head}.colSpan") == 1
    choose(browser, "protocol", "text")
    assert browser.run(f"{visible}.every(e => e.closest('table').dataset.protocol === 'text')")
    choose(browser, "protocol", "table")
    choose(browser, "view", "delta")
    assert browser.run(f"{visible}[0].innerText.trim()").startswith("+0.007")
    choose(browser, "view", "paper")
    assert browser.run(f"{visible}[0].innerText.trim()").startswith("0.513")
    for name in ("dataset", "metric"):
        choose(browser, name, "")
    choose(browser, "view", "all")


def test_the_address_brings_a_choice_back(browser: Browser, page: Path) -> None:
    browser.open(page)
    choose(browser, "dataset", "kuairec")
    browser.call("Page.reload")
    while browser.run("document.readyState") != "complete":
        pass
    assert browser.run("document.querySelector('select[name=dataset]').value") == "kuairec"
    choose(browser, "dataset", "")


def test_a_cell_opens_its_record(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("document.querySelector('tr[data-method=ips] td[data-dataset=coat] button.cell').click()")
    assert browser.run("document.getElementById('record').open")
    text = browser.run("document.getElementById('record').innerText")
    for word in ("IPS on Coat, protocol table", "python -m bench protocol=table", "learning rate", "0.7440"):
        assert word in text
    assert browser.run("document.querySelectorAll('#record polyline').length") == 8
    browser.run("document.querySelector('#record .close').click()")
    assert not browser.run("document.getElementById('record').open")


def test_charts_are_drawn_once_they_come_near(browser: Browser, page: Path) -> None:
    browser.open(page)
    figures = "document.querySelectorAll('figure[data-{}] svg').length"
    for section, kind, expected in (
        ("curves", "curves", 6),
        ("sensitivity", "points", 6),
        ("rates", "rates", 2),
    ):
        browser.run(f"document.getElementById('{section}').scrollIntoView()")
        wait(browser, f"{figures.format(kind)} >= {expected}")
    # The seeds' lines, a dot for each where its parameters were kept; nothing after a seed's end.
    first = "document.querySelector('figure[data-curves]')"
    assert browser.run(f"{first}.querySelectorAll('polyline.seed').length") == 8
    assert browser.run(f"{first}.querySelectorAll('circle.kept').length") == 8
    ends = f"[...{first}.querySelectorAll('polyline.seed')].map(e => e.points.length)"
    assert browser.run(ends) == [4] + [6] * 7
    swept = "document.querySelector('figure[data-points]')"
    assert browser.run(f"{swept}.querySelector('svg').ariaLabel").startswith("learning rate: 0.01 gives 0.7")
    assert browser.run(f"{swept}.querySelector('figcaption').innerText") == "learning rate 0.010"
    choose(browser, "protocol", "text")
    browser.run("document.getElementById('curves').scrollIntoView()")
    wait(browser, f"{figures.format('curves')} > 6")
    choose(browser, "protocol", "table")
    assert browser.said == []


def test_printing_draws_every_chart(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    empty = (
        "[...document.querySelectorAll('figure')].filter(e => e.querySelectorAll('svg').length !== 1).length"
    )
    assert browser.run(empty) == 0


def test_a_link_to_a_section_stays_one(browser: Browser, page: Path) -> None:
    browser.open(page, fragment="curves")
    assert browser.run("location.hash") == "#curves"
    choose(browser, "dataset", "coat")
    assert browser.run("location.hash") == "#dataset=coat"
    choose(browser, "dataset", "")


def test_a_cell_without_its_record_says_so(browser: Browser, page: Path, tmp_path: Path) -> None:
    """As in a fresh clone: the files of the table are there, the records are not."""
    results = tmp_path / "results"
    shutil.copytree(page.parents[1], results)
    shutil.rmtree(results / "runs")
    assert report.main(["--results", str(results)]) == 0
    browser.open(results / "table1" / "index.html")
    browser.run("document.querySelector('button.cell').click()")
    text = browser.run("document.getElementById('record').innerText")
    assert "record is not here" in text and "one line for each seed" in text
    assert browser.said == []
