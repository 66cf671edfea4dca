"""The map of the subjects of the run on screen: drawn anew when they were asked, and a press asks about one."""

from __future__ import annotations

import gradio as gr

from unlearn_core.report.run.live.neighbourhood import PLAY_MAP

# A press with nothing held asks on this page; any other opens the mark's own address, as with every link.
_PRESS = """
element.addEventListener('click', (event) => {
  const link = event.target.closest('a[data-subject]');
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  trigger('select', {subject: link.dataset.subject});
});
"""


def map_panel() -> gr.HTML:
    """Lay it out; its `select` tells the subject whose mark was pressed."""
    return gr.HTML(elem_id="le-map", js_on_load=PLAY_MAP + _PRESS)
