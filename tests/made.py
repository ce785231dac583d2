"""Images made up, and written in the layouts that researchers hold; shared by the suite."""

from __future__ import annotations

import io
import json
import pickle
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

# name -> folder of the pickles, training batches, test batches, key of the labels, classes
ARCHIVES = {
    "cifar10": (
        "cifar-10-batches-py",
        [f"data_batch_{number}" for number in range(1, 6)],
        ["test_batch"],
        "labels",
        10,
    ),
    "cifar100": ("cifar-100-python", ["train"], ["test"], "fine_labels", 100),
    "imagenet16-120": (
        "ImageNet16",
        [f"train_data_batch_{number}" for number in range(1, 11)],
        ["val_data"],
        "labels",
        120,
    ),
}


def pixels(count: int, side: int = 32, seed: int = 0) -> np.ndarray:
    """Noise, ``uint8 [count, side, side, 3]``."""
    shape = (count, side, side, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    """An image file, without loss."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def flat(images_NHWC: np.ndarray) -> np.ndarray:
    """Images as batches have them: channel by channel."""
    return np.ascontiguousarray(images_NHWC.transpose(0, 3, 1, 2)).reshape(len(images_NHWC), -1)


def parquet_bytes(
    images: Sequence[bytes | None],
    labels: Sequence[int | None],
    image: str = "img",
    label: str = "label",
    rows_per_group: int = 3,
) -> bytes:
    """A parquet file in the layout of the hubs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": each, "path": "x.png"} for each in images], kind)
    table = pa.table({image: column, label: pa.array(labels, pa.int64())})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=rows_per_group)
    return buffer.getvalue()


def batch_bytes(
    images_NHWC: np.ndarray, labels: Sequence[int], key: str = "labels", protocol: int = 2
) -> bytes:
    """A pickled batch as this Python and this numpy write it."""
    content = {"batch_label": "one", key: list(labels), "data": flat(images_NHWC)}
    return pickle.dumps(content, protocol=protocol)


def python2_batch_bytes(
    images_NHWC: np.ndarray, labels: Sequence[int], key: str = "labels"
) -> bytes:
    """A pickled batch as Python 2 wrote it: texts and the array's bytes are 8-bit strings."""
    data = flat(images_NHWC)

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode("latin1")

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    kind = b"cnumpy\ndtype\n" + text("u1") + b"K\x00K\x01\x87R"
    kind += b"(K\x03" + text("|") + b"NNN" + number(-1) + number(-1) + b"K\x00tb"
    raw = data.tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text("b")
    array += b"\x87R(K\x01" + number(data.shape[0]) + number(data.shape[1]) + b"\x86"
    array += kind + b"\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    listed = b"](" + b"".join(map(number, labels)) + b"e"
    items = text("batch_label") + text("caf\xe9") + text(key) + listed + text("data") + array
    return b"\x80\x02}(" + items + b"u."


def archive_files(
    name: str, images_NHWC: np.ndarray, labels: Sequence[int], part: str = "train", **how: Any
) -> dict[str, str | bytes]:
    """The pickled batches of a data set by path below the data folder, rows shared out in order."""
    folder, train, test, key, _ = ARCHIVES[name]
    batches = train if part == "train" else test
    cuts = [len(labels) * number // len(batches) for number in range(len(batches) + 1)]
    write = python2_batch_bytes if how.pop("python2", False) else batch_bytes
    return {
        f"{folder}/{batch}": write(images_NHWC[start:stop], labels[start:stop], key, **how)
        for batch, start, stop in zip(batches, cuts[:-1], cuts[1:], strict=True)
    }


def split_text(**lists: Sequence[int]) -> str:
    """A file in the form of the benchmark's split files."""
    return json.dumps({name: ["int", [str(row) for row in rows]] for name, rows in lists.items()})


def idx(content: np.ndarray) -> bytes:
    """An idx file of bytes, as MNIST was distributed."""
    head = bytes((0, 0, 8, content.ndim)) + struct.pack(f">{content.ndim}I", *content.shape)
    return head + content.astype(np.uint8).tobytes()
