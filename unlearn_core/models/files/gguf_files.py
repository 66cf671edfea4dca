"""GGUF files (llama.cpp's format) as targets: found, checked, and written back.

A file is read with a small reader of our own before any library opens it: the `gguf` package allocates an
object for every element that a header announces, so a hostile header of a few bytes could fill the memory.
Only counts, sizes and names are read here. Format: ggml's docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from unlearn_core.errors import InputError, IntegrityError, first_line
from unlearn_core.models.files.model_files import TensorInfo, check_directory

if TYPE_CHECKING:
    import numpy as np
    import torch

SUFFIX = ".gguf"
_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_FIELDS = 10_000
_MAX_TENSORS = 100_000
_MAX_DIMENSIONS = 4
_MAX_NAME = 65_535  # bytes, the format's own limit of a key
_MAX_ELEMENTS = 2_000_000  # of all arrays of a header; a vocabulary of 256,000 tokens has three of its length
_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # by type of a value
_UNSIGNED = {0: "<B", 2: "<H", 4: "<I", 10: "<Q"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file announces: its architecture, its tensors, and its whole numbers by key."""

    architecture: str
    tensors: tuple[TensorInfo, ...]
    numbers: dict[str, int]
    keys: frozenset[str]


def gguf_of(folder: Path, ref: str) -> Path | None:
    """The GGUF file that `folder` is or stands for; None for a folder with a model in safetensors."""
    if folder.is_file():
        return folder
    if (folder / "config.json").exists():
        return None
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() == SUFFIX and path.is_file())
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:3])
        raise InputError("target", ref, f"holds {len(found)} GGUF files", f"Name one of them, for example {names}.")
    return found[0] if found else None


def check_files(place: Path, ref: str) -> tuple[TensorInfo, ...]:
    """The tensors that a folder or a GGUF file stores; LetheError where it must not or cannot be loaded."""
    path = gguf_of(place, ref)
    return check_directory(place, ref) if path is None else check_gguf(path, ref)


def source_of(place: Path, ref: str) -> tuple[Path, dict[str, Any]]:
    """Folder and settings from which `from_pretrained` reads what lies at `place`, from this machine alone."""
    path = gguf_of(place, ref)
    settings: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    return (place, settings) if path is None else (path.parent, {**settings, "gguf_file": path.name})


@contextmanager
def parsed_once() -> Iterator[None]:
    """Inside the `with`, the `gguf` package parses a file and makes its table of names once.

    transformers asks for both again for configuration, tokenizer and weights, and for the names of every module:
    a vocabulary of 49,152 tokens takes seconds each time. Its progress bar is left out: the caller shows progress.
    Held by one thread at a time (see `models.building`).
    """
    import gguf
    import numpy as np
    from transformers import modeling_gguf_pytorch_utils as reading

    class Reader(gguf.GGUFReader):
        """Slices a plain array of the mapped file: a vocabulary takes millions of slices, slow ones of a memmap."""

        data = property(lambda self: self.plain, lambda self, mapped: setattr(self, "plain", mapped.view(np.ndarray)))

    places = ((gguf, "GGUFReader"), (gguf, "get_tensor_name_map"), (reading, "tqdm"))
    before = [getattr(module, name) for module, name in places]
    after = [lru_cache(maxsize=1)(Reader), lru_cache(maxsize=4)(before[1]), partial(before[2], disable=True)]
    for (module, name), value in zip(places, after, strict=True):
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name), value in zip(places, before, strict=True):
            setattr(module, name, value)


def check_gguf(path: Path, ref: str) -> tuple[TensorInfo, ...]:
    """The tensors that a GGUF file stores; LetheError where it must not or cannot be loaded."""
    header = read_gguf_header(path, ref)
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    known = set(GGUF_SUPPORTED_ARCHITECTURES)
    if header.architecture not in known and header.architecture.replace("moe", "_moe") not in known:
        problem = f"is a GGUF file of the architecture {header.architecture!r}, which transformers cannot read"
        raise InputError("target", ref, problem, "Use the model's safetensors.")
    if "tokenizer.ggml.tokens" not in header.keys:
        raise InputError("target", ref, "is a GGUF file without a tokenizer", "Use the model's safetensors.")
    layers = header.numbers.get(f"{header.architecture}.block_count", 0)
    if layers > len(header.tensors):
        problem = f"lacks weights: {layers:,} layers are declared and {len(header.tensors):,} tensors stored"
        raise IntegrityError("target", ref, problem, "Download the file again.")
    return header.tensors


def read_gguf_header(path: Path, ref: str) -> GgufHeader:
    """The header of a GGUF file, read within fixed bounds; IntegrityError where it does not fit the file."""
    try:
        with path.open("rb") as file:
            return _Reader(file, path.stat().st_size).header()
    except (OSError, ValueError, struct.error, OverflowError, MemoryError) as error:
        problem = f"{path.name} is not a GGUF file that can be read ({first_line(error)})"
        raise IntegrityError("target", ref, problem, "Download it again.") from error


class _Reader:
    """Reads on from where it stands; ValueError says what does not fit."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._elements = 0

    def header(self) -> GgufHeader:
        if self._file.read(4) != _MAGIC:
            _unfit("it does not begin with GGUF")
        version = self._number("<I")
        if version not in _VERSIONS:
            _unfit(f"version {version} is not read here, only {_VERSIONS[0]} and {_VERSIONS[1]}")
        num_tensors, num_fields = self._number("<Q"), self._number("<Q")
        if num_tensors > _MAX_TENSORS or num_fields > _MAX_FIELDS:
            _unfit("it announces more entries than any model has")
        fields = dict(self._field() for _ in range(num_fields))
        entries = [self._tensor() for _ in range(num_tensors)]
        alignment = fields.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 2**20:
            _unfit("its alignment is not a number of bytes")
        start = self._file.tell() + -self._file.tell() % alignment
        for name, _, offset, num_bytes in entries:
            if offset + num_bytes > self._size - start:
                _unfit(f"the tensor {name[:80]!r} lies beyond its end")
        if not entries:
            _unfit("it stores no tensors")
        architecture = fields.get("general.architecture")
        if not isinstance(architecture, str):
            _unfit("it does not say its architecture")
        numbers = {key: value for key, value in fields.items() if isinstance(value, int)}
        # Whatever the stored type, what is held in memory are floating-point numbers.
        tensors = tuple(TensorInfo(name, "F32", values) for name, values, _, _ in entries)
        return GgufHeader(architecture, tensors, numbers, frozenset(fields))

    def _number(self, form: str) -> int:
        return int(struct.unpack(form, self._bytes(struct.calcsize(form)))[0])

    def _bytes(self, count: int) -> bytes:
        if count > self._size - self._file.tell():
            _unfit("it ends within its header")
        return self._file.read(count)

    def _skip(self, count: int) -> None:
        if count > self._size - self._file.tell():
            _unfit("it ends within its header")
        self._file.seek(count, 1)

    def _text(self) -> str:
        length = self._number("<Q")
        if length > _MAX_NAME:
            _unfit("a name in it is too long")
        return self._bytes(length).decode("utf-8")

    def _field(self) -> tuple[str, str | int | None]:
        """One key and, of single texts and whole numbers, the value."""
        key, kind = self._text(), self._number("<I")
        if kind == _STRING:
            length = self._number("<Q")
            if length > _MAX_NAME:  # a chat template may be as long
                self._skip(length)
                return key, None
            return key, self._bytes(length).decode("utf-8", "replace")
        if kind == _ARRAY:
            self._skip_array()
            return key, None
        if kind in _UNSIGNED:
            return key, self._number(_UNSIGNED[kind])
        self._skip(_width(kind))
        return key, None

    def _skip_array(self) -> None:
        kind, count = self._number("<I"), self._number("<Q")
        self._elements += count
        if self._elements > _MAX_ELEMENTS:
            _unfit("its lists are longer than any vocabulary")
        if kind == _STRING:
            for _ in range(count):
                self._skip(self._number("<Q"))
        else:
            self._skip(count * _width(kind))

    def _tensor(self) -> tuple[str, int, int, int]:
        """Name, number of values, offset in the data and size in bytes."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        name, num_dimensions = self._text(), self._number("<I")
        if num_dimensions > _MAX_DIMENSIONS:
            _unfit("a tensor in it has too many dimensions")
        num_values = 1
        for _ in range(num_dimensions):
            num_values *= self._number("<Q")
        kind, offset = self._number("<I"), self._number("<Q")
        per_block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
        return name, num_values, offset, num_values // per_block * block_bytes


def _width(kind: int) -> int:
    if kind not in _BYTES:
        _unfit(f"a value in it is of the unknown type {kind}")
    return _BYTES[kind]


def _unfit(reason: str) -> NoReturn:
    raise ValueError(reason)


def as_plain_model(model: Any) -> None:
    """Make a model that was dequantised on loading one like any other, to be trained and saved as such."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    for name in ("quantization_method", "is_loaded_in_8bit", "is_loaded_in_4bit"):
        if getattr(model, name, None) is not None:
            setattr(model, name, None)


# Architectures whose tensors have the same layout in both formats, but for the order of the rotary pairs in
# llama's query and key weights; the others' are reshaped or shifted, each in its own way.
_WRITABLE = ("llama", "qwen2", "qwen3")


def write_gguf(weights: dict[str, torch.Tensor], source: Path, out: Path, ref: str) -> Path:
    """Write `weights` (by transformers' names) as a GGUF file with all of `source`'s metadata.

    A tensor that is what `source` holds keeps its bytes; one that changed is stored as float16, or as
    float32 where it was. InputError where the architecture's layout cannot be written back.
    """
    import numpy as np
    import torch
    from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, dequantize
    from gguf.constants import GGUFValueType

    header = read_gguf_header(source, ref)
    if header.architecture not in _WRITABLE:
        problem = f"is of the architecture {header.architecture!r}, which cannot be written as GGUF"
        raise InputError("target", ref, problem, f"Export safetensors; GGUF is written for {', '.join(_WRITABLE)}.")
    reader = GGUFReader(source)
    names = _hf_names(weights, header)
    writer = GGUFWriter(out, header.architecture)
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), kind, inner)
    for tensor in reader.tensors:
        weight = weights[names[tensor.name]]
        new = _in_gguf_order(weight, tensor.name, header)
        old = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type)).to(weight.dtype)  # as it was loaded
        if np.array_equal(old.float().numpy(), new):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        elif tensor.tensor_type == GGMLQuantizationType.F32:
            writer.add_tensor(tensor.name, new)
        else:
            writer.add_tensor(tensor.name, new.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def _hf_names(weights: dict[str, torch.Tensor], header: GgufHeader) -> dict[str, str]:
    """transformers' name of every tensor of the file."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    arch = next(key for key, name in MODEL_ARCH_NAMES.items() if name == header.architecture)
    table = get_tensor_name_map(arch, header.numbers[f"{header.architecture}.block_count"])
    found = {}
    for name in weights:
        stem, _, leaf = name.rpartition(".")
        mapped = table.get_name(stem)
        if mapped is not None:
            found[f"{mapped}.{leaf}"] = name
    return found


def _in_gguf_order(weight: torch.Tensor, name: str, header: GgufHeader) -> np.ndarray:
    """A float32 array (as stored); llama's query and key rows pair neighbours instead of halves."""
    values = weight.detach().float().cpu()
    if header.architecture == "llama" and name.endswith(("attn_q.weight", "attn_k.weight")):
        key = "llama.attention.head_count"
        heads = header.numbers[key]
        if ".attn_k." in name:
            heads = header.numbers.get(f"{key}_kv", heads)
        rows, columns = values.shape
        values = values.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)
    return values.contiguous().numpy()
