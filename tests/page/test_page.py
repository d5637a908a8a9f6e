"""The page, driven as people drive it, in a real browser."""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import READOUT, WIDTH, open_page, open_tab, reload, until, watch_requests
from PIL import Image

from conftest import picture
from pixelwise.images.image_files import read_mask
from pixelwise.prediction.load_model import Model
from pixelwise.server.responses import from_run_lengths


def test_a_first_image_is_labelled_when_the_page_opens(page: Any) -> None:
    drawn = page.evaluate("""() => {
        const mask = document.querySelectorAll('[data-testid=stage] canvas')[1];
        const data = mask.getContext('2d').getImageData(0, 0, mask.width, mask.height).data;
        return data.filter((value, i) => i % 4 === 3 && value > 0).length / (mask.width * mask.height);
    }""")
    assert drawn == 1
    assert page.locator(".ribbon .layer").first.wait_for() is None


def test_a_file_chosen_at_once_is_not_overtaken_by_the_first_image(page: Any, address: str, photo_file: Path) -> None:
    """Whoever is quicker than the page's own first image keeps what they chose."""
    held: list[Any] = []
    page.route("**/v1/samples?*", lambda route: held.append(route))
    page.goto("about:blank")
    page.goto(f"{address}/")
    page.set_input_files("[data-testid=file]", photo_file)
    page.wait_for_timeout(1000)
    held[0].continue_()
    until(page, f"{WIDTH} === 200")
    page.wait_for_selector(".ribbon .layer")
    page.wait_for_timeout(2000)
    assert page.evaluate(WIDTH) == 200


def test_an_upload_is_labelled_and_every_pixel_can_be_asked(page: Any, photo_file: Path, served_model: Model) -> None:
    page.set_input_files("[data-testid=file]", photo_file)
    until(page, f"{WIDTH} === 200")
    prediction = served_model.predict(photo_file)
    box = page.locator("[data-testid=stage]").bounding_box()
    for x, y in ((0, 0), (37, 81), (150, 20), (199, 119)):
        page.mouse.move(box["x"] + (x + 0.5) / 200 * box["width"], box["y"] + (y + 0.5) / 120 * box["height"])
        until(page, f"{READOUT}.includes('({x}, {y})')")
        shown = [float(text) for text in page.locator("[data-testid=legend] .value").all_inner_texts()]
        expected = list(prediction.probabilities(x, y).values())
        assert shown == pytest.approx(expected, abs=0.0006)
    assert "true label" not in page.locator("[data-testid=pixel]").inner_text()  # the sample's mask is not this image's


def test_the_address_restores_what_was_chosen(page: Any, address: str) -> None:
    open_page(page, address, "#tab=layers&pixel=12,34&layer=stage2&view=entropy")
    page.wait_for_selector("h3:has-text('stage2')")
    assert "(12, 34)" in page.locator("[data-testid=pixel]").inner_text()
    page.click("#tab-why")
    until(page, "location.hash.includes('tab=why') && location.hash.includes('pixel=12,34')")


def test_layers_end_in_arithmetic(page: Any) -> None:
    page.click("#tab-layers")
    page.wait_for_selector("[data-testid=channel-map]")
    page.click("[data-testid=channel-map]", position={"x": 40, "y": 40})
    text = page.locator("[data-testid=unit]").inner_text()
    assert re.search(r"bias .* = ", text)
    page.uncheck("text=skip into up4")
    page.wait_for_selector("text=/with the skip into up4 off: .* of the pixels/")


def test_iou_by_hand_is_what_it_says(page: Any) -> None:
    page.click("#tab-metrics")
    page.locator("[data-testid=stage]").hover(position={"x": 380, "y": 12})  # sky, which this model knows
    text = page.locator("[data-testid=iou]").inner_text()
    both, either, shown = re.search(r"= (\d+) / (\d+) = (\d\.\d+)", text).groups()  # type: ignore[union-attr]
    assert float(shown) == pytest.approx(int(both) / int(either), abs=0.0006)
    page.wait_for_selector("[data-testid=confusion]")


def test_the_quiz_gives_reasons(page: Any) -> None:
    page.click("#tab-pipeline")
    page.wait_for_selector(".ribbon .layer")
    page.check("text=To blur the background")
    page.wait_for_selector("text=says exactly where")
    page.check("text=To know the exact location of objects")
    assert "1 of 1 correct" in page.locator("[data-testid=score]").inner_text()


def test_the_report_opens_from_the_disk(page: Any, browser: Any, tmp_path: Path) -> None:
    with page.expect_download() as started:
        page.click("text=full report (HTML)")
    path = tmp_path / "story.html"
    started.value.save_as(path)
    context = browser.new_context(offline=True)
    alone = context.new_page()
    wrong = watch_requests(alone, path.as_uri())
    alone.goto(path.as_uri())
    assert alone.locator("h1").inner_text() == "Every pixel of this image, labelled"
    assert alone.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert wrong == []
    context.close()


def test_images_come_by_drop_paste_and_camera(page: Any, photo_file: Path) -> None:
    """Each way in, with images of different widths, so that each is seen to arrive."""
    give = """([bytes, kind]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([Uint8Array.from(bytes)], 'x.png', {type: 'image/png'}));
        const event = kind === 'drop' ? new DragEvent('drop', {dataTransfer: transfer})
            : new ClipboardEvent('paste', {clipboardData: transfer});
        window.dispatchEvent(event);
    }"""
    for kind, width in (("drop", 150), ("paste", 160)):
        buffer = io.BytesIO()
        Image.fromarray(picture(1, 90, width)).save(buffer, "PNG")
        page.evaluate(give, [list(buffer.getvalue()), kind])
        until(page, f"{WIDTH} === {width}")
    assert page.get_attribute("input[aria-label='Take a photo']", "capture") == "environment"
    page.set_input_files("input[aria-label='Take a photo']", photo_file)
    until(page, f"{WIDTH} === 200")


def test_a_true_mask_shows_right_and_wrong(page: Any, photo_file: Path, served_model: Model, tmp_path: Path) -> None:
    page.set_input_files("[data-testid=file]", photo_file)
    until(page, f"{WIDTH} === 200")
    truth = served_model.predict(photo_file).labels.copy()
    truth[:30] = 255
    truth[100:] = (truth[100:] + 1) % 3
    Image.fromarray(truth).save(tmp_path / "truth.png")
    page.set_input_files("[data-testid=truth]", tmp_path / "truth.png")
    page.click("button:has-text('errors')")
    page.wait_for_selector("text=/77.8\\s%\\D+of the 18.000 labelled pixels are correct/")  # 70 of 90 rows


def test_what_can_be_kept_is_what_the_library_says(
    page: Any, photo_file: Path, served_model: Model, tmp_path: Path
) -> None:
    page.set_input_files("[data-testid=file]", photo_file)
    until(page, f"{WIDTH} === 200")
    expected = served_model.predict(photo_file).labels

    def kept(text: str) -> Path:
        with page.expect_download() as started:
            page.click(f"text={text}")
        path = tmp_path / started.value.suggested_filename
        started.value.save_as(path)
        return path

    assert np.array_equal(read_mask(kept("mask (PNG)"), {}, 3), expected)
    told = json.loads(kept("labels (JSON)").read_text())
    assert np.array_equal(from_run_lengths(told["rle"], 120, 200), expected)
    overlay = np.asarray(Image.open(kept("overlay (PNG)")).convert("RGB"))
    assert overlay.shape == (120, 200, 3)
    assert not np.array_equal(overlay, np.asarray(Image.open(photo_file)))


def test_two_models_stand_side_by_side_and_move_as_one(page: Any) -> None:
    page.select_option("label:has-text('Compare with:') select", "other")
    second = page.locator("[data-testid=second]")
    second.wait_for()
    page.wait_for_selector("text=/agree on 100/")  # it is the same model
    left, right = page.locator("[data-testid=stage]").bounding_box(), second.bounding_box()
    assert right["x"] >= left["x"] + left["width"]
    assert abs(right["y"] - left["y"]) < 2
    page.locator("[data-testid=stage]").focus()
    page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowRight")
    views = page.locator("[data-testid=stage] .layers, [data-testid=stage-second] .layers")
    assert views.nth(0).get_attribute("style") == views.nth(1).get_attribute("style")
    assert "width: 150%" in str(views.nth(0).get_attribute("style"))
    cross = "[...document.querySelectorAll('.cross.light')].map((one) => one.getAttribute('d'))"
    assert len(set(page.evaluate(cross))) == 1
    own = page.locator("[data-testid=pixel] strong").inner_text().strip()
    assert own in second.locator("figcaption").inner_text()


def test_classes_differ_by_hatching_too(page: Any) -> None:
    colours = """() => {
        const mask = document.querySelectorAll('[data-testid=stage] canvas')[1];
        const data = new Uint32Array(mask.getContext('2d').getImageData(0, 0, mask.width, mask.height).data.buffer);
        return new Set(data).size;
    }"""
    classes = page.locator("section[aria-label='Show and hide classes'] li").count()
    assert page.evaluate(colours) <= classes  # plain at first: lines muddy a photo
    page.check("text=hatching")
    assert page.evaluate(colours) > classes


def test_the_code_is_what_the_image_had(page: Any, photo_file: Path, served_model: Model) -> None:
    page.set_input_files("[data-testid=file]", photo_file)
    until(page, f"{WIDTH} === 200")
    page.click("#tab-code")
    steps = page.locator(".step pre").all_inner_texts()
    prediction = served_model.predict(photo_file)
    assert str((prediction.labels.shape, prediction.labels.dtype)) in steps[1]
    assert str(prediction.scores.shape) in steps[3]
    assert page.get_attribute("a:has-text('the image itself')", "download") == "photo.png"
    page.locator("#content form input").nth(0).fill("200")
    page.locator("#content form button").nth(0).click()
    page.wait_for_selector("text=/Correct. Width comes second/")


def test_every_line_of_the_code_gives_what_the_page_says(
    page: Any, photo_file: Path, fast_bundle: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pasted one after the other, beside the model and the image that the page hands out."""
    page.set_input_files("[data-testid=file]", photo_file)
    until(page, f"{WIDTH} === 200")
    page.click("#tab-code")
    with page.expect_download() as started:
        page.click("a:has-text('the image itself')")
    started.value.save_as(tmp_path / started.value.suggested_filename)
    shutil.copy(fast_bundle[0], tmp_path / fast_bundle[0].name)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    run = 0
    for step in page.locator(".step").all():
        if not step.locator("samp").count():
            continue
        *before, last = ast.parse(step.locator("code").inner_text()).body
        assert isinstance(last, ast.Expr)
        kept = ast.Assign([ast.Name("told", ast.Store())], last.value)
        exec(compile(ast.fix_missing_locations(ast.Module([*before, kept], [])), "page", "exec"), names)
        assert repr(names["told"]) == step.locator("samp").inner_text().strip()
        run += 1
    assert run == 6


def test_exercises_are_checked(page: Any, photo_file: Path, served_model: Model) -> None:
    """Right answers are taken, wrong ones are not and get a hint; another image asks anew."""
    page.set_input_files("[data-testid=file]", photo_file)
    until(page, f"{WIDTH} === 200")
    prediction = served_model.predict(photo_file)
    page.click("#tab-code")
    answers = [200, 200 * 120 * 3, prediction.scores.shape[1], prediction.scores.size, 0.88]
    forms = page.locator("#content ol form")
    assert forms.count() == len(answers)
    for i, answer in enumerate(answers):
        told = forms.nth(i).locator(".feedback")
        for given, verdict in (
            (answer + 1, "✗ Not yet"),
            ("", "✗ Not yet"),
            ("a lot", "✗ Not yet"),
            (answer, "✓ Correct"),
        ):
            forms.nth(i).locator("input").fill(str(given))
            assert told.inner_text() == ""
            forms.nth(i).locator("input").press("Enter")
            assert told.inner_text().startswith(verdict), (i, given)
    page.select_option("[aria-label='Built-in images']", index=1)  # the first says what the list is
    until(page, f"{WIDTH} !== 200")
    assert page.locator("#content ol .feedback:has-text('Correct')").count() == 0


def test_missed_cards_come_back_first_and_known_ones_later(page: Any) -> None:
    page.clock.install()
    page.clock.pause_at("2030-01-01T10:00:00")
    open_tab(page, "review")
    assert page.locator(".boxes li").count() == 5
    front, counts = page.locator(".front"), ".boxes .count"

    def judge(knew: bool) -> str:
        asked: str = front.inner_text()
        assert page.locator("[data-testid=back]").count() == 0  # no card shows its answer by itself
        page.click("text=Show the answer")
        page.click("text=I knew it" if knew else "text=I missed it")
        return asked

    total = sum(int(text) for text in page.locator(counts).all_inner_texts())
    known, missed = judge(True), judge(False)
    assert [int(text) for text in page.locator(counts).all_inner_texts()] == [total - 1, 1, 0, 0, 0]
    third = front.inner_text()
    page.clock.fast_forward(70_000)  # what was missed is due again: after the card that is being looked at
    assert judge(True) == third
    assert judge(True) == missed
    while page.locator(".front").count():
        assert judge(True) != known
    page.clock.fast_forward(9 * 60_000)
    page.wait_for_selector(".front")
    assert judge(True) == known
    assert int(page.locator(counts).nth(2).inner_text()) == 1


def test_each_part_asks_and_half_of_the_quiz_is_about_ones_own_image(page: Any) -> None:
    page.wait_for_selector(".ribbon .layer")
    page.click("#tab-pipeline")
    page.wait_for_selector("#quiz legend:has-text('divided by 255')")
    questions = own = 0
    for part in range(4):
        page.click(f".parts button >> nth={part}")
        page.wait_for_selector("#quiz li")
        here = page.locator("#quiz li").count()
        told = re.search(r"(\d+) of \d+ are about|(All are|It is) about", page.locator("#quiz > p").first.inner_text())
        own += 0 if told is None else int(told.group(1) or here)
        questions += here
        for i in range(here):
            question = page.locator("#quiz li").nth(i)
            options = question.locator("input")
            assert options.count() >= 2
            for k in range(options.count()):
                options.nth(k).check()
                assert question.locator("label.right").count() == 1
                assert len(question.locator(".because").inner_text()) > 20
        assert f"of {here} correct" in page.locator("[data-testid=score]").inner_text()
    assert questions >= 9
    assert own >= questions / 2
    until(page, "location.hash.includes('part=4')")
    page.go_back()
    until(page, "document.querySelector('.parts [aria-current]').innerText.includes('Layers')")


def test_review_begins_with_what_was_missed(page: Any) -> None:
    page.click("#tab-pipeline")
    page.check("text=To blur the background")
    page.click("#tab-code")
    first = page.locator("#content ol form").first
    first.locator("input").fill("1")
    first.locator("input").press("Enter")
    reload(page)
    page.wait_for_selector("[data-testid=pixel]")
    page.click("#tab-review")
    assert "What you missed (2)" in page.locator(".decks").inner_text()
    fronts = set()
    for _ in range(2):
        fronts.add(page.locator(".front").inner_text())
        page.click("text=Show the answer")
        page.click("text=I knew it")
    assert any("label every pixel" in front for front in fronts)
    assert any("prediction.labels.shape" in front for front in fronts)
    assert page.locator(".front").count() == 0
    page.click("button:has-text('This model')")
    page.wait_for_selector(".front")


def test_why_says_that_touching_objects_are_one_region(page: Any) -> None:
    open_tab(page, "why")
    said = page.locator("[data-testid=touching]").inner_text()
    assert "touch or overlap are one region" in said or "no region" in said
    assert page.locator("figcaption:has-text('Panoptic')").count() == 1
