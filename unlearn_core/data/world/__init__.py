"""The bundled synthetic world: who is in it, what is asked, and what a model is trained on to know it."""

from unlearn_core.data.world.corpus import base_epoch, memorise_epoch, tokenizer_text
from unlearn_core.data.world.demo import demo_data, make_world

__all__ = ["base_epoch", "demo_data", "make_world", "memorise_epoch", "tokenizer_text"]
