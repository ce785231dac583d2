"""Split, resizing, augmentation and batch orders, each against a slow twin or by counting."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from optnas.base.errors import UserError
from optnas.base.seeds import named_generator
from optnas.data import augmentation, batches, images
from optnas.data.sets.base import Dataset

SEEDS = range(5)
MEAN_C = torch.tensor([0.3, 0.4, 0.5], dtype=torch.float64)
STD_C = torch.tensor([0.2, 0.25, 0.3], dtype=torch.float64)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, shape, generator=rng(seed), dtype=torch.uint8)


def chi_square(counts: Counter[Any], cells: int) -> float:
    """Pearson's statistic against the uniform law on that many cells."""
    expected = counts.total() / cells
    missing = (cells - len(counts)) * expected
    return missing + sum((n - expected) ** 2 / expected for n in counts.values())


# Split


@pytest.mark.parametrize("size", [10, 11])
def test_halves_are_the_rows_up_to_the_middle_and_the_rest(size: int) -> None:
    train, valid = images.split_indices("halves", size, None, None, rng())
    assert train.tolist() == [0, 1, 2, 3, 4]
    assert valid.tolist() == list(range(5, size))


def test_random_halves_share_nothing_and_leave_nothing() -> None:
    train, valid = images.split_indices("random-halves", 101, None, None, rng())
    assert sorted(train.tolist() + valid.tolist()) == list(range(101))
    again, _ = images.split_indices("random-halves", 101, None, None, rng())
    other, _ = images.split_indices("random-halves", 101, None, None, rng(1))
    assert torch.equal(train, again)
    assert not torch.equal(train, other)


@pytest.mark.parametrize("kind", ["halves", "random-halves"])
def test_smaller_sizes_are_the_first_rows_of_each_half(
    kind: Literal["halves", "random-halves"],
) -> None:
    whole = images.split_indices(kind, 100, None, None, rng())
    train, valid = images.split_indices(kind, 100, 7, 50, rng())
    assert torch.equal(train, whole[0][:7])
    assert torch.equal(valid, whole[1])


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ((6, None), "data.train_size = 6: .* has 5; set it from 1 to 5"),
        ((None, 7), "data.valid_size = 7: .* has 6; set it from 1 to 6"),
        ((0, None), "data.train_size = 0"),
        ((None, -1), "data.valid_size = -1"),
    ],
)
def test_sizes_a_half_cannot_give(sizes: tuple[int | None, int | None], told: str) -> None:
    with pytest.raises(UserError, match=told):
        images.split_indices("halves", 11, *sizes, rng())


# Resizing and loading


@pytest.mark.parametrize("factor", [2, 4])
def test_shrinking_by_an_integer_averages_blocks(factor: int) -> None:
    images_NHWC = pixels(3, 16, 16, 2)
    small = images.resize(images_NHWC, 16 // factor)
    side = 16 // factor
    for n in range(3):
        for row in range(side):
            for column in range(side):
                block = images_NHWC[n, row * factor :, column * factor :][:factor, :factor]
                mean_C = block.numpy().mean((0, 1), dtype=np.float64)
                assert small[n, row, column].tolist() == np.rint(mean_C).tolist()


@pytest.mark.parametrize("resolution", [8, 5, 3, 16])
def test_resizing_keeps_constant_images_and_the_range(resolution: int) -> None:
    constant = torch.full((2, 8, 8, 1), 201, dtype=torch.uint8)
    assert (images.resize(constant, resolution) == 201).all()
    assert images.resize(constant, resolution).shape == (2, resolution, resolution, 1)
    corners = torch.zeros(1, 8, 8, 1, dtype=torch.uint8)
    corners[:, 4:] = 255
    resized = images.resize(corners, resolution)
    assert resized.dtype == torch.uint8
    assert resized[0, 0, 0, 0] <= 60
    assert resized[0, -1, 0, 0] >= 195


def test_resizing_to_the_same_resolution_and_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    images_NHWC = pixels(10, 8, 8, 3)
    assert images.resize(images_NHWC, 8) is images_NHWC
    whole = images.resize(images_NHWC, 4)
    monkeypatch.setattr(images, "RESIZE_CHUNK", 3)
    assert torch.equal(images.resize(images_NHWC, 4), whole)


def test_loaded_images_are_the_asked_rows() -> None:
    images_NHWC, labels_N = pixels(9, 8, 8, 3).numpy(), np.arange(9) % 3
    dataset = Dataset(
        name="made-up",
        classes=3,
        channels=3,
        resolution=8,
        size=9,
        mean=(0.3, 0.4, 0.5),
        std=(0.2, 0.25, 0.3),
        crop_padding=1,
        flip=True,
        note="Noise",
        files=(Path("nowhere"),),
        decode=lambda rows: (images_NHWC[rows], labels_N[rows]),
    )
    half = images.load_images(dataset, torch.tensor([8, 1, 4]), 8, dataset.moments())
    assert len(half) == 3
    batch_BCHW, labels_B = half.to_batch(torch.tensor([2, 0]))
    np.testing.assert_array_equal(batch_BCHW.permute(0, 2, 3, 1), images_NHWC[[4, 8]])
    assert labels_B.tolist() == [1, 2]
    assert torch.equal(half.mean_C, MEAN_C)
    assert torch.equal(half.std_C, STD_C)


# Augmentation, against twins that treat one image after the other with the same draws


def drawn(images_BCHW: torch.Tensor, seed: int = 0, **switched_on: Any) -> torch.Tensor:
    B, _, H, W = images_BCHW.shape
    return augmentation.Augmentation(**switched_on).draw(B, (H, W), rng(seed))


def naive_crop(images_BCHW: torch.Tensor, padding: int, generator: torch.Generator) -> torch.Tensor:
    B, C, H, W = images_BCHW.shape
    down, right = torch.randint(2 * padding + 1, (2, B), generator=generator).tolist()
    result = torch.zeros_like(images_BCHW)
    for b in range(B):
        canvas = torch.zeros(C, H + 2 * padding, W + 2 * padding, dtype=images_BCHW.dtype)
        canvas[:, padding : padding + H, padding : padding + W] = images_BCHW[b]
        result[b] = canvas[:, down[b] : down[b] + H, right[b] : right[b] + W]
    return result


def naive_flip(images_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    draws = torch.rand(len(images_BCHW), generator=generator).tolist()
    mirrored = [
        torch.from_numpy(np.ascontiguousarray(image.numpy()[:, :, ::-1])) if draw < 0.5 else image
        for image, draw in zip(images_BCHW, draws, strict=True)
    ]
    return torch.stack(mirrored)


def naive_normalise(images_BCHW: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    kind = {torch.float32: np.float32, torch.float64: np.float64}[dtype]
    result = np.empty(images_BCHW.shape, dtype=kind)
    for c in range(images_BCHW.shape[1]):
        mean, std = kind(MEAN_C[c].item()), kind(STD_C[c].item())
        result[:, c] = (images_BCHW[:, c].numpy().astype(kind) / kind(255) - mean) / std
    return torch.from_numpy(result)


def naive_cutout(
    images_BCHW: torch.Tensor, length: int, generator: torch.Generator
) -> torch.Tensor:
    B, _, H, W = images_BCHW.shape
    ys = torch.randint(H, (B,), generator=generator).tolist()
    xs = torch.randint(W, (B,), generator=generator).tolist()
    result = images_BCHW.clone()
    for image, y, x in zip(result, ys, xs, strict=True):
        top, bottom = max(y - length // 2, 0), min(y + length // 2, H)
        left, right = max(x - length // 2, 0), min(x + length // 2, W)
        image[:, top:bottom, left:right] = 0
    return result


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("padding", "shape"), [(4, (16, 3, 32, 32)), (1, (5, 1, 8, 6))])
def test_crop_agrees_with_its_twin(seed: int, padding: int, shape: tuple[int, ...]) -> None:
    images_BCHW = pixels(*shape, seed=seed)
    fast = augmentation.crop(images_BCHW, padding, drawn(images_BCHW, seed, crop_padding=padding))
    assert torch.equal(fast, naive_crop(images_BCHW, padding, rng(seed)))
    assert fast.dtype == torch.uint8


@pytest.mark.parametrize("seed", SEEDS)
def test_flip_agrees_with_its_twin(seed: int) -> None:
    images_BCHW = pixels(16, 3, 8, 6, seed=seed)
    fast = augmentation.flip(images_BCHW, drawn(images_BCHW, seed, flip=True)[0])
    assert torch.equal(fast, naive_flip(images_BCHW, rng(seed)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normalise_agrees_with_its_twin(dtype: torch.dtype) -> None:
    images_BCHW = pixels(4, 3, 8, 8)
    fast = augmentation.normalise(images_BCHW, MEAN_C, STD_C, dtype)
    assert torch.equal(fast, naive_normalise(images_BCHW, dtype))
    assert fast.dtype == dtype
    assert fast.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("length", [1, 4, 5, 16])
def test_cutout_agrees_with_its_twin(seed: int, length: int) -> None:
    images_BCHW = torch.randn(16, 3, 12, 10, generator=rng(seed), dtype=torch.float64)
    fast = augmentation.cutout(images_BCHW, length, drawn(images_BCHW, seed, cutout=length))
    assert torch.equal(fast, naive_cutout(images_BCHW, length, rng(seed)))


def test_augmentation_crops_flips_normalises_and_cuts_out_in_this_order() -> None:
    images_BCHW = pixels(8, 3, 32, 32)
    before = images_BCHW.clone()
    asked = augmentation.Augmentation(crop_padding=4, flip=True, cutout=16)
    draws_KB = asked.draw(8, (32, 32), rng(3))
    fast = asked.apply(images_BCHW, MEAN_C, STD_C, draws_KB, torch.float32)
    draws = rng(3)
    slow = naive_flip(naive_crop(images_BCHW, 4, draws), draws)
    slow = naive_cutout(naive_normalise(slow, torch.float32), 16, draws)
    assert torch.equal(fast, slow)
    assert torch.equal(images_BCHW, before)
    assert fast.is_contiguous(memory_format=torch.channels_last)


def test_without_augmentation_nothing_is_drawn() -> None:
    images_BCHW, generator = pixels(8, 3, 32, 32), rng(3)
    draws_KB = augmentation.Augmentation().draw(8, (32, 32), generator)
    plain = augmentation.Augmentation().apply(images_BCHW, MEAN_C, STD_C, draws_KB, torch.float64)
    assert torch.equal(plain, augmentation.normalise(images_BCHW, MEAN_C, STD_C, torch.float64))
    assert torch.equal(generator.get_state(), rng(3).get_state())


def test_draws_do_not_depend_on_the_default_type() -> None:
    images_BCHW = pixels(64, 3, 8, 8)
    usual = drawn(images_BCHW, flip=True)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(drawn(images_BCHW, flip=True), usual)
    finally:
        torch.set_default_dtype(torch.float32)


def test_crop_offsets_are_uniform() -> None:
    # With padding 4 the centre of a 9 x 9 crop is the pixel at the offset itself.
    images_BCHW = torch.arange(81, dtype=torch.uint8).view(1, 1, 9, 9).expand(16_200, 1, 9, 9)
    centres = augmentation.crop(images_BCHW, 4, drawn(images_BCHW, crop_padding=4))[:, 0, 4, 4]
    # 80 degrees of freedom: 125 is exceeded by a uniform law once in a thousand seeds.
    assert chi_square(Counter(centres.tolist()), 81) < 125


# Batch orders


@pytest.mark.parametrize(("drop_last", "lengths"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_an_epoch_has_each_position_once(drop_last: bool, lengths: list[int]) -> None:
    found = batches.epoch_batches(10, 4, rng(), drop_last=drop_last)
    assert [len(batch) for batch in found] == lengths
    order = torch.cat(found).tolist()
    assert len(set(order)) == sum(lengths)
    assert set(order) <= set(range(10))
    again = torch.cat(batches.epoch_batches(10, 4, rng(), drop_last=drop_last))
    assert order == again.tolist()


def test_an_epoch_without_a_short_batch_drops_none() -> None:
    assert [len(b) for b in batches.epoch_batches(8, 4, rng(), drop_last=True)] == [4, 4]
    assert batches.epoch_batches(3, 4, rng(), drop_last=True) == []


def test_fresh_batches_are_uniform_ordered_subsets() -> None:
    generator = rng()
    counts = Counter(tuple(batches.fresh_batch(4, 2, generator).tolist()) for _ in range(2_400))
    assert all(first != second for first, second in counts)
    # 11 degrees of freedom: 31.3 is exceeded once in a thousand seeds.
    assert chi_square(counts, 12) < 31.3
    assert sorted(batches.fresh_batch(3, 8, generator).tolist()) == [0, 1, 2]


def test_cycling_batches_are_epochs_one_after_the_other() -> None:
    cycling, generator = batches.CyclingBatches(10, 4, rng()), rng()
    for _ in range(3):
        for expected in batches.epoch_batches(10, 4, generator):
            assert torch.equal(cycling.next_batch(), expected)


@pytest.mark.parametrize("steps", [0, 1, 3, 4])
def test_cycling_batches_resume_where_they_were(steps: int, tmp_path: Path) -> None:
    cycling = batches.CyclingBatches(10, 4, rng())
    for _ in range(steps):
        cycling.next_batch()
    torch.save(cycling.state_dict(), tmp_path / "state.pt")
    expected = [cycling.next_batch() for _ in range(7)]
    resumed = batches.CyclingBatches(10, 4, rng(99))
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for batch in expected:
        assert torch.equal(resumed.next_batch(), batch)


# Streams


def test_streams_are_fixed_by_seed_and_name() -> None:
    first = torch.randint(1000, (8,), generator=named_generator(3, "split"))
    assert torch.equal(first, torch.randint(1000, (8,), generator=named_generator(3, "split")))
    assert named_generator(3, "split").initial_seed() == 0x4BFBC4F7F07155E5
    seen = {
        named_generator(seed, name).initial_seed() & 0xFFFFFFFF
        for seed in range(100)
        for name in ("split", "weight-init", "alpha-init", "train-order", "valid-order")
    }
    assert len(seen) == 500


def test_what_is_sent_in_one_copy_arrives_as_it_was() -> None:
    tensors = [
        torch.arange(6).view(2, 3),
        torch.empty(0, 4, dtype=torch.int64),
        torch.rand(3, 5, generator=rng(), dtype=torch.float64).T,
        torch.tensor([[-1.5, torch.pi]], dtype=torch.float64),
    ]
    joined = batches.join(tensors)
    assert (joined.dtype, joined.shape) == (torch.int64, (23,))
    for found, sent in zip(batches.split(joined, tensors), tensors, strict=True):
        assert torch.equal(found, sent)
        assert found.dtype == sent.dtype
    assert [each.shape for each in batches.send(tensors, torch.device("meta"))] == [
        each.shape for each in tensors
    ]


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    generator = named_generator(0, "train-augmentation")
    images.split_indices("random-halves", 10, None, None, generator)
    batches.epoch_batches(10, 4, generator)
    batches.fresh_batch(10, 4, generator)
    batches.CyclingBatches(10, 4, generator).next_batch()
    asked = augmentation.Augmentation(crop_padding=1, flip=True, cutout=4)
    asked.draw(4, (8, 8), generator)
    assert torch.equal(torch.get_rng_state(), before)
