"""Addresses: what is on screen is in the address of the page, so that it can be linked to and Back returns to it.

?tab=NAME            a tab            ?run=ID          a run, with ?probe=ID a saved probe of it
?tab=probe&run=ID&about=NAME          what the models of a run answer about a subject
?compare=ID,ID       compared runs    ?words=WORDS     the methods in which they occur
?board=NAME          a leaderboard, with ?order=TITLE what it is sorted by
?embed=1             without the frame around the page
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import gradio as gr
from gradio.events import Dependency

from unlearn_core.ui.common import AT_ONCE

TABS = {
    "run": "Unlearn",
    "probe": "Probe",
    "chat": "Chat",
    "data": "Data",
    "attack": "Attack",
    "recover": "Recover",
    "runs": "Runs",
    "compare": "Compare",
    "methods": "Methods",
    "gallery": "Leaderboard",
    "published": "Published runs",
}
FIRST = "run"
# Sets one part of the address, or takes it out; a new tab is a step that Back undoes.
SET_PART = """(name, value, step) => {
  const url = new URL(window.location);
  if ((url.searchParams.get(name) ?? '') === (value ?? '')) return;
  if (value) url.searchParams.set(name, value); else url.searchParams.delete(name);
  window.history[step ? 'pushState' : 'replaceState']({}, '', url);
}"""
# A tab that is opened, by a press or by the page, is in the address at once. Back and Forward open it again; another
# run, and a tab that a narrow screen has in a menu, is a page of its own.
_KEEP = """() => {
  const names = NAMES, set = SET;
  const parts = () => new URL(window.location).searchParams;
  const linked = parts().get('tab')
    || (parts().get('compare') ? 'compare' : parts().get('board') ? 'gallery' : 'FIRST'), since = Date.now();
  let tab = linked;
  const chosen = () => {
    const now = [...document.querySelectorAll('[role=tab][aria-selected=true]')]
      .map((one) => names[one.textContent.trim()]).find((one) => one);
    // While a linked tab is on its way the first one is shown for a moment.
    if (!now || now === tab || (now === 'FIRST' && tab === linked && Date.now() - since < 4000)) return;
    tab = now;
    if (tab !== 'compare') set('compare', '', false);
    if (tab !== 'gallery') for (const name of ['board', 'order']) set(name, '', false);
    set('tab', tab === 'FIRST' ? '' : tab, true);
  };
  new MutationObserver(chosen)
    .observe(document.body, {subtree: true, attributes: true, attributeFilter: ['aria-selected']});
  window.addEventListener('popstate', () => {
    const run = document.querySelector('#le-run-id :is(textarea, input)')?.value ?? '';
    const wanted = parts().get('tab') || 'FIRST';
    const button = [...document.querySelectorAll('[role=tab]')]
      .find((one) => names[one.textContent.trim()] === wanted && one.checkVisibility());
    if ((parts().get('run') ?? '') !== run || !button) return window.location.reload();
    tab = wanted;
    button.click();
  });
}"""


def put(part: str, value: str = "(value) => value") -> str:
    """The script of an event that puts a value, as the function `value` makes it of the event's input, into a part of
    the address, or takes the part out where it is empty."""
    return f"(given) => ({SET_PART})('{part}', ({value})(given), false)"


def wire_addresses(
    page: gr.Blocks,
    opened: Dependency,
    tabs: gr.Tabs,
    picked: gr.State,
    words: gr.Textbox,
    board: gr.Dropdown,
    order: gr.Radio,
) -> None:
    """Must be called inside the page, once everything is laid out. A linked tab opens after the event `opened`, which
    puts the linked run on screen: the tab is about that run."""
    names = json.dumps({title: name for name, title in TABS.items()})
    script = _KEEP.replace("NAMES", names).replace("SET", SET_PART).replace("FIRST", FIRST)
    page.load(None, js=script, **AT_ONCE)
    chosen: dict[str, gr.Dropdown | gr.Radio] = {"board": board, "order": order}
    for name, field in chosen.items():  # what is chosen at first is not worth a part of the address
        js = put(name, f"(value) => value === {json.dumps(field.value)} ? '' : value")
        field.change(None, field, None, js=js, **AT_ONCE)

    def follow(request: gr.Request) -> tuple[object, ...]:
        asked = dict(request.query_params)
        known = {name: [value for _, value in field.choices] for name, field in chosen.items()}
        return *followed(asked), *(asked[n] if asked.get(n) in values else gr.skip() for n, values in known.items())

    opened.then(follow, None, [tabs, picked, words, *chosen.values()], **AT_ONCE)


def followed(asked: Mapping[str, str]) -> tuple[object, ...]:
    """Tab, compared runs and words that the parts of an address ask for."""
    compared = [part for part in asked.get("compare", "").split(",") if part][:4]
    tab = asked.get("tab", "compare" if compared else "gallery" if "board" in asked else "")
    opened = gr.Tabs(selected=known_tab(tab)) if tab else gr.skip()
    return opened, compared or gr.skip(), asked.get("words", "")[:100] or gr.skip()


def known_tab(name: str) -> str:
    """The tab of that name or title; the first for any other."""
    titled = {title.casefold(): known for known, title in TABS.items()}
    return name if name in TABS else titled.get(name.casefold(), FIRST)
