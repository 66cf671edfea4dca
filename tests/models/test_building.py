"""Models made in several threads at once are the same as those made alone."""

from __future__ import annotations

import threading

import torch
from transformers import AutoConfig

from unlearn_core.models.shape import Shape
from unlearn_core.models.targets import load_target
from unlearn_core.system.assets import assets_directory


def test_a_shape_is_traced_alike_while_models_are_loaded() -> None:
    config = AutoConfig.from_pretrained(assets_directory() / "demo" / "original")
    alone = Shape(config, torch.float32).trace(1, 64)
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            load_target("demo")

    loaders = [threading.Thread(target=load) for _ in range(2)]
    for loader in loaders:
        loader.start()
    try:
        traced = {Shape(config, torch.float32).trace(1, 64) for _ in range(4)}
    finally:
        done.set()
        for loader in loaders:
            loader.join()
    assert traced == {alone}
    model = load_target("demo").model
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
