"""Small drawn people in COCO sets and folders: enough for every step of ``convert`` to run."""

import json

import cv2
import numpy as np

LABELS = ("with_mask", "without_mask", "mask_weared_incorrect")


def draw_person(picture, x, y, size, label, rng):
    skin = tuple(int(v) for v in np.array((120, 160, 210)) * rng.uniform(0.4, 1.1))
    centre = (x + size // 2, y + size // 2)
    cv2.ellipse(picture, centre, (int(size * 0.38), size // 2), 0, 0, 360, skin, -1)
    for side in (-1, 1):
        eye = (centre[0] + side * size // 6, y + int(size * 0.38))
        cv2.circle(picture, eye, max(1, size // 16), (30, 20, 20), -1)
    mouth = (centre[0], y + int(size * 0.75))
    cv2.ellipse(picture, mouth, (size // 7, size // 20), 0, 0, 360, (70, 60, 170), -1)
    cv2.circle(picture, (centre[0], y + int(size * 0.55)), max(1, size // 18), (60, 90, 150), -1)
    top = {"with_mask": 0.48, "mask_weared_incorrect": 0.66}.get(label)
    if top is not None:
        corner = (x + int(size * 0.16), y + int(size * top))
        colour = tuple(int(v) for v in rng.integers(180, 255, 3))
        cv2.rectangle(picture, corner, (x + int(size * 0.84), y + int(size * 0.97)), colour, -1)


def write_set(folder, name, pictures, seed=0, faces=3):
    """``folder/name.json`` and ``folder/name/*.jpg``; returns the JSON's path."""
    rng = np.random.default_rng(seed)
    (folder / name).mkdir(parents=True)
    images, annotations = [], []
    for number in range(pictures):
        picture = rng.integers(0, 255, (6, 8, 3), np.uint8)
        picture = cv2.resize(picture, (240, 120), interpolation=cv2.INTER_CUBIC)
        for place in range(faces):
            label = (number + place) % len(LABELS)
            size = int(rng.integers(40, 70))
            x, y = 80 * place + int(rng.integers(0, 10)), int(rng.integers(10, 45))
            draw_person(picture, x, y, size, LABELS[label], rng)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": [x + size * 0.12, y, size * 0.76, size],
                    "iscrowd": 0,
                }
            )
        file = f"{name}_{number:03}.jpg"
        cv2.imwrite(str(folder / name / file), picture)
        images.append(
            {"id": number, "file_name": file, "width": 240, "height": 120, "source": "drawn"}
        )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i + 1, "name": label} for i, label in enumerate(LABELS)],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return path


def landmarks():
    """Where :func:`draw_person` puts eyes, nose and mouth, in a stored square (face = its half)."""
    face = np.array([[0.333, 0.38], [0.667, 0.38], [0.5, 0.55], [0.38, 0.75], [0.62, 0.75]])
    return (0.25 + face / 2).astype(np.float32)
