"""The built site, as a browser shows it: nox -s site builds it and runs this, with Chromium and its driver.

It wants nothing but the folder build/site, neither the extension nor what other tests share.
"""

from __future__ import annotations

import functools
import html.parser
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

pytestmark = pytest.mark.site

SITE = Path(__file__).resolve().parents[2] / "build" / "site"
PAGES = sorted(path.parent.relative_to(SITE).as_posix() for path in SITE.rglob("index.html"))
WIDTH = 400


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of the site: its search reads a file, which a browser does only over HTTP."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver  # of the docs extra alone
    from selenium.webdriver.chrome.service import Service

    driver = shutil.which("chromedriver")
    assert driver, "chromedriver is needed: on Debian, apt-get install chromium-driver"
    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(option)
    chromium = webdriver.Chrome(options=options, service=Service(driver))
    yield chromium
    chromium.quit()


def show(browser: Any, address: str, width: int = 1280, scheme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == WIDTH}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(address)


def test_the_search_finds_a_function(browser: Any, site: str) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    show(browser, site)
    wait = WebDriverWait(browser, 20)
    wait.until(lambda _: browser.find_element(By.CSS_SELECTOR, ".md-search__button")).click()
    wait.until(lambda _: browser.execute_script("return document.activeElement.shadowRoot !== null"))
    search = browser.switch_to.active_element
    search.send_keys("llama_decode")
    results = wait.until(lambda _: search.shadow_root.find_elements(By.CSS_SELECTOR, "a[role=option]"))
    page, fragment = urldefrag(results[0].get_attribute("href"))
    assert (urlsplit(page).path, fragment) == ("/reference/batch/", "llama_decode")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_no_wider_than_a_narrow_screen(browser: Any, site: str, page: str) -> None:
    show(browser, f"{site}{page}/", WIDTH)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= WIDTH


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["", "reference/batch/", "tour/decode/"])
def test_text_stands_out_in_light_and_dark(browser: Any, site: str, page: str, scheme: str) -> None:
    """4.5 is the least contrast that WCAG 2 asks of text (AA)."""
    show(browser, site + page, scheme=scheme)
    back, *colors = browser.execute_script(COLORS)
    assert (luminance(back) < 0.5) == (scheme == "dark")
    assert min(contrast(back, color) for color in colors) >= 4.5


# The background, and the colors of text and links, as red, green and blue from 0 to 255, painted on it.
COLORS = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const back = getComputedStyle(document.body).backgroundColor;
const painted = color => {
    for (canvas.fillStyle of [back, color]) canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const shown = document.querySelectorAll(".md-content :is(h1, p, li, td, a[href]:not(.headerlink))");
return [back, ...new Set([...shown].map(one => getComputedStyle(one).color))].map(painted);
"""


def luminance(color: list[int]) -> float:
    """By WCAG 2: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    red, green, blue = (c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: list[int], other: list[int]) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


class Links(html.parser.HTMLParser):
    """What a page links to, and the names in it that may be linked to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.names: set[str] = {""}
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.names |= {given.get("id") or ""}
        self.targets |= {given.get("href") or "", given.get("src") or ""}


@functools.cache
def links(page: Path) -> Links:
    return Links(page)


def leads_somewhere(page: str, target: str) -> bool:
    address, fragment = urldefrag(urljoin(f"/{page}/", target))
    file = SITE / unquote(address).lstrip("/")
    file = file / "index.html" if file.is_dir() else file
    return file.exists() and (not fragment or file.suffix != ".html" or unquote(fragment) in links(file).names)


@pytest.mark.parametrize("page", PAGES)
def test_no_link_is_broken(page: str) -> None:
    targets = links(SITE / page / "index.html").targets
    inner = {target for target in targets if not urlsplit(target).scheme and not urlsplit(target).netloc}
    assert {target for target in inner if not leads_somewhere(page, target)} == set()


def test_the_site_asks_no_other_server_for_anything(browser: Any, site: str) -> None:
    show(browser, f"{site}reference/ggml/")
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert {address for address in loaded if not address.startswith(site)} == set()
