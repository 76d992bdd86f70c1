"""The page in a real browser: it loads without an error, sorts, filters, and opens a cell's record.

Chromium is driven over its debugging pipe, with nothing but the standard library.
"""

from __future__ import annotations

import base64
import csv
import io
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


def unfold(browser: Browser) -> None:
    """Opens every section."""
    browser.run("document.querySelectorAll('details').forEach(e => { e.open = true; })")


def press(browser: Browser, key: str) -> None:
    """A key, as the keyboard sends it to what has the focus."""
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)


def promised(browser: Browser, script: str) -> Any:
    """The value that a promise in the page comes to."""
    answer = browser.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
    assert "exceptionDetails" not in answer, answer
    return answer["result"].get("value")


def rows(browser: Browser) -> list[list[str]]:
    """The methods of the visible table, those above the rule and the controls."""
    script = (
        "[...document.querySelector('.table1[data-protocol=table]').tBodies]"
        ".map(b => [...b.rows].map(r => r.dataset.method).filter(m => m !== undefined))"
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
    assert browser.run("document.getElementById('status').innerText").endswith("numbers shown")
    choose(browser, "view", "paper")
    assert browser.run(f"{visible}[0].innerText.trim()").startswith("0.513")
    for name in ("dataset", "metric"):
        choose(browser, name, "")
    choose(browser, "view", "compact")


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
    for word in ("IPS on Coat, as printed", "python -m bench protocol=table", "learning rate", "0.7440"):
        assert word in text
    assert browser.run("document.querySelectorAll('#record polyline').length") == 8
    browser.run("document.querySelector('#record .close').click()")
    assert not browser.run("document.getElementById('record').open")


def test_charts_are_drawn_once_they_come_near(browser: Browser, page: Path) -> None:
    browser.open(page)
    unfold(browser)
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
    # What came as differences is an AUC again: all lines lie within the chart.
    heights = f"[...{first}.querySelectorAll('polyline.seed')].flatMap(e => [...e.points].map(p => p.y))"
    high = browser.run(f"{first}.querySelector('svg').viewBox.baseVal.height")
    drawn = browser.run(heights)
    assert 0 < min(drawn) < max(drawn) < high
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


def test_print_has_the_notes_and_no_folded_section_and_is_light(browser: Browser, page: Path) -> None:
    notes = "document.querySelector('#table details.notes').open"
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.call("Emulation.setEmulatedMedia", media="print", features=dark)
    browser.open(page, 718, 1000)
    link = "getComputedStyle(document.querySelector('header a')).color"
    assert browser.run(link) == "rgb(11, 90, 148)"
    shown = "[...document.querySelectorAll('section')].filter(e => e.checkVisibility()).map(e => e.id).join()"
    assert browser.run(shown) == "verdict,table"
    browser.run("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.run(notes)
    browser.run("window.dispatchEvent(new Event('afterprint'))")
    assert not browser.run(notes)
    browser.call("Emulation.setEmulatedMedia", media="", features=[])


def test_a_shadow_says_that_the_table_goes_on_below(browser: Browser, page: Path) -> None:
    browser.open(page, 1280, 260)
    frame = "document.querySelector('.edge:has(> .grid)')"
    assert browser.run(f"{frame}.classList.contains('below')")
    browser.run(f"{frame}.firstElementChild.scrollTo(0, 1e6)")
    browser.run("new Promise(requestAnimationFrame)")
    deadline = time.monotonic() + 5
    while browser.run(f"{frame}.classList.contains('below')"):
        assert time.monotonic() < deadline


def test_print_holds_the_table(browser: Browser, page: Path) -> None:
    """On A4 in portrait with margins of one centimetre, 718 pixels wide."""
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.open(page, 718, 1000)
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
    wide = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert browser.run(wide) == 0
    browser.call("Emulation.setEmulatedMedia", media="")


# --- Links ----------------------------------------------------------------------------------------------


def test_a_link_to_a_section_opens_and_keeps_it(browser: Browser, page: Path) -> None:
    browser.open(page, fragment="curves")
    section = "document.getElementById('curves')"
    assert browser.run(f"{section}.querySelector('details').open")
    assert browser.run(f"Math.abs({section}.getBoundingClientRect().top) < window.innerHeight / 2")
    assert browser.run("location.hash") == "#curves"
    choose(browser, "dataset", "coat")
    assert browser.run("location.hash") == "#curves&dataset=coat"
    browser.run("document.querySelector('nav a[href=\"#forest\"]').click()")
    assert browser.run("location.hash") == "#forest&dataset=coat"


def test_a_choice_can_be_taken_back(browser: Browser, page: Path) -> None:
    browser.open(page)
    value = "document.querySelector('select[name=dataset]').value"
    choose(browser, "dataset", "coat")
    choose(browser, "dataset", "kuairec")
    browser.run("history.back()")
    wait(browser, f"{value} === 'coat'")
    browser.run("history.back()")
    wait(browser, f"{value} === ''")
    assert browser.run("location.hash") == ""


def test_a_sort_is_a_link(browser: Browser, page: Path) -> None:
    browser.open(page, fragment="sort=-coat-auc")
    assert rows(browser)[0] == ["dr", "mf", "ips", "ultd_jl"]
    browser.run("document.querySelector('.table1[data-protocol=table] th[data-key=coat-auc] button').click()")
    assert browser.run("location.hash") == "#sort=coat-auc"
    assert rows(browser)[0] == ["ips", "mf", "dr", "ultd_jl"]


def test_a_cell_is_a_link_and_has_neighbours(browser: Browser, page: Path) -> None:
    browser.open(page, 390, 844, fragment="cell=table/coat/mf/auc")
    record, title = "document.getElementById('record')", "document.getElementById('record-title').innerText"
    assert browser.run(f"{record}.open") and browser.run(title) == "MF on Coat, as printed"
    # The way out and the arrows stay while the record scrolls.
    browser.run("document.getElementById('record-body').scrollTop = 500")
    top = f"{record}.querySelector('.close').getBoundingClientRect().top"
    assert browser.run(f"{top} >= 0 && {top} < window.innerHeight")
    assert browser.run(f"{record}.querySelector('[data-step=up]').disabled")
    browser.run(f"{record}.querySelector('[data-step=down]').click()")
    assert browser.run(title) == "IPS on Coat, as printed"
    assert browser.run("location.hash") == "#cell=table%2Fcoat%2Fips%2Fauc"
    browser.run(f"{record}.querySelector('[data-step=right]').click()")
    assert "Coat N@5: ours 0.5340" in browser.run(f"{record}.innerText")
    assert browser.run(f"{record}.querySelectorAll('.copy').length") == 2
    browser.run(f"{record}.querySelector('.close').click()")
    wait(browser, "location.hash === ''")
    assert not browser.run(f"{record}.open")


# --- Cards and heat map follow; nothing ends in an empty table ------------------------------------------


def test_cards_and_heat_map_follow_the_filters(browser: Browser, page: Path) -> None:
    browser.open(page)
    big = "document.querySelector('.card .big').innerText"
    word = "document.querySelector('.heat tr[data-method=dr] .held').innerText"
    whole, row = browser.run(big), browser.run(word)
    assert whole.endswith("of 9") and row.endswith("of 3")
    choose(browser, "metric", "auc")
    assert browser.run(big).endswith("of 3")
    assert browser.run(word) == "differs surely 1 of 1"
    choose(browser, "protocol", "text")
    assert browser.run(big) == "—"
    nothing = "[...document.querySelectorAll('#verdict .none')].find(e => e.offsetParent !== null).innerText"
    assert "compared with nothing" in browser.run(nothing)
    browser.run("document.querySelector('#filters .reset').click()")
    assert (browser.run(big), browser.run(word)) == (whole, row)


def test_an_empty_choice_says_so_and_has_a_way_back(browser: Browser, page: Path) -> None:
    browser.open(page, fragment="protocol=text&dataset=kuairec")
    table = "document.querySelector('.table1[data-protocol=text]').offsetParent"
    assert browser.run(f"{table} === null")
    button = "[...document.querySelectorAll('#table .none .reset')].find(e => e.offsetParent !== null)"
    browser.run(f"{button}.click()")
    assert browser.run("document.querySelector('.table1[data-protocol=table]').offsetParent !== null")
    assert browser.run("location.hash") == ""


# --- The table's frame, its keys, its files -------------------------------------------------------------


@pytest.mark.parametrize(("width", "on_phone"), [(1280, False), (390, True)])
def test_headings_stay_over_their_columns(browser: Browser, page: Path, width: int, on_phone: bool) -> None:
    browser.open(page, width, 500, fragment="table")
    frame = "document.querySelector('.grid')"
    # However small the table of this test is.
    browser.run(f"{frame}.style.cssText = 'max-height: 120px; max-width: 300px'; {frame}.scrollTo(90, 60)")
    box = "getBoundingClientRect()"
    assert browser.run(f"{frame}.scrollTop > 40 && {frame}.scrollLeft > 40")
    assert browser.run(f"Math.abs({frame}.querySelector('thead').{box}.top - {frame}.{box}.top) < 2")
    row = f"{frame}.querySelector('tbody th[scope=row]').{box}.left"
    corner = f"{frame}.querySelector('th[data-key=method]').{box}.left"
    assert browser.run(f"Math.abs({row} - {frame}.{box}.left) < 2 && Math.abs({row} - {corner}) < 2")
    # On phones, where the data sets' own heading has no room, every column names its data set.
    named = browser.run(f"{frame}.querySelector('th[data-key=coat-auc] .of').offsetWidth > 10")
    assert named is on_phone
    wait(browser, f"{frame}.parentElement.classList.contains('right')")


def test_arrow_keys_move_between_numbers(browser: Browser, page: Path) -> None:
    browser.open(page)
    stops = "[...document.querySelectorAll('{} button.cell')].filter(e => e.tabIndex === 0).length"
    tables = "document.querySelectorAll('.table1[data-protocol=table]')"
    assert browser.run(f"{tables}.length") == 1
    assert browser.run(stops.format(".table1[data-protocol=table]")) == 1
    browser.run(
        "document.querySelector('.table1 tr[data-method=mf] td[data-metric=auc] button.cell').focus()"
    )
    name = "document.activeElement.ariaLabel.split(':')[0]"
    for key, expected in (
        ("ArrowRight", "MF, Coat N@5"),
        ("ArrowDown", "IPS, Coat N@5"),
        ("ArrowDown", "DR, Coat N@5"),
        ("ArrowDown", "Mean, Coat N@5"),  # JL has no number there
        ("ArrowUp", "DR, Coat N@5"),
        ("Home", "DR, Coat AUC"),
        ("ArrowLeft", "DR, Coat AUC"),
    ):
        press(browser, key)
        assert browser.run(name) == expected, key
    assert browser.run("document.activeElement.tabIndex") == 0
    assert browser.run(stops.format(".table1[data-protocol=table]")) == 1


def test_what_is_shown_can_be_downloaded(browser: Browser, page: Path) -> None:
    browser.open(page, fragment="dataset=coat&metric=ndcg")
    script = (
        "(async () => { let made; const real = URL.createObjectURL;"
        "URL.createObjectURL = (blob) => { made = blob; return real(blob); };"
        "document.addEventListener('click', (e) => { if (e.target.download) e.preventDefault(); });"
        "document.getElementById('csv').click(); return made.text(); })()"
    )
    found = list(csv.DictReader(io.StringIO(promised(browser, script))))
    entries = csv.DictReader((page.parent / "table1.csv").read_text(encoding="utf-8").splitlines())
    expected = [
        each
        for each in entries
        if (each["protocol"], each["dataset"], each["metric"], each["no_positive"])
        == ("table", "coat", "ndcg", "skip")
        and each["mean"]
    ]
    assert len(found) == len(expected) == 4
    for ours, theirs in zip(found, expected, strict=True):
        for name in ("protocol", "dataset", "method", "metric", "mean", "std", "n", "paper", "delta"):
            assert ours[name] == theirs[name], name


@pytest.mark.parametrize("name", ["table1.csv", "seeds.csv"])
def test_a_run_of_ones_own_stands_beside_the_table(browser: Browser, page: Path, name: str) -> None:
    """The table's own file is dropped on it, one row under another name: no number differs."""
    browser.open(page)
    text = (page.parent / name).read_text(encoding="utf-8").replace(",dr,", ",mine,")
    script = (
        f"(async () => {{ const d = new DataTransfer(); const text = {json.dumps(text)};"
        "d.items.add(new File([text], 'own.csv')); const how = { dataTransfer: d, bubbles: true };"
        "document.dispatchEvent(new DragEvent('drop', { ...how, cancelable: true }));"
        "await new Promise(done => setTimeout(done, 50)); })()"
    )
    promised(browser, script)
    beside = "[...document.querySelectorAll('.table1[data-protocol=table] .own')].map(e => e.textContent)"
    found = browser.run(beside)
    assert len(found) == 15 and found[0] == "own 0.750 (0.000)"
    assert all(each.endswith("(0.000)") for each in found)
    mine = "document.querySelector('.table1[data-protocol=table] tbody.dropped tr').innerText.split(/\\s+/)"
    assert browser.run(mine)[:5] == ["mine", "own", "0.770", "0.526", "0.542"]
    browser.run("document.getElementById('own-off').click()")
    assert browser.run("document.querySelectorAll('.own, tbody.dropped').length") == 0
    promised(browser, script.replace(json.dumps(text), json.dumps("a,b\n1,2\n")))
    assert "is no table1.csv" in browser.run("document.getElementById('own-status').innerText")


def test_ranks_follow_the_filters(browser: Browser, page: Path) -> None:
    browser.open(page, fragment="ranks")
    names = "[...document.querySelectorAll('#ranks-body th')].map(e => e.innerText)"
    assert len(browser.run(names)) == 2
    choose(browser, "dataset", "coat")
    assert len(browser.run(names)) == 3
    assert browser.run("document.querySelectorAll('#ranks-chart svg').length") == 1
    assert browser.run("document.querySelectorAll('.wins tbody td').length") == 9


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
