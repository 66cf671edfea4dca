"""From click to verdict on the bundled model: the time of each stage, peak memory, tokens per second.

    python benchmarks/first_click.py [--method lethe] [--threads 2]
    python benchmarks/first_click.py --browser [--wait 60]

Runs what the page's button runs, in a fresh home (so nothing is cached), then again with the original's
scores cached, then generation batched against one prompt at a time, all in one process.

`--browser` starts the app in a fresh home as a new user does, presses the button in headless Chromium and waits
until the verdict is on screen: at once after the page is there (nothing is scored yet), then once more in the same
home. `--wait`: first leave the page open for so many seconds, in which the server scores the original ahead.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unlearn_core.runs.events import Event

PROMPTS_ONE_BY_ONE = 40
LOOK_SECONDS = 0.1  # between two looks for the verdict: watching must not take the core that is timed


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--method", default="lethe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--browser", action="store_true", help="press the button on the page")
    parser.add_argument("--wait", type=float, default=0.0, help="seconds between the page and the first press")
    arguments = parser.parse_args()
    if arguments.browser:
        in_a_browser(arguments.wait)
        return

    started = time.perf_counter()
    import torch

    from unlearn_core.runs.run import run
    from unlearn_core.runs.spec import RunSpec

    torch.set_num_threads(arguments.threads)
    print(f"import                    {time.perf_counter() - started:7.2f} s")
    spec = RunSpec(method=arguments.method, seed=arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        for label in ("first click, nothing cached", "second click, original cached"):
            print(f"\n{label}")
            report(run(spec, home=Path(folder)))
    generation()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak resident memory      {peak:7.0f} MB")


def report(events: Iterable[Event]) -> None:
    """Drain one run and print its stages, training rate and verdict."""
    from unlearn_core.runs.state import RunState

    started = time.perf_counter()
    state = RunState.of(events)
    if state.failure is not None:
        raise SystemExit(state.failure.message)
    assert state.finished is not None
    for stage, seconds in state.finished.seconds.items():
        print(f"  {stage:<23} {seconds:7.2f} s")
    verdict = state.finished.verdict
    print(f"  verdict                 {verdict['label']}: {verdict['summary']}")
    print(f"  click to verdict        {time.perf_counter() - started:7.2f} s")
    rate = statistics.median(step.tokens_per_second for step in state.steps)
    print(f"  training                {rate:7.0f} tokens/s (median step)")
    for model, score in state.scored.items():
        parts = ("task_aggregate", "mia_auc", "mia_score", "utility", "final_score")
        print(f"  {model:<12}" + "  ".join(f"{part} {score[part]:.3f}" for part in parts))


def in_a_browser(wait: float) -> None:
    """Seconds from the command to the page, and from each press of the button to its verdict."""
    from app_server import served
    from playwright.sync_api import sync_playwright

    from unlearn_core.store.store import RunStore

    path = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"]).new_page()
        page.set_default_timeout(600_000)
        began = time.perf_counter()
        with served(Path(place), public=False, lifted=False) as (address, _):
            page.goto(address)
            page.wait_for_selector("#le-start")
            print(f"command to page           {time.perf_counter() - began:7.2f} s")
            page.wait_for_selector("#le-knows .le-said")
            print(f"command to its answers    {time.perf_counter() - began:7.2f} s")
            time.sleep(wait)
            for label in ("first press", "second press"):
                page.goto(address)
                page.wait_for_selector("#le-knows .le-said")
                began = time.perf_counter()
                page.click("#le-start")
                page.wait_for_url("**run=*")
                while not page.is_visible("#le-verdict h2"):  # Playwright's own wait looks at every frame drawn
                    time.sleep(LOOK_SECONDS)
                words = page.inner_text("#le-verdict h2")
                print(f"{label:<13} to verdict  {time.perf_counter() - began:7.2f} s  {words}")
                run = RunStore(Path(place) / "home").get(page.url.split("run=")[1].split("&")[0])
                for stage, seconds in run.seconds.items():
                    print(f"  {stage:<23} {seconds:7.2f} s")


def generation() -> None:
    """Tokens per second of generation: all prompts in batches, and one prompt at a time."""
    from unlearn_core.data.sources import load_data
    from unlearn_core.models.generation.generate import generate_all
    from unlearn_core.models.targets import load_target

    target, data = load_target("demo"), load_data("demo")
    prompts = [row.input for row in (*data.forget, *data.retain)]

    def rate(chosen: list[str], one_by_one: bool) -> float:
        started = time.perf_counter()
        groups = [[prompt] for prompt in chosen] if one_by_one else [chosen]
        texts = [
            text
            for group in groups
            for text in generate_all(target.model, target.tokenizer, group, data.max_new_tokens)
        ]
        tokens = sum(len(target.tokenizer(text)["input_ids"]) + 1 for text in texts)
        return tokens / (time.perf_counter() - started)

    single = rate(prompts[:: max(1, len(prompts) // PROMPTS_ONE_BY_ONE)], one_by_one=True)
    batched = rate(prompts, one_by_one=False)
    print(f"\ngeneration, batched       {batched:7.0f} tokens/s over {len(prompts)} prompts")
    print(f"generation, one at a time {single:7.0f} tokens/s   ratio {batched / single:.1f}x")


if __name__ == "__main__":
    main()
