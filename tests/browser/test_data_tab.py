"""What the data tab offers to start from: sample files beside an upload, an example beside typed facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unlearn_core.report.kit.samples import TYPED, files


def test_samples_are_saved_and_read_back_and_an_example_is_filled_in(
    open_tab: Callable[..., Any], tmp_path: Any
) -> None:
    page = open_tab("?tab=data").page
    page.get_by_label("Upload", exact=True).check()
    samples = page.locator("#le-samples a")
    samples.first.wait_for()
    assert samples.all_inner_texts() == list(files())
    with page.expect_download() as coming:
        samples.first.click()
    path = tmp_path / coming.value.suggested_filename
    coming.value.save_as(path)
    page.set_input_files("#le-upload input[type=file]", str(path))
    page.wait_for_selector("#le-preview table")
    assert "Oppburgh" in page.inner_text("#le-preview")
    page.get_by_label("Type facts").check()
    page.click("#le-example")
    page.wait_for_function("document.querySelector('#le-typed textarea').value.includes('Oppburgh')")
    assert page.input_value("#le-typed textarea") == TYPED
    assert not page.locator("#le-samples").is_visible()
