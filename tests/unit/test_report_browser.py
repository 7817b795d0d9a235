"""The report in a real browser: Debian's Chromium, without a network."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import build_report
import synthetic

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
AXE = "axe-core@4.14.1"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
ATTACKS = [
    "</script><script>window.hacked = 1</script>",
    '<img src=x onerror="window.hacked = 1"><svg onload="window.hacked = 1">',
    "$\\href{javascript:window.hacked=1}{x} \\includegraphics{http://localhost/x}$",
    "left \u202e thgir \x1b[31mred\x1b[0m \u2028 end",
    "<style>body { display: none }</style><base href='http://localhost/'>",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None,
        reason="needs Chromium on the PATH: apt-get install chromium",
    ),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    arguments = synthetic.write_recipe(folder, synthetic.Size(24, 4, 40), ATTACKS)
    out = folder / "reports" / "synthetic.html"
    assert build_report.main([*arguments, "--out", str(out)]) == 0
    return out.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """A page and everything that it did besides showing itself."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.faults: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self._console(message))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)


@pytest.fixture
def watched(browser: Browser, report: str) -> Iterator[Watched]:
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, offline=True, reduced_motion="reduce"
    )
    # What a busy machine does late is no fault of the page.
    context.set_default_timeout(120_000)
    watched = Watched(context.new_page())
    watched.page.goto(report)
    yield watched
    assert watched.faults == []
    outside = [
        url for url in watched.requests if not url.startswith(("file:", "data:"))
    ]
    assert outside == []
    assert watched.page.evaluate("window.hacked") is None
    context.close()


def count(page: Page) -> int:
    return count_of(page.locator("#count").inner_text())


def count_of(text: str) -> int:
    return int(text.split()[0].replace(",", ""))


def test_the_page_opens_and_is_quiet(watched: Watched) -> None:
    page = watched.page
    assert page.title() == "synthetic · Retrace report"
    assert page.locator("table.scores tbody tr").count() > 9
    assert len([url for url in watched.requests if url.startswith("file:")]) == 1


def test_search_and_filters_by_keyboard(watched: Watched) -> None:
    page = watched.page
    everything = page.locator("#count").inner_text()
    page.keyboard.press("/")
    page.keyboard.type("crate holds")
    found = count(page)
    assert 0 < found < count_of(everything)
    page.keyboard.press("Tab")
    page.keyboard.type("train-sums")
    narrowed = count(page)
    assert 0 < narrowed < found
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.type("truncated")
    assert 0 < count(page) < narrowed
    assert page.locator("#row .badge").first.inner_text() == "truncated"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function(
        f"document.getElementById('count').innerText === '{everything}'"
    )


def test_a_search_that_finds_nothing_says_so(watched: Watched) -> None:
    watched.page.fill("#search", "no such words anywhere")
    assert count(watched.page) == 0
    assert "No row fits" in watched.page.locator("#row").inner_text()


def test_keys_walk_through_the_rows(watched: Watched) -> None:
    page = watched.page
    current = page.locator("#list [aria-current=true]")
    first = current.get_attribute("data-id")
    for _ in range(65):
        page.keyboard.press("j")
    assert page.locator("#page").inner_text().startswith("2 of")
    for _ in range(65):
        page.keyboard.press("k")
    assert current.get_attribute("data-id") == first


def test_lineage_opens(watched: Watched) -> None:
    page = watched.page
    page.select_option("#filter-fate", "training row")
    summary = page.locator("#row summary", has_text="Lineage")
    summary.focus()
    page.keyboard.press("Enter")
    page.locator("#row .lineage li").first.wait_for()
    steps = page.locator("#row .lineage li").all_inner_texts()
    kinds = [step.split()[0] for step in steps]
    assert kinds == ["problem", "trace", "verdict", "rewrite", "training"]
    assert "retrace lineage" in page.locator("#row").inner_text()


def test_rejected_rows_say_why(watched: Watched) -> None:
    page = watched.page
    page.select_option("#filter-fate", "rejected: select")
    page.locator("#row summary", has_text="Lineage").click()
    assert "select: enough rows" in page.locator("#row .lineage").inner_text()


def test_mathematics_and_code_render(watched: Watched) -> None:
    page = watched.page
    page.select_option("#filter-set", "train-algebra")
    page.select_option("#filter-verdict", "right")
    page.fill("#search", "Find $x$")
    assert page.locator("#row .prose .katex").count() > 3
    assert page.locator("#row .prose .fbox").count() >= 1
    assert "print(" in page.locator("#row .prose pre").first.inner_text()
    font = page.evaluate("document.fonts.check('16px KaTeX_Main')")
    assert font is True


def test_prices_are_not_mathematics(watched: Watched) -> None:
    page = watched.page
    page.fill("#search", "pears at $3 each")
    statement = page.locator("#row .prose").first
    assert "pears at $3 each" in statement.inner_text()
    assert statement.locator(".katex").count() == 0


@pytest.mark.parametrize("number", range(len(ATTACKS)))
def test_foreign_text_does_nothing(watched: Watched, number: int) -> None:
    page = watched.page
    page.fill("#search", ATTACKS[number][:5])
    assert count(page) >= 1
    for fold in page.locator("#row summary").all():
        fold.click()
    page.wait_for_timeout(50)
    shown = page.locator("#row .prose").first
    if number != 2:
        assert ATTACKS[number][:5] in shown.inner_text()
    assert page.locator("#row img, #row script, #row style, #row [href]").count() == 0
    assert page.locator("body").is_visible()


def test_confidential_rows_hide_their_texts(watched: Watched) -> None:
    page = watched.page
    page.select_option("#filter-set", "diamond")
    text = page.locator("#row").inner_text()
    assert "Not shown" in text
    assert "SECRET" not in page.content()


def test_a_link_opens_a_score(watched: Watched) -> None:
    page = watched.page
    page.locator("table.scores a", has_text="student").first.click()
    card = page.locator("#score-sums-student")
    assert card.get_attribute("open") is not None
    assert "temperature" in card.inner_text()


@pytest.mark.parametrize("width", [1440, 768, 390])
def test_nothing_is_wider_than_the_screen(watched: Watched, width: int) -> None:
    watched.page.set_viewport_size({"width": width, "height": 844})
    wide = watched.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width


def test_it_prints(watched: Watched, tmp_path: Path) -> None:
    out = tmp_path / "report.pdf"
    watched.page.pdf(path=out, format="A4", print_background=True)
    assert out.read_bytes().startswith(b"%PDF")
    watched.page.emulate_media(media="print")
    assert not watched.page.locator("#filters").is_visible()
    assert watched.page.locator("table.scores").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(watched: Watched, scheme: Any) -> None:
    axe = axe_script()
    page = watched.page
    page.emulate_media(color_scheme=scheme)
    for fold in page.locator("main details").all():
        fold.evaluate("node => node.open = true")
    result = page.evaluate(axe + "; axe.run()")
    faults = [
        f"{fault['id']}: {node['html'][:160]} {node['failureSummary']}"
        for fault in result["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
    assert faults == []
    assert len(result["passes"]) > 20


def axe_script() -> str:
    """The source of axe-core, from the npm registry once and then from .cache."""
    cache = Path(__file__).parents[2] / ".cache" / AXE
    script = cache / "package" / "axe.min.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip(f"needs {AXE}: install npm, so that the test can fetch it")
        cache.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(
            [npm, "pack", AXE, "--silent"], cwd=cache, capture_output=True, timeout=120
        )
        if packed.returncode:
            pytest.skip(f"needs {AXE}, and the npm registry did not give it")
        with tarfile.open(next(cache.glob("*.tgz"))) as archive:
            file = archive.extractfile("package/axe.min.js")
            assert file is not None
            script.parent.mkdir(exist_ok=True)
            script.write_bytes(file.read())
    source = script.read_bytes()
    assert hashlib.sha256(source).hexdigest() == AXE_SHA256
    return source.decode()
