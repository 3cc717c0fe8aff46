"""The page in a real browser: skipped where none of these is installed (Debian: `apt-get install chromium`)."""

import json
import re
import shutil
import subprocess

import pytest

from dstc.reporting.page import page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PHONE, DESKTOP = 390, 1400  # pixels
# The page lies in a frame of the width of a phone or of a desktop, since a window has a least width of its own.
PROBE = """<!DOCTYPE html><pre id="found"></pre><iframe src="report.html" style="width: WIDTHpx; height: 900px; border: 0"></iframe>
<script>
addEventListener("load", () => {
const frame = document.querySelector("iframe").contentWindow, page = frame.document, found = {};
const all = (selector) => [...page.querySelectorAll(selector)];
const seen = (selector) => all(selector).filter((one) => one.getClientRects().length);
const choose = (name, value) => page.querySelector(`input[name=${name}][value='${value}']`).click();
const state = () => [seen("[data-network]").map((one) => one.alt), seen("[data-against]").map((one) => one.dataset.against), seen(".step").length];
const scrolls = (one) => one.closest(".scroll");
found.before = state();
choose("network", "warm-up target"); choose("against", "warm_up_source");
const slider = page.getElementById("step"); slider.value = 0; slider.dispatchEvent(new Event("input"));
found.after = state();
found.iteration = page.getElementById("iteration").textContent;
seen("[data-network]")[1].closest("button").click();
const dialog = page.querySelector("dialog");
found.large = [dialog.open, dialog.innerText.trim(), dialog.querySelector("img").clientWidth > 0.8 * WIDTH, dialog.getBoundingClientRect().right <= WIDTH];
dialog.click(); found.closed = !dialog.open;
for (const one of all("details")) one.open = true;
found.page = page.documentElement.scrollWidth;
found.cut = seen("body *").filter((one) => !scrolls(one) && (one.getBoundingClientRect().right > WIDTH || one.getBoundingClientRect().left < 0)).map((one) => one.outerHTML.slice(0, 80));
const outside = (one, box) => one.left < box.left - 1 || one.right > box.right + 1 || one.top < box.top - 1 || one.bottom > box.bottom + 1;
found.letters_cut = seen("svg text").filter((one) => outside(one.getBoundingClientRect(), one.closest("svg").getBoundingClientRect())).map((one) => one.textContent);
found.width = page.body.clientWidth;
found.ends = ["#classes", "#data", "#confusions", "#cost"].map((name) => Math.max(...seen(`${name} svg, ${name} table`).map((one) => (one.closest(".scroll") || one).getBoundingClientRect().right)));
found.paper = frame.getComputedStyle(page.body).backgroundColor;
found.letters = [page.body, page.querySelector("svg text")].map((one) => frame.getComputedStyle(one)[one === page.body ? "color" : "fill"]);
found.pictures = [...page.images].every((image) => image.complete && image.naturalWidth > 0);
found.fetched = frame.performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
document.getElementById("found").textContent = JSON.stringify(found);
});
</script>"""  # noqa: E501 - the script of a browser


@pytest.fixture
def opened(results, tmp_path):
    """Opens the page at a width: what the browser says on its error output, and what the probe found."""
    if BROWSER is None:
        pytest.skip("no chromium or chrome on the path")
    (tmp_path / "report.html").write_text(page(results))

    def open_at(width, *options):
        (tmp_path / "probe.html").write_text(PROBE.replace("WIDTH", str(width)))
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *options]
        command += ["--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
        command += ["--window-size=1600,1000", (tmp_path / "probe.html").as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stderr, json.loads(re.search(r'<pre id="found">(.*?)</pre>', done.stdout)[1])

    return open_at


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_all_can_be_chosen_nothing_is_fetched_or_cut_off_and_the_console_is_silent(opened, width):
    said, found = opened(width)
    assert "CONSOLE" not in said
    both = [f"&lt;i&gt;{image}: {kind}" for image in "01" for kind in ("", "errors: ")]
    assert found["before"] == [[f"{what}average of branches" for what in both], ["joint"], 1]
    assert found["after"] == [[f"{what}warm-up target" for what in both], ["warm_up_source"], 1]
    assert found["iteration"] == "100"
    assert found["large"] == [True, "&lt;i&gt;0: errors: warm-up target", True, True]
    assert found["closed"] is True
    assert found["fetched"] == []
    assert found["pictures"] is True
    assert found["cut"] == []
    assert found["page"] <= width
    assert found["letters_cut"] == []
    assert found["width"] > 0.95 * width
    assert found["paper"] == "rgb(255, 255, 255)"
    assert len(set(found["letters"])) == 1  # charts are in the color of the text


def test_a_desktop_is_used_in_its_whole_width(opened):
    _, found = opened(DESKTOP)
    assert min(found["ends"]) > 0.75 * DESKTOP


def test_in_dark_mode_letters_are_light_on_dark_in_the_charts_too(opened):
    _, found = opened(DESKTOP, "--blink-settings=preferredColorScheme=0")
    assert found["paper"] == "rgb(20, 22, 26)"
    assert found["letters"] == ["rgb(230, 232, 235)"] * 2
