"""A style for QGIS: the classes' colours and names, for label rasters and for polygons with a column "class".

QGIS looks for NAME.qml beside NAME.tif, NAME.gpkg and NAME.geojson, whichever is opened, and reads from it what is for
the layer's kind. So one file serves all three.

Format: what QGIS 3 saves as a layer's style ("QGIS QML style file").
"""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from pixelwise.records import ClassList

OUTLINE = "35,35,35,255"
OPAQUE_PERCENT = 70


def qgis_style(classes: ClassList) -> str:
    entries, categories, symbols = [], [], []
    for number, (name, colour) in enumerate(zip(classes.names, classes.colours, strict=True)):
        red, green, blue = colour
        entries.append(
            f'<paletteEntry value="{number}" color="#{red:02x}{green:02x}{blue:02x}" alpha="255" '
            f"label={quoteattr(name)}/>"
        )
        categories.append(
            f'<category type="string" value={quoteattr(name)} label={quoteattr(name)} symbol="{number}" render="true"/>'
        )
        symbols.append(fill_symbol(number, f"{red},{green},{blue},{OPAQUE_PERCENT * 255 // 100}"))
    return "\n".join([
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>",
        '<qgis version="3.22.0" styleCategories="Symbology">',
        "<pipe>",
        '<rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">',
        "<rasterTransparency/>",
        "<colorPalette>", *entries, "</colorPalette>",
        "</rasterrenderer>",
        '<rasterresampler maxOversampling="2"/>',
        "</pipe>",
        '<renderer-v2 type="categorizedSymbol" attr="class" forceraster="0" symbollevels="0" enableorderby="0">',
        "<categories>", *categories, "</categories>",
        "<symbols>", *symbols, "</symbols>",
        "</renderer-v2>",
        "<layerGeometryType>2</layerGeometryType>",
        "</qgis>", "",
    ])  # fmt: skip


def fill_symbol(number: int, colour: str) -> str:
    """Plainly filled polygons. Settings are there twice: as QGIS writes them since 3.22, and as before."""
    settings = {
        "color": colour, "style": "solid", "outline_color": OUTLINE, "outline_style": "solid", "outline_width": "0.1",
        "outline_width_unit": "MM",
    }  # fmt: skip
    options = "".join(f'<Option type="QString" name="{name}" value="{value}"/>' for name, value in settings.items())
    older = "".join(f'<prop k="{name}" v="{value}"/>' for name, value in settings.items())
    layer = f'<layer class="SimpleFill" enabled="1" locked="0" pass="0"><Option type="Map">{options}</Option>{older}'
    return f'<symbol type="fill" name="{number}" alpha="1" clip_to_extent="1" force_rhr="0">{layer}</layer></symbol>'
