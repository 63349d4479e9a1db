"""The page in a browser: nothing loaded, nothing broken, everything seen, on a phone, in the dark and on paper."""

import base64
import re

import pytest

from trainbench.report import FIGURE_WORDS

WIDTHS = (400, 1400)

CONTRAST = """
const light = (color) => {
  const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
const ground = getComputedStyle(document.body).backgroundColor;
return [...document.querySelectorAll(arguments[0])].flatMap((element) => {
  const style = getComputedStyle(element);
  return [style.fill, style.stroke].filter((color) => color.startsWith("rgb(")).map((color) => contrast(color, ground));
});
"""


def column(browser, table, index):
    return browser.run(
        f"return [...document.querySelectorAll('#{table} tbody tr')].filter((row) => !row.hidden)"
        f".map((row) => row.cells[{index}].textContent.trim());"
    )


def numbers(texts):
    return [float(found[0]) for text in texts if (found := re.match(r"[\d.]+", text))]


def head(browser, table, text):
    """The button of a column and its number."""
    heads = browser.run(
        f"return [...document.querySelectorAll('#{table} thead th')].map((head) => head.textContent.trim());"
    )
    index = heads.index(text)
    return browser.run(f"return document.querySelectorAll('#{table} thead button')[{index}];"), index


# --- it opens, whole, by itself ---


def test_it_opens_without_an_error_and_asks_for_nothing(browser, page):
    browser.open(page)
    assert browser.logged() == []
    assert browser.requested() == [page.as_uri()]


def test_every_figure_is_seen_and_told(browser, page):
    browser.open(page)
    found = browser.run(
        """return [...document.querySelectorAll("figure")].map((figure) => {
          const plot = figure.querySelector(".plot"), box = plot.getBoundingClientRect();
          const name = document.getElementById(plot.getAttribute("aria-labelledby"));
          return [figure.id, box.width, box.height, plot.querySelectorAll("path").length, name.textContent];
        });"""
    )
    drawn = {path.stem for path in (page.parent / "figures").glob("*.svg")}
    assert {name for name, *_ in found} == {f"figure-{name}" for name in drawn}
    for name, width, height, paths, told in found:
        assert width > 400, name
        assert height > 150, name
        assert paths > 10, name
        assert told == FIGURE_WORDS[name.removeprefix("figure-")][0]


def test_the_answer_is_on_the_first_screen(browser, page):
    browser.open(page)
    assert browser.run("return document.querySelector('.headlines li').getBoundingClientRect().bottom;") < 500


# --- tables ---


def test_a_click_sorts_numbers_and_a_second_one_turns_them_round(browser, page):
    browser.open(page)
    button, index = head(browser, "cells", "Seconds an epoch")
    browser.run("arguments[0].closest('details').open = true;", button)
    original = column(browser, "cells", index)
    orders = []
    for _ in range(3):
        button.click()
        orders.append(column(browser, "cells", index))
    ascending, descending, again = orders
    assert numbers(ascending) == sorted(numbers(original))
    assert numbers(descending) == sorted(numbers(original), reverse=True)
    assert again == original


def test_what_is_unknown_goes_last_either_way(browser, four_hosts_page):
    browser.open(four_hosts_page)
    button, index = head(browser, "cells", "Seconds an epoch")
    for _ in range(2):
        browser.run("arguments[0].click();", button)
        assert column(browser, "cells", index)[-1] == "out of memory"


def test_the_order_is_told_to_those_who_do_not_see_it(browser, page):
    browser.open(page)
    button, index = head(browser, "cells", "Samples a second")
    states = []
    for _ in range(3):
        browser.run("arguments[0].click();", button)
        states.append(
            browser.run(
                "return [...document.querySelectorAll('#cells thead th')].map((head) => head.getAttribute('aria-sort'));"
            )
        )
    assert [state[index] for state in states] == ["ascending", "descending", None]
    assert all(other is None for state in states for place, other in enumerate(state) if place != index)


def test_the_keyboard_sorts_too(browser, page):
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    button, index = head(browser, "cells", "Batch size")
    browser.run("arguments[0].closest('details').open = true;", button)
    button.send_keys(Keys.ENTER)
    button.send_keys(Keys.SPACE)
    sizes = numbers(column(browser, "cells", index))
    assert sizes == sorted(sizes, reverse=True)


def test_rows_are_filtered_by_every_word_and_counted(browser, four_hosts_page):
    browser.open(four_hosts_page)
    field = browser.run("return document.getElementById('cells-filter');")
    field.send_keys("LSTM h200")
    assert set(column(browser, "cells", 0)) == {"lstm"}
    assert browser.run("return document.querySelector('#cells-filter + output').textContent;") == "3 of 63 rows"
    field.clear()
    field.send_keys("x")
    field.send_keys("\b")
    assert len(column(browser, "cells", 0)) == 63


def test_without_its_script_every_table_is_there(browser, four_hosts_page, tmp_path):
    text = four_hosts_page.read_text(encoding="utf-8")
    bare = tmp_path / "bare.html"
    bare.write_text(re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL), encoding="utf-8")
    browser.open(bare)
    assert len(column(browser, "cells", 0)) == 63
    assert browser.run("return document.querySelectorAll('thead button').length;") == 0


# --- phone, dark, paper ---


def test_a_phone_shows_it_without_scrolling_sideways(browser, page):
    browser.open(page, width=400)
    assert browser.run("return document.documentElement.scrollWidth;") <= 400


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_and_axes_of_figures_stand_out(browser, page, dark):
    browser.open(page, dark=dark)
    assert min(browser.run(CONTRAST, "svg.plot")) >= 7
    assert min(browser.run(CONTRAST, 'svg.plot [fill="#666666"], svg.plot [stroke="#555555"]')) >= 4.5


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_colours_of_devices_stand_out(browser, four_hosts_page, dark):
    browser.open(four_hosts_page, dark=dark)
    selectors = ", ".join(f'svg.plot [stroke="{color}"]' for color in ("#0072b2", "#d55e00", "#009e73", "#cc79a7"))
    # 3 is what WCAG asks of graphics; the pale ones of the palette differ by their markers.
    assert min(browser.run(CONTRAST, selectors)) >= 2.7


def test_the_ground_of_figures_is_that_of_the_page(browser, page):
    browser.open(page, dark=True)
    assert set(browser.run(CONTRAST, 'svg.plot [fill="#ffffff"]')) == {1}


def test_paper_is_white_though_the_screen_is_dark(browser, page):
    browser.open(page, dark=True, media="print")
    assert browser.run("return getComputedStyle(document.body).backgroundColor;") == "rgb(255, 255, 255)"
    assert browser.run("return getComputedStyle(document.querySelector('nav')).display;") == "none"


def test_paper_shows_what_is_folded_on_screen(browser, four_hosts_page):
    browser.open(four_hosts_page)
    browser.run(
        """window.folded = null;
        window.addEventListener("beforeprint", () => {
          window.folded = document.querySelectorAll("details:not([open])").length;
        });"""
    )
    assert browser.run("return document.querySelectorAll('details:not([open])').length;") > 0
    printed = base64.b64decode(browser.command("Page.printToPDF")["data"])
    assert printed.startswith(b"%PDF")
    assert browser.run("return window.folded;") == 0


# --- for everybody ---


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_finds_no_violation(browser, page, width, dark):
    axe = pytest.importorskip("axe_selenium_python", reason="axe-selenium-python is not installed")
    browser.open(page, width=width, dark=dark)
    browser.run("document.querySelectorAll('details').forEach((details) => { details.open = true; });")
    checker = axe.Axe(browser.driver)
    checker.inject()
    violations = checker.run()["violations"]
    assert not violations, checker.report(violations)


def test_the_first_stop_of_the_keyboard_skips_to_the_results(browser, page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    ActionChains(browser.driver).send_keys(Keys.TAB).perform()
    assert browser.run("return document.activeElement.textContent;") == "Skip to the results"


# --- hostile names ---


def test_hostile_names_are_text(browser, hostile_page, hostile_names):
    browser.open(hostile_page)
    text = browser.run("return document.body.textContent;")
    for name in hostile_names:
        assert name in text


def test_hostile_names_run_nothing(browser, hostile_page):
    browser.open(hostile_page)
    assert browser.run("return window.hacked === undefined;")
    assert browser.run("return document.querySelectorAll('script').length;") == 1
    assert browser.run("return document.querySelectorAll('img, [onload], [onerror]').length;") == 0
    assert browser.logged() == []
    assert browser.requested() == [hostile_page.as_uri()]


@pytest.mark.parametrize("width", WIDTHS)
def test_very_long_names_fit(browser, hostile_page, width):
    browser.open(hostile_page, width=width)
    assert browser.run("return document.documentElement.scrollWidth;") <= width
