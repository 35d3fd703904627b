"""Small data sets in the original formats of the large ones."""

import json
import pickle
import zlib

import numpy as np
from PIL import Image


def save_image(path, color, size=(40, 30)):
    """A photograph of one color with a little noise, as JPEG or PNG by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(zlib.crc32(path.name.encode())).integers(-20, 20, (size[1], size[0], 3))
    Image.fromarray(np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)).save(path)


COLORS = ((200, 40, 40), (40, 200, 40), (40, 40, 200))
COUNTS = {"train": (12, 6, 3), "val": (2, 2, 2), "test": (3, 3, 3)}


def write_images(root, parts=("train", "val", "test"), counts=COUNTS):
    """`part/class/number.jpg` of three classes; returns the (name, label) pairs of each part."""
    listed = {}
    for part in parts:
        listed[part] = []
        for label, count in enumerate(counts[part]):
            for number in range(count):
                name = f"{part}/n{label:04d}/{part}_{label}_{number}.jpg"
                save_image(root / name, COLORS[label])
                listed[part].append((name, label))
    return listed


def write_lists(root, names, listed):
    for part, name in names.items():
        (root / name).write_text("".join(f"{image} {label}\n" for image, label in listed[part]))


def write_inaturalist(root, listed):
    for part, year in (("train", "train2018"), ("val", "val2018")):
        content = {
            "images": [{"id": 10 + k, "file_name": name} for k, (name, _) in enumerate(listed[part])],
            "annotations": [{"image_id": 10 + k, "category_id": 5 * c} for k, (_, c) in enumerate(listed[part])],
            "categories": [{"id": 5 * c, "name": f"species {c}"} for c in (2, 0, 1)],
        }
        (root / f"{year}.json").write_text(json.dumps(content))


def write_cifar(folder, classes, a_class, seed=0):
    """Files as of cifar-10-python.tar.gz (five batches) or cifar-100-python.tar.gz."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    files = [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"] if classes == 10 else ["train", "test"]
    key = b"labels" if classes == 10 else b"fine_labels"
    written = {}
    for name in files:
        labels = random.permutation(np.repeat(np.arange(classes), a_class)).tolist()
        data = random.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        with (folder / name).open("wb") as file:
            pickle.dump({b"data": data, key: labels, b"batch_label": b"a part"}, file, protocol=2)
        written[name] = (data, labels)
    meta = {b"label_names" if classes == 10 else b"fine_label_names": [f"class {c}".encode() for c in range(classes)]}
    with (folder / ("batches.meta" if classes == 10 else "meta")).open("wb") as file:
        pickle.dump(meta, file, protocol=2)
    return written
