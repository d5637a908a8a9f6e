"""The small data that the pages' examples use, drawn by Pixelwise and NumPy: `python docs/example_data.py FOLDER`.

scenes/       40 street scenes, 128 × 128, in train, val and test
run/          a model trained on them for 8 epochs
photo.jpg     a street that no split holds; photos/ holds three, unlabelled/ six
cracks/       12 grey photos of a wall with thin cracks, masks of 0 and 255
cells/        12 16-bit images of bright nuclei, masks of 0 and 1; cells.png is one more
fields/       8 satellite images of five bands in signed 16 bits, with names and places without data, and masks of 0
              and 1 (water); field.tif is one more
my_data/      a few of the scenes
map.tif       a tiled GeoTIFF of 1,200 × 900 pixels
town.tif      an aerial photo of 640 × 640 pixels in UTM zone 32; houses.gpkg has its houses and ponds, in degrees
clip.mp4      a second of video, ten frames
"""

from __future__ import annotations

import sys
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import tifffile

import pixelwise as pw
from pixelwise.scenes.render_scene import render_scene, write_scenes

Pixels = npt.NDArray[np.uint8]
BANDS = ("blue", "green", "red", "nir", "swir")


def make_examples(folder: Path) -> None:
    """Fill `folder`; the same bytes every time on one machine."""
    folder.mkdir(parents=True)
    write_scenes(folder / "scenes", {"train": 24, "val": 8, "test": 8}, height_px=128, width_px=128)
    write_scenes(folder / "my_data", {"train": 4, "val": 2, "test": 2}, height_px=96, width_px=96)
    pw.train(folder / "scenes", folder / "run", pw.Recipe(epochs=8, size=(128, 128)))
    for name, number, height_px, width_px in (
        ("photo.jpg", 7, 360, 480),
        *((f"photos/{name}.jpg", 20 + i, 240, 320) for i, name in enumerate(("bridge", "crossing", "market"))),
        *((f"unlabelled/{i:04}.jpg", 40 + i, 128, 128) for i in range(6)),
    ):
        write_image(folder / name, render_scene(1, number, height_px, width_px)[0][:, :, ::-1])
    for i in range(12):
        chance = np.random.default_rng(i)
        image, mask = draw_crack(chance)
        write_image(folder / "cracks" / "images" / f"wall_{i:02}.png", image)
        write_image(folder / "cracks" / "masks" / f"wall_{i:02}.png", mask)
        image16, mask = draw_cells(chance)
        write_image(folder / "cells" / "images" / f"well_{i:02}.png", image16)
        write_image(folder / "cells" / "masks" / f"well_{i:02}.png", mask)
    for i in range(8):
        bands, mask = draw_field(np.random.default_rng(i))
        write_field(folder / "fields" / "images" / f"field_{i:02}.tif", bands)
        write_image(folder / "fields" / "masks" / f"field_{i:02}.png", mask)
    write_field(folder / "field.tif", draw_field(np.random.default_rng(99))[0])
    write_image(folder / "cells.png", draw_cells(np.random.default_rng(99))[0])
    write_map(folder / "map.tif")
    write_town(folder / "town.tif", folder / "houses.gpkg")
    write_clip(folder / "clip.mp4")


def write_image(path: Path, pixels: npt.NDArray[np.uint8 | np.uint16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), pixels):
        raise OSError(f"{path}: not written")


def draw_crack(chance: np.random.Generator) -> tuple[Pixels, Pixels]:
    """A grey wall with one dark crack, and its mask of 0 and 255."""
    image = cv2.GaussianBlur(chance.normal(165, 22, (160, 160)).astype(np.float32), (0, 0), 1.2)
    mask = np.zeros((160, 160), np.uint8)
    down = np.arange(0, 161, 8)
    across = 80 + chance.normal(0, 30) + np.cumsum(chance.normal(0, 5, down.size))
    line = np.stack([across, down], axis=1).round().astype(np.int32)
    cv2.polylines(mask, [line], False, 255, 3)
    image[mask > 0] -= 70
    return np.clip(image, 0, 255).astype(np.uint8), mask


def draw_cells(chance: np.random.Generator) -> tuple[npt.NDArray[np.uint16], Pixels]:
    """Bright nuclei on a dark ground in 16 bits, and their mask of 0 and 1."""
    mask = np.zeros((160, 160), np.uint8)
    for _ in range(14):
        centre, axes = chance.integers(8, 152, 2), chance.integers(5, 11, 2)
        cv2.ellipse(mask, centre.tolist(), axes.tolist(), float(chance.uniform(0, 180)), 0, 360, 1, -1)
    light = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.5) * 21000 + chance.normal(3000, 600, mask.shape)
    return np.clip(light, 0, 65535).astype(np.uint16), mask


def draw_field(chance: np.random.Generator) -> tuple[npt.NDArray[np.int16], Pixels]:
    """Reflectances × 10,000 in `BANDS`, −9999 where the satellite saw nothing, and the mask of a lake."""
    mask = np.zeros((128, 128), np.uint8)
    centre, axes = chance.integers(30, 98, 2), chance.integers(14, 34, 2)
    cv2.ellipse(mask, centre.tolist(), axes.tolist(), float(chance.uniform(0, 180)), 0, 360, 1, -1)
    land, water = np.array([600, 800, 1000, 2600, 1900]), np.array([500, 550, 420, 260, 120])
    meadow = cv2.GaussianBlur(chance.normal(1, 1.2, (128, 128)), (0, 0), 6)[:, :, None]
    bands = np.where(mask[:, :, None] == 1, water, land * (0.9 + 0.5 * meadow)) + chance.normal(0, 60, (128, 128, 5))
    bands[:, : chance.integers(1, 12)] = -9999
    return bands.astype(np.int16), mask


def write_field(path: Path, bands: npt.NDArray[np.int16]) -> None:
    """A TIFF as GDAL writes it: names and the value that stands for no data are in its tags."""
    names = "".join(
        f'<Item name="DESCRIPTION" sample="{i}" role="description">{name}</Item>' for i, name in enumerate(BANDS)
    )
    tags = [(42112, "s", 0, f"<GDALMetadata>{names}</GDALMetadata>", True), (42113, "s", 0, "-9999", True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, bands, photometric="minisblack", planarconfig="contig", metadata=None, extratags=tags)


def write_map(path: Path) -> None:
    """An orthophoto, half a metre a pixel, in UTM zone 32 north."""
    pixels, _ = render_scene(2, 3, 900, 1200)
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632)
    place = [
        (33550, "d", 3, (0.5, 0.5, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 500000.0, 5650000.0, 0.0), True),
        (34735, "H", len(keys), keys, True),
    ]
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", compression="deflate", extratags=place)


def write_town(photo: Path, labels: Path) -> None:
    """Houses in rows, some of them wall to wall, and ponds on grass; and their outlines in longitude and latitude."""
    import pyogrio.raw
    import pyproj
    import rasterio
    import shapely
    from shapely.affinity import rotate

    chance = np.random.default_rng(5)
    side, place = 640, rasterio.Affine(0.5, 0, 565000.0, 0, -0.5, 5934000.0)
    photo_HW3 = np.array([95, 120, 70]) + chance.normal(0, 9, (side, side, 1)) + chance.normal(0, 4, (side, side, 3))
    shapes, names = [], []
    for x in range(20, side - 40, 48):
        for y in range(24, side - 40, 52):
            width, depth = chance.integers(16, 26, 2)
            if chance.random() < 0.12:
                shapes.append(shapely.Point(x + 12, y + 12).buffer(chance.uniform(7, 12)))
                names.append("pond")
            else:
                angle = chance.uniform(-25, 25)
                shapes.append(rotate(shapely.box(x, y, x + width, y + depth), angle, origin=(x, y)))
                names.append("house")
                if chance.random() < 0.2:  # a neighbour wall to wall
                    shapes.append(rotate(shapely.box(x + width, y, x + 1.7 * width, y + depth), angle, origin=(x, y)))
                    names.append("house")
    for shape, name in zip(shapes, names, strict=True):
        colour = np.array([168, 78, 60]) + chance.normal(0, 14) if name == "house" else np.array([48, 74, 96])
        inside = np.zeros((side, side), np.uint8)
        cv2.fillPoly(inside, [np.round(np.array(shape.exterior.coords) - 0.5).astype(np.int32)], 1)
        photo_HW3[inside == 1] = colour + chance.normal(0, 6, (int(inside.sum()), 3))
    profile = {"driver": "COG", "dtype": "uint8", "crs": "EPSG:32632", "transform": place, "compress": "deflate"}
    with rasterio.open(photo, "w", width=side, height=side, count=3, **profile) as file:
        file.colorinterp = [rasterio.enums.ColorInterp[name] for name in ("red", "green", "blue")]
        file.write(np.moveaxis(np.clip(photo_HW3, 0, 255).astype(np.uint8), 2, 0))
    to_degrees = pyproj.Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
    on_earth = [
        shapely.transform(one, lambda p: np.stack(to_degrees.transform(*(place @ (p[:, 0], p[:, 1]))), axis=1))
        for one in shapes
    ]
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2026-01-01T00:00:00.000Z"})  # the same bytes every time
    pyogrio.raw.write(
        labels, shapely.to_wkb(on_earth), [np.array(names, object)], ["class"], layer="houses",
        geometry_type="Polygon", crs="EPSG:4326", driver="GPKG",
    )  # fmt: skip


def write_clip(path: Path) -> None:
    """A camera that moves along a street: ten frames in a second."""
    street, _ = render_scene(2, 5, 240, 400)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for shift_px in range(0, 80, 8):
            frame = np.ascontiguousarray(street[:, shift_px : shift_px + 320])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


if __name__ == "__main__":
    make_examples(Path(sys.argv[1]))
