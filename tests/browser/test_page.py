"""The page in a browser: nothing loaded, nothing broken, everything seen, on a phone, in the dark and on paper."""

import io
import re

import pytest
from PIL import Image

from page_studies import HOSTILE_NAMES
from trainbench.figures import of_study

WIDTHS = (400, 1400)

# The contrast of two opaque colours, as WCAG 2 defines it.
CONTRAST = """
const light = (color) => {
  const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
    .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
"""

PAINT_CONTRASTS = f"""([selector, paints]) => {{ {CONTRAST}
const ground = getComputedStyle(document.body).backgroundColor;
return [...document.querySelectorAll(selector)].flatMap((element) => {{
  const style = getComputedStyle(element);
  const colors = paints.map((paint) => style[paint]).filter((color) => color.startsWith("rgb("));
  return colors.map((color) => contrast(color, ground));
}});
}}"""

TEXT_CONTRASTS = f"""() => {{ {CONTRAST}
const grounds = new Map();
const ground = (element) => {{
  if (!grounds.has(element)) {{
    const own = getComputedStyle(element).backgroundColor;
    grounds.set(element, own.startsWith("rgb(") ? own : ground(element.parentElement));
  }}
  return grounds.get(element);
}};
const written = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
return [...document.querySelectorAll("body :not(script, svg, svg *)")].filter(written).map((element) =>
  [element.textContent, contrast(getComputedStyle(element).color, ground(element))]);
}}"""


def column(window, table, index):
    """The texts of the rows that are shown."""
    return window.evaluate(
        """([table, index]) => [...document.querySelectorAll(`#${table} tbody tr`)]
          .filter((row) => !row.hidden).map((row) => row.cells[index].textContent.trim())""",
        [table, index],
    )


def numbers(texts):
    return [float(found[0]) for text in texts if (found := re.match(r"[\d.]+", text))]


def head(window, table, text):
    """The button of a column, which is unfolded, and its number."""
    heads = window.evaluate(
        "(table) => [...document.querySelectorAll(`#${table} thead th`)].map((head) => head.textContent.trim())", table
    )
    unfold(window)
    return window.locator(f"#{table} thead button").nth(heads.index(text)), heads.index(text)


def sorts(window, table):
    return window.evaluate(
        "(table) => [...document.querySelectorAll(`#${table} thead th`)].map((head) => head.getAttribute('aria-sort'))",
        table,
    )


def unfold(window):
    window.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")


def contrasts(window, selector, *paints):
    """Of the paint of elements, fill or stroke, with the ground."""
    return window.evaluate(PAINT_CONTRASTS, [selector, paints])


# --- it opens, whole, by itself ---


def test_it_opens_without_an_error_and_asks_for_nothing(browser, page):
    window = browser.show(page)
    assert window.said == []
    assert window.asked == [page.as_uri()]


def test_every_figure_is_seen_and_told(browser, page):
    window = browser.show(page)
    unfold(window)
    found = window.evaluate(
        """() => [...document.querySelectorAll("section figure")].map((figure) => {
          const plot = figure.querySelector(".plot"), box = plot.getBoundingClientRect();
          const name = document.getElementById(plot.getAttribute("aria-labelledby"));
          return [figure.id, box.width, box.height, plot.querySelectorAll("path").length, name.textContent];
        })"""
    )
    drawn = {path.stem for path in (page.parent / "figures").rglob("*.svg")}
    assert {name for name, *_ in found} == {f"figure-{name}" for name in drawn}
    for name, width, height, paths, told in found:
        assert width > 400, name
        assert height > 150, name
        assert paths > 10, name
        stem = name.removeprefix("figure-")
        of_run = stem not in of_study.NAMES
        assert told.startswith("What the machine did") if of_run else told == of_study.figure(stem).TITLE


def test_the_answer_is_on_the_first_screen(browser, page):
    window = browser.show(page)
    assert window.evaluate("document.querySelector('.headlines li').getBoundingClientRect().bottom") < 500


# --- tables ---


def test_a_click_sorts_numbers_and_a_second_one_turns_them_round(browser, page):
    window = browser.show(page)
    button, index = head(window, "cells", "Seconds an epoch")
    original = column(window, "cells", index)
    orders = []
    for _ in range(3):
        button.click()
        orders.append(column(window, "cells", index))
    ascending, descending, again = orders
    assert numbers(ascending) == sorted(numbers(original))
    assert numbers(descending) == sorted(numbers(original), reverse=True)
    assert again == original


def test_what_is_unknown_goes_last_either_way(browser, four_hosts_page):
    window = browser.show(four_hosts_page)
    button, index = head(window, "cells", "Seconds an epoch")
    for _ in range(2):
        button.click()
        assert column(window, "cells", index)[-1] == "out of memory"


def test_the_order_is_told_to_those_who_do_not_see_it(browser, page):
    window = browser.show(page)
    button, index = head(window, "cells", "Samples a second")
    states = []
    for _ in range(3):
        button.click()
        states.append(sorts(window, "cells"))
    assert [state[index] for state in states] == ["ascending", "descending", None]
    assert all(other is None for state in states for place, other in enumerate(state) if place != index)


def test_the_keyboard_sorts_too(browser, page):
    window = browser.show(page)
    button, index = head(window, "cells", "Batch size")
    button.press("Enter")
    button.press("Space")
    sizes = numbers(column(window, "cells", index))
    assert sizes == sorted(sizes, reverse=True)


def test_rows_are_filtered_by_every_word_and_counted(browser, four_hosts_page):
    window = browser.show(four_hosts_page)
    unfold(window)
    window.fill("#cells-filter", "LSTM h200")
    assert column(window, "cells", 0) == ["lstm"] * 3
    assert window.text_content("#cells-filter + output") == "3 of 90 rows"
    window.fill("#cells-filter", "")
    assert len(column(window, "cells", 0)) == 90


def test_a_table_of_few_rows_is_shown_whole(browser, page):
    window = browser.show(page)
    unfold(window)
    hidden = """(box) => [box.querySelectorAll("tbody tr").length, box.scrollHeight - box.clientHeight]"""
    boxes = window.evaluate(f"[...document.querySelectorAll('.scroll')].map({hidden})")
    assert [below for rows, below in boxes if rows <= 20 and below > 0] == []


def test_a_table_with_more_beyond_its_edge_has_a_shade_there(browser, four_hosts_page):
    window = browser.show(four_hosts_page)
    unfold(window)
    shade = window.evaluate(
        """() => { const box = document.getElementById("cells").parentElement;
          return [box.scrollWidth > box.clientWidth, getComputedStyle(box).backgroundImage]; }"""
    )
    assert shade[0]
    assert "linear-gradient" in shade[1]


def test_the_name_of_a_check_does_not_break(browser, four_hosts_page):
    window = browser.show(four_hosts_page)
    unfold(window)
    ways = window.evaluate("[...document.querySelectorAll('.name')].map((name) => getComputedStyle(name).whiteSpace)")
    assert set(ways) == {"nowrap"}


def test_on_a_phone_what_to_do_has_the_width_of_the_page(browser, four_hosts_page):
    window = browser.show(four_hosts_page, width=400)
    unfold(window)
    widths = window.evaluate(
        """[...document.querySelectorAll('.stacked [data-heading="What to do"]')]
          .map((field) => field.getBoundingClientRect().width)"""
    )
    assert min(widths) > 300


def test_on_a_phone_the_titles_of_figures_are_not_cut_off(browser, page):
    window = browser.show(page, width=400)
    ends = window.evaluate(
        "[...document.querySelectorAll('figure > .heading')].map((title) => title.getBoundingClientRect().right)"
    )
    assert ends
    assert max(ends) <= 400


def test_without_its_script_every_table_is_there(browser, four_hosts_page):
    window = browser.open(four_hosts_page, script=False)
    assert window.locator("#cells tbody tr").count() == 90
    assert window.locator("thead button").count() == 0


# --- phone, dark, paper ---


def test_a_phone_shows_it_without_scrolling_sideways(browser, page):
    assert browser.show(page, width=400).evaluate("document.documentElement.scrollWidth") <= 400


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_and_axes_of_figures_stand_out(browser, page, dark):
    window = browser.show(page, dark=dark)
    assert min(contrasts(window, "svg.plot", "fill")) >= 7
    assert min(contrasts(window, 'svg.plot [fill="#666666"]', "fill")) >= 4.5
    assert min(contrasts(window, 'svg.plot [stroke="#555555"]', "stroke")) >= 4.5


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_colours_of_devices_stand_out(browser, four_hosts_page, dark):
    window = browser.show(four_hosts_page, dark=dark)
    selector = ", ".join(f'svg.plot [stroke="{color}"]' for color in ("#0072b2", "#d55e00", "#009e73", "#cc79a7"))
    # 3 is what WCAG asks of graphics; the pale ones of the palette differ by their markers.
    assert min(contrasts(window, selector, "stroke")) >= 2.7


def test_the_ground_of_figures_is_that_of_the_page(browser, page):
    window = browser.show(page, dark=True)
    assert set(contrasts(window, 'svg.plot [fill="#ffffff"]', "fill")) == {1}


def test_no_white_of_the_file_is_left_in_the_dark(browser, four_hosts_page):
    """Markers are copies (`use`), which ask for rules of their own."""
    window = browser.show(four_hosts_page, dark=True)
    for figure in window.locator("svg.plot").all():
        with Image.open(io.BytesIO(figure.screenshot())) as picture:
            assert (255, 255, 255) not in {color for _, color in picture.convert("RGB").getcolors(2**24)}


def test_paper_is_white_though_the_screen_is_dark(browser, page):
    window = browser.show(page, dark=True, media="print")
    assert window.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert window.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"


def test_nothing_is_cut_off_on_paper(browser, page):
    """A4 with its margins is 690 pixels wide."""
    window = browser.show(page, width=690, media="print")
    unfold(window)
    assert window.evaluate("document.documentElement.scrollWidth") <= 690


def test_paper_shows_what_is_folded_on_screen(browser, four_hosts_page):
    window = browser.show(four_hosts_page)
    window.evaluate(
        """() => {
          window.folded = null;
          window.addEventListener("beforeprint", () => {
            window.folded = document.querySelectorAll("details:not([open])").length;
          });
        }"""
    )
    assert window.locator("details:not([open])").count() > 0
    assert window.pdf(format="A4").startswith(b"%PDF")
    assert window.evaluate("window.folded") == 0


# --- for everybody ---


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_all_text_stands_out_from_its_ground(browser, page, width, dark):
    window = browser.show(page, width=width, dark=dark)
    unfold(window)
    found = window.evaluate(TEXT_CONTRASTS)
    assert len(found) > 100
    # What WCAG asks of text.
    assert [text for text, contrast in found if contrast < 4.5] == []


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)], ids=["wide-light", "phone-dark"])
def test_axe_finds_no_violation(browser, page, width, dark):
    """Both widths and both schemes, but not each with each: it is slow, and only contrast depends on the scheme."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    window = browser.show(page, width=width, dark=dark)
    unfold(window)
    results = axe.Axe().run(window)
    assert results.violations_count == 0, results.generate_report()


def test_the_first_stop_of_the_keyboard_skips_to_the_results(browser, page):
    window = browser.open(page)
    window.keyboard.press("Tab")
    assert window.evaluate("document.activeElement.textContent") == "Skip to the results"


# --- hostile names ---


def test_hostile_names_are_text(browser, hostile_page):
    text = browser.show(hostile_page).evaluate("document.body.textContent")
    for name in HOSTILE_NAMES.values():
        # A mark that turns the writing round would turn round what the page says.
        assert name.replace("\u202e", "\ufffd") in text


def test_hostile_names_run_nothing(browser, hostile_page):
    window = browser.show(hostile_page)
    assert window.evaluate("window.hacked === undefined")
    assert window.locator("script").count() == 1
    assert window.locator("img, [onload], [onerror]").count() == 0
    assert window.said == []
    assert window.asked == [hostile_page.as_uri()]


@pytest.mark.parametrize("width", WIDTHS)
def test_very_long_names_fit(browser, hostile_page, width):
    assert browser.show(hostile_page, width=width).evaluate("document.documentElement.scrollWidth") <= width
