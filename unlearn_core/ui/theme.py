"""The look: a calm page, fonts served by the app itself, readable in light and dark.

Nothing here names another host: a visitor's browser talks to this server only.
"""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils import colors, fonts, sizes

from unlearn_core.system.assets import assets_directory

STYLE = assets_directory() / "style.css"

_WATER = colors.Color(
    name="water",
    c50="#eef7f6",
    c100="#d6ecea",
    c200="#aedad6",
    c300="#7dc1bb",
    c400="#4aa39d",
    c500="#258781",
    c600="#116e6a",
    c700="#0e5956",
    c800="#0d4745",
    c900="#0c3a39",
    c950="#062322",
)
_STONE = colors.Color(
    name="stone",
    c50="#f7f8f9",
    c100="#eef0f3",
    c200="#e1e5ea",
    c300="#cbd2da",
    c400="#97a3b1",
    c500="#667383",
    c600="#525e6d",
    c700="#3b4653",
    c800="#1b222b",
    c900="#141a21",
    c950="#0e1318",
)


def theme() -> gr.themes.Base:
    """The theme; every pair of text and background colours has a contrast of at least 4.5."""
    base = gr.themes.Base(
        primary_hue=_WATER,
        secondary_hue=_WATER,
        neutral_hue=_STONE,
        radius_size=sizes.radius_lg,
        text_size=sizes.text_md,
        # Gradio's semi-bold files hold a few letters only, so bold stands in.
        font=(
            fonts.LocalFont("IBM Plex Sans", weights=(400, 700)),
            "ui-sans-serif",
            "system-ui",
            "sans-serif",
        ),
        font_mono=(fonts.LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace"),
    )
    return base.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color="#1c2530",
        body_text_color_dark="#e7ebf0",
        body_text_color_subdued="#566272",
        body_text_color_subdued_dark="#a3afbd",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary_dark="*neutral_800",
        border_color_primary_dark="#2b3541",
        block_background_fill="#ffffff",
        block_background_fill_dark="*neutral_900",
        block_border_width="0px",
        block_info_text_color="#566272",
        block_info_text_color_dark="#a3afbd",
        block_label_text_color="#566272",
        block_label_text_color_dark="#a3afbd",
        block_title_text_color="#3b4653",
        block_title_text_color_dark="#c6cfd9",
        block_title_text_weight="600",
        block_title_text_size="*text_sm",
        input_background_fill="#ffffff",
        input_background_fill_dark="*neutral_800",
        input_border_width="1px",
        input_border_color="*neutral_300",
        input_border_color_dark="#3a4654",
        input_border_color_focus="*primary_600",
        input_border_color_focus_dark="*primary_400",
        input_placeholder_color="#667383",
        input_placeholder_color_dark="#94a1b0",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_text_color="#ffffff",
        button_secondary_background_fill="#ffffff",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="#3a4654",
        button_border_width="1px",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
        link_text_color_hover="*primary_800",
        link_text_color_hover_dark="*primary_200",
        layout_gap="16px",
    )
