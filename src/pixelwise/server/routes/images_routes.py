"""The images of a folder of data: rows, pictures, findings, suspected label errors, and the repaired copy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as Path_
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from pixelwise.doctor.check_page import pair_picture
from pixelwise.doctor.check_report import Group
from pixelwise.doctor.label_decisions import What
from pixelwise.doctor.repair_questions import repair_questions
from pixelwise.images.files import shown
from pixelwise.server.error_responses import RequestError
from pixelwise.server.gallery.galleries import Gallery
from pixelwise.server.gallery.image_rows import Order, RowFilter, chosen_places, filter_counts, image_json, row_json
from pixelwise.server.gallery.opened_folder import OpenedFolder
from pixelwise.server.gallery.sample_thumbnails import LARGE_PX, QUALITY, View, sample_jpeg
from pixelwise.server.gallery.suspect_pictures import SuspectView, suspect_jpeg
from pixelwise.server.labelling.photo_pictures import jpeg
from pixelwise.server.routes.data_routes import Below, DataKey
from pixelwise.server.routes.predict_routes import TheState

router = APIRouter(prefix="/v1/data/{key}/gallery", tags=["images"])
CARD_PICTURES = 8  # images that stand for a finding
SHOWN_MESSAGES = 5
DEPTH = {"ge": 0, "le": 9_999_999}
Place = Annotated[int, Path_(**DEPTH, description="The place of an image in its folder, from 0.")]
Number = Annotated[int, Path_(**DEPTH, description="The place of a suspected label error in their list, from 0.")]


def gallery_of(state: TheState, key: DataKey, below: Below = "") -> Gallery:
    return state.galleries.get(key, state.data.folder(key, below))


TheGallery = Annotated[Gallery, Depends(gallery_of)]


class LabelChoice(BaseModel):
    """What to do with a suspected label error. `null` takes a decision back."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"what": "relabel", "to": "road"}]})

    what: What | None
    to: str = Field("", max_length=300, description="The class that is right, for `relabel`.")


class Answers(BaseModel):
    """The answers to the questions of GET …/repair, by their keys. A question left out changes nothing."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"answers": {"drop_copies": True}}]})

    answers: dict[str, Any] = {}


@dataclass
class ImageQuery:
    """Which images, in which order. What is left out lets every image pass."""

    split: Annotated[str, Query(max_length=20)] = ""
    class_id: Annotated[int | None, Query(ge=0, le=254, description="Only images that hold this class.")] = None
    size: Annotated[str, Query(max_length=20, description="Such as 640x480, or other.")] = ""
    finding: Annotated[str, Query(max_length=60, description="A kind of finding; any; or none.")] = ""
    score_below: Annotated[float | None, Query(gt=0, le=1, description="mIoU, 0–1.")] = None
    search: Annotated[str, Query(max_length=200, description="Only images with this in their name.")] = ""
    order: Annotated[Order, Query(description="worst: the lowest score first.")] = "name"


@router.get("")
def gallery(gallery: TheGallery) -> dict[str, Any]:
    """What the folder holds, how far it is read, what each filter would show, and the work that is going on."""
    folder = gallery.folder
    dataset = folder.dataset
    scored = folder.scored
    return {
        "stage": folder.stage,
        "version": folder.version,
        "total": len(folder.samples),
        "layout": folder.listed.layout if folder.listed else None,
        "classes": dataset.classes.to_json() if dataset else [],
        "failure": str(folder.failure).splitlines()[0] if folder.failure else "",
        "checked": folder.checked is not None,
        "scored_by": {"model": scored.model, "title": scored.title} if scored else None,
        "counts": filter_counts(folder),
        "jobs": {kind: job.to_json() for kind, job in gallery.jobs.items()},
    }


@router.get("/images")
def images(
    state: TheState,
    gallery: TheGallery,
    wanted: Annotated[ImageQuery, Depends(ImageQuery)],
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> dict[str, Any]:
    """The images that pass every filter, a part at a time."""
    state.galleries.expect_pictures()
    places = chosen_places(gallery.folder, RowFilter(**vars(wanted)))
    rows = [row_json(gallery.folder, place) for place in places[offset : offset + limit]]
    return {"total": len(places), "offset": offset, "images": rows}


@router.get("/images/{place}")
def image(gallery: TheGallery, place: Place) -> dict[str, Any]:
    """One image: the shares of its classes, its findings, its score."""
    require_place(gallery.folder, place)
    return image_json(gallery.folder, place)


@router.get("/images/{place}/thumbnail", response_class=Response)
def thumbnail(request: Request, state: TheState, gallery: TheGallery, place: Place, view: View = "both") -> Response:
    """A small picture of an image: under its mask, alone, or its mask. No content where it cannot be read."""
    require_place(gallery.folder, place)
    return kept_picture(request, state.galleries.thumbnail(gallery, place, view))


@router.get("/images/{place}/picture", response_class=Response)
def picture(request: Request, gallery: TheGallery, place: Place, view: View = "both") -> Response:
    """A large picture of an image."""
    folder = gallery.folder
    require_place(folder, place)
    return kept_picture(request, sample_jpeg(folder.samples[place][1], folder.dataset, view, LARGE_PX))


@router.get("/images/{place}/pair", response_class=Response)
def pair(request: Request, gallery: TheGallery, place: Place) -> Response:
    """An image and its mask side by side, as they are stored. No content where neither can be read."""
    folder = gallery.folder
    require_place(folder, place)
    checked = require_checked(gallery)
    report = checked.diagnosis.report
    found = pair_picture(folder.samples[place][1], report.classes, report.bands)
    return kept_picture(request, b"" if found is None else jpeg(found, QUALITY))


@router.get("/findings")
def findings(gallery: TheGallery) -> dict[str, Any]:
    """What a check found, by kind, errors first; with images that show it."""
    report = require_checked(gallery).diagnosis.report
    return {
        "sound": report.sound,
        "notes": list(report.notes),
        "groups": [group_json(gallery.folder, group) for group in report.groups()],
    }


@router.post("/check", status_code=202)
def check(gallery: TheGallery) -> dict[str, Any]:
    """Begin to check the folder, as `pixelwise check` does; the answer of GET says how far it is."""
    return gallery.check().to_json()


@router.post("/score", status_code=202)
def score(gallery: TheGallery, model: Annotated[str, Query(max_length=60)] = "") -> dict[str, Any]:
    """Begin to run a model on every image: a score for each, and suspected label errors."""
    return gallery.score(model).to_json()


@router.post("/stop")
def stop(gallery: TheGallery) -> dict[str, Any]:
    """Stop what is going on after the image that it is at; scores found so far stay."""
    gallery.stop()
    return {"stopped": True}


@router.get("/suspects")
def suspects(gallery: TheGallery) -> dict[str, Any]:
    """Suspected label errors, the largest first, with what was decided on each."""
    scored = gallery.folder.scored
    decided = {one.region: one for one in gallery.decisions()}
    rows = []
    for number, region in enumerate(scored.regions if scored else ()):
        suspect = region.suspect
        made = decided.get((shown(suspect.sample.name), suspect.box, region.runs))
        rows.append({
            **suspect.to_json(), "number": number, "place": gallery.folder.place_of(shown(suspect.sample.name)),
            "decision": {"what": made.what, "to": made.to} if made else None,
        })  # fmt: skip
    return {"suspects": rows, "decided": len(decided), "file": shown(gallery.decisions_path) if decided else None}


@router.get("/suspects/{number}/picture", response_class=Response)
def suspect_picture(request: Request, gallery: TheGallery, number: Number, view: SuspectView = "image") -> Response:
    """The region of a suspected label error: the image, its mask, or the mask as the model would have it."""
    return kept_picture(request, suspect_jpeg(gallery.region(number), gallery.folder.dataset, view))


@router.put("/suspects/{number}")
def decide(gallery: TheGallery, number: Number, choice: LabelChoice) -> dict[str, Any]:
    """Keep a person's decision. The data stay as they are; a repaired copy has it applied."""
    gallery.decide(number, choice.what, choice.to)
    return suspects(gallery)


@router.get("/repair")
def repair_form(gallery: TheGallery) -> dict[str, Any]:
    """What only a person knows before a repaired copy is written."""
    checked = require_checked(gallery)
    changes = [one for one in gallery.decisions() if one.what != "keep"]
    return {
        "questions": [question.to_json() for question in repair_questions(checked.diagnosis)],
        "decisions": len(changes),
        "into": shown(gallery.runs()),
    }


@router.post("/repair", status_code=202)
def repair(gallery: TheGallery, given: Answers) -> dict[str, Any]:
    """Begin to write a repaired copy into the folder of runs; the data stay as they are."""
    return gallery.repair(given.answers).to_json()


def group_json(folder: OpenedFolder, group: Group) -> dict[str, Any]:
    """One kind of finding; `places`: images that show it."""
    known = folder.checked.problems if folder.checked else {}
    places = [place for place, found in known.items() if any(one.kind == group.kind for one in found)]
    return {
        "kind": group.kind,
        "severity": group.severity,
        "count": len(group.problems),
        "messages": [{"where": one.where, "message": one.message} for one in group.problems[:SHOWN_MESSAGES]],
        "remedies": list(group.remedies),
        "images": len(places),
        "places": places[:CARD_PICTURES],
    }


def kept_picture(request: Request, picture: bytes) -> Response:
    """A JPEG that the browser keeps for a while, and then asks whether it is still the same; empty: no content."""
    tag = f'"{hashlib.sha256(picture).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "private, max-age=300", "Content-Encoding": "identity"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    if not picture:
        return Response(status_code=204, headers={"Cache-Control": "private, max-age=300"})
    return Response(picture, headers=headers, media_type="image/jpeg")


def require_place(folder: OpenedFolder, place: int) -> None:
    if place >= len(folder.samples):
        raise RequestError(404, "image-unknown", "This folder has no such image.", "Its images are listed at …/images.")


def require_checked(gallery: Gallery) -> Any:
    if gallery.folder.checked is None:
        raise RequestError(409, "check-first", "This folder has not been checked yet.", "POST …/check, and wait.")
    return gallery.folder.checked
