"""What every tab uses: quiet listeners, headings, and errors as toasts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.blocks import Block
from gradio.components.plot import PlotData
from gradio.events import Dependency

from unlearn_core.errors import LetheError
from unlearn_core.limits import NEW_TOKENS
from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.service.answers import MAX_NEW_TOKENS

if TYPE_CHECKING:
    from unlearn_core.report.kit.figure import Figure

# Listeners of the page are no endpoints of the API, and draw no spinner over what they update. Told to show it on
# nothing, the page does not keep the state of one for each output either, which took some 40 % of what a browser
# spends on a run.
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "show_progress_on": []}
# What is polled or answers at once does not go through the queue; it cannot show messages, which do.
AT_ONCE: dict[str, Any] = PRIVATE | {"queue": False}
# What draws a choice. Gradio drops what is chosen while the choice before it is still drawn; here that comes next.
# Fields that choose one drawing together share one listener: of two the older answer could come last, and stay.
CHOSEN: dict[str, Any] = AT_ONCE | {"trigger_mode": "always_last"}
# What a model is run for: two at a time.
GENERATES: dict[str, Any] = PRIVATE | {"concurrency_id": "generate", "concurrency_limit": 2}
# A component that only carries a value. One that Gradio hides itself comes to light with the fold that it lies in.
UNSEEN: dict[str, Any] = {"elem_classes": ["le-unseen"]}


def told_by(event: gr.EventData) -> Mapping[str, Any]:
    """What a component says of what happened to it; nothing where whoever called sent something else."""
    return event._data if isinstance(event._data, dict) else {}


# For screen reader and keyboard. Plotly draws nameless pictures: each gets the role and the name that its
# figure carries.
WITHIN_REACH = """() => {
  const name = () => {
    for (const plot of document.querySelectorAll('.js-plotly-plot')) {
      const told = plot.layout?.meta;
      if (!told || plot.getAttribute('aria-label') === told) continue;
      plot.setAttribute('role', 'figure');
      plot.setAttribute('aria-label', told);
    }
    // Gradio labels its picture of an empty chart without a role, and such a label may not be read out.
    for (const empty of document.querySelectorAll('.empty[aria-label]:not([role])')) {
      empty.setAttribute('role', 'img');
    }
    // A long list of choices scrolls, which makes it a stop of the Tab key; it closes there and the focus is
    // nowhere. The arrow keys move in it all the same.
    for (const list of document.querySelectorAll('ul[role=listbox]:not([tabindex])')) list.tabIndex = -1;
    for (const fold of document.querySelectorAll('button.label-wrap')) {
      fold.setAttribute('aria-expanded', fold.classList.contains('open'));
    }
  };
  document.addEventListener('click', (event) => {
    if (event.target.closest('button.label-wrap')) setTimeout(name, 50);
  });
  new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
  name();
}"""
# What Gradio leaves out for whoever works by keyboard.
KEYS = """() => {
  // Its list of choices opens once more at the Tab key that leaves it.
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Tab' && event.target.matches('[role=combobox]')) event.stopPropagation();
  }, true);
  // What is typed into a list of choices replaces what was chosen.
  document.addEventListener('focusin', (event) => {
    const field = event.target;
    if (!field.matches('input[role=combobox]')) return;
    setTimeout(() => { if (document.activeElement === field) field.select(); }, 0);
  });
  // Each tab and each radio button is a stop of its own for the Tab key; arrow keys go among them too.
  const move = (event) => {
    const way = {ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1}[event.key], at = event.target;
    const kind = ['input[type=radio]', '[role=tab]'].find((one) => at.matches(one));
    const radio = at.type === 'radio';
    if (!way || !kind || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    if (!radio && !/Left|Right/.test(event.key)) return;
    const all = [...(at.closest('fieldset, [role=tablist]')?.querySelectorAll(kind) ?? [])]
      .filter((one) => !one.disabled && one.checkVisibility());
    const next = all[(all.indexOf(at) + way + all.length) % all.length];
    if (!next || next === at || (radio && next.name === at.name)) return;
    event.preventDefault();
    next.focus();
    if (radio) next.click();
  };
  const close = () => {
    for (const one of document.querySelectorAll(
      ':is(.le-explains, .le-token):hover, .le-explains:focus-within, .le-token:focus'
    )) {
      one.classList.add('le-shut');
      for (const left of ['mouseleave', 'focusout']) {
        one.addEventListener(left, () => one.classList.remove('le-shut'), {once: true});
      }
    }
    const more = document.querySelector('.overflow-menu > button');
    if (document.querySelector('.overflow-dropdown')?.checkVisibility()) {
      more.click();
      more.focus();
    }
    const api = document.querySelector('.api-docs .backdrop');
    if (api) {
      api.click();
      document.querySelector('.show-api')?.focus();
    }
  };
  document.addEventListener('keydown', (event) => event.key === 'Escape' ? close() : move(event));
}"""
# After a press that opens another tab and so hides the button that was pressed.
TO_THE_TAB = """() => [...document.querySelectorAll('[role=tab][aria-selected=true]')]
  .find((one) => one.checkVisibility())?.focus({preventScroll: true})"""
# Gradio writes what comes anew, by position, into the elements of what was there, which shuts what a reader unfolded.
# That is opened again: the fold with the same words in the row or card that begins with the same words.
STAY_OPEN = """() => {
  const opened = new Set(), words = (part) => document.createTreeWalker(part, NodeFilter.SHOW_TEXT).nextNode()?.data;
  const name = (fold) => JSON.stringify([
    fold.parentElement.closest('[id]')?.id, words(fold.closest('tr, article, section') ?? fold),
    fold.closest('td, th')?.cellIndex, words(fold),
  ]);
  document.addEventListener('click', (event) => {
    const fold = event.target.closest('summary')?.parentElement;
    if (fold) opened[fold.open ? 'delete' : 'add'](name(fold));
  });
  const had = (node) => node.nodeName === 'DETAILS' || node.querySelector?.('details');
  new MutationObserver((changes) => {
    if (!opened.size || !changes.some((one) => one.type === 'attributes' || [...one.removedNodes].some(had))) return;
    for (const fold of document.querySelectorAll('details:not([open])')) fold.open = opened.has(name(fold));
  }).observe(document.body, {childList: true, subtree: true, attributes: true, attributeFilter: ['open']});
}"""
# The chart library takes longest of all to be read and made ready: done once the page stands and has nothing
# else to do, so that the first chart of a visit need not wait for it.
_LIBRARY = (Path(gr.__file__).parent / "templates" / "frontend" / "assets").glob("PlotlyPlot-*.js")
READY_CHARTS = (
    "() => setTimeout(() => requestIdleCallback(() => {"
    + "".join(f"import(new URL('assets/{part.name}', document.baseURI).href);" for part in _LIBRARY)
    + "}, {timeout: 5000}), 1000)"
)
# Gradio's page has a base address, which would make a link to a part of the page load it anew.
LINKS_WITHIN = """() => document.addEventListener('click', (event) => {
  const link = event.target.closest('a[href^="#"]');
  const part = link && document.getElementById(link.getAttribute('href').slice(1));
  if (!part) return;
  event.preventDefault();
  part.scrollIntoView({behavior: 'smooth', block: 'start'});
  part.focus({preventScroll: true});
})"""
# Copies what `%s` is, and says so on the button that was pressed. Where the browser refuses, which it does at an
# address without https, it shows what was to be copied in a field behind the button.
COPY = """() => {
  const button = document.activeElement.closest('button'), words = button?.textContent, text = %s;
  const copied = () => {
    if (!button) return;
    button.parentElement.querySelector('.le-to-copy')?.remove();
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = words; }, 1500);
  };
  const show = () => {
    if (!button) return;
    const row = button.parentElement, field = row.querySelector('.le-to-copy') ?? document.createElement('textarea');
    field.className = 'le-to-copy';
    field.readOnly = true;
    field.setAttribute('aria-label', 'Copy this');
    field.value = text;
    row.append(field);
    field.select();
  };
  if (navigator.clipboard) navigator.clipboard.writeText(text).then(copied, show); else show();
}"""
COPY_LINK = COPY % "window.location.href"
_SAVE = """(file) => {
  if (!file?.url) return;
  const link = document.createElement('a');
  link.href = file.url;
  link.download = file.orig_name || '';
  document.body.append(link);
  link.click();
  link.remove();
}"""


def heading(title: str, aside: str) -> gr.HTML:
    """A section's heading with one line that says what it shows."""
    return gr.HTML(tag("div", tag("h2", title), tag("p", aside), class_="le-heading"))


def panel(**settings: Any) -> gr.Column:
    """A bordered card that holds components."""
    return gr.Column(elem_classes=["le-panel"], **settings)


def chart(elem_id: str) -> gr.Plot:
    """A figure without frame or label; `WITHIN_REACH` gives it the name that the figure carries."""
    return gr.Plot(show_label=False, container=False, elem_id=elem_id)


def sampling_fields(public: bool, tokens: int) -> tuple[gr.Slider, gr.Slider]:
    """Longest answer and temperature."""
    most = NEW_TOKENS if public else MAX_NEW_TOKENS
    return (
        gr.Slider(1, most, value=tokens, step=1, label="Longest answer", info="In tokens"),
        gr.Slider(0, 2, value=0, step=0.1, label="Temperature", info="0 is greedy"),
    )


def problem(title: str, words: object) -> gr.Error:
    """A message to raise, escaped, that leaves nothing in the log."""
    return gr.Error(str(tag("span", _title(title), words)), title=title, print_exception=False)


def warn(title: str, words: object) -> None:
    """Show a warning, escaped; the listener goes on."""
    gr.Warning(str(tag("span", _title(title), words)), title=title)


def inform(title: str, words: object) -> None:
    """Show a message, escaped."""
    gr.Info(str(tag("span", _title(title), words)), title=title)


def _title(words: str) -> Safe:
    """Gradio's page loses the title of a message on its way, so it goes before the words; the page's script
    (see `app`) puts it in its place."""
    return tag("strong", words, class_="le-toast-title")


@contextmanager
def toast(title: str) -> Iterator[None]:
    """Show the errors meant for people as a message on the page."""
    try:
        yield
    except LetheError as error:
        raise problem(title, error) from None


def opens_tab(event: Callable[..., Dependency], tabs: gr.Tabs, tab: str) -> None:
    """Let a press open another tab and take the focus there."""
    event(lambda: gr.Tabs(selected=tab), None, tabs, **AT_ONCE).success(None, js=TO_THE_TAB, **AT_ONCE)


def confirm_first(asks: gr.Button, sure: gr.Button, keep: gr.Button) -> None:
    """Let a press on `asks` offer `sure` and `keep`, which hides them again; what `sure` does is wired elsewhere."""
    for button, visible in ((asks, True), (keep, False)):
        button.click(lambda now=visible: [gr.update(visible=now)] * 2, None, [sure, keep], **AT_ONCE)


def download(button: gr.Button, make: Callable[..., str], inputs: Sequence[Block]) -> None:
    """Let the button make a file (`make` returns its path) and the browser save it, in one press.

    A gr.DownloadButton saves what it held before it was pressed, so it serves as the carrier only.
    """
    carrier = gr.DownloadButton(**UNSEEN)
    settings: dict[str, Any] = {"trigger_mode": "once", "concurrency_id": "export", **PRIVATE}
    made = button.click(make, inputs, carrier, **settings | {"show_progress_on": button})
    made.success(None, carrier, None, js=_SAVE, **AT_ONCE)


def plot(figure: Figure | str) -> PlotData:
    """A figure, or the JSON of one, in the form the plot component takes as it is."""
    return PlotData(type="plotly", plot=figure if isinstance(figure, str) else figure.to_json())
