"""The page in a real browser: skipped where none of these is installed."""

import json
import re
import shutil
import subprocess

import pytest

from dstc.reporting.page import page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PHONE = 360  # pixels
PROBE = f"""<pre id="found"></pre><script>
const shown = (selector) => [...all(selector)].flatMap((one, position) => one.hidden ? [] : [position]);
const move = (id, value) => {{ const slider = document.getElementById(id); slider.value = value; slider.dispatchEvent(new Event("input")); }};
const found = {{ before: [shown(".layer"), shown(".step")] }};
document.querySelector("input[name=view][value='1']").click();
move("step", 0); move("strength", 25);
found.after = [shown(".layer"), shown(".step")];
found.iteration = document.getElementById("iteration").textContent;
found.strength = getComputedStyle(document.querySelector(".layer:not([hidden])")).opacity;
found.paper = getComputedStyle(document.body).backgroundColor;
found.letters = [document.body, document.querySelector("svg text")].map((one) => getComputedStyle(one)[one === document.body ? "color" : "fill"]);
document.body.style.cssText = "width: {PHONE}px; margin: 0";
found.overflow = [...all("body, section, section > *, figure, svg, img")].filter((one) => one.getBoundingClientRect().right > {PHONE}).length;
found.pictures = [...document.images].every((image) => image.complete && image.naturalWidth > 0);
found.fetched = performance.getEntriesByType("resource").map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
document.getElementById("found").textContent = JSON.stringify(found);
</script></body>"""  # noqa: E501 - the script of a browser


def opened(path, *options):
    """What the browser says on its error output, and what the probe found."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *options]
    command += [f"--user-data-dir={path.parent / 'profile'}", "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stderr, json.loads(re.search(r'<pre id="found">(.*?)</pre>', done.stdout)[1])


@pytest.fixture
def probed(results, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page(results).replace("</body>", PROBE))
    return path


@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on the path")
def test_tabs_and_sliders_work_nothing_is_fetched_and_a_phone_is_wide_enough(probed):
    said, found = opened(probed)
    assert "CONSOLE" not in said
    assert found["before"] == [[5, 11], [4]]
    assert found["after"] == [[1, 7], [0]]
    assert found["iteration"] == "100"
    assert found["strength"] == "0.25"
    assert found["fetched"] == []
    assert found["pictures"] is True
    assert found["overflow"] == 0
    assert found["paper"] == "rgb(255, 255, 255)"
    assert len(set(found["letters"])) == 1  # charts are in the color of the text


@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on the path")
def test_in_dark_mode_letters_are_light_on_dark_in_the_charts_too(probed):
    _, found = opened(probed, "--blink-settings=preferredColorScheme=0")
    assert found["paper"] == "rgb(20, 22, 26)"
    assert found["letters"] == ["rgb(230, 232, 235)"] * 2
