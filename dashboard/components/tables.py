"""AG Grid tables: figures sort as figures and read as components/format.py writes them.

A cell's field holds what sorts; `<field>_text`, where a row has it, what is shown; `<field>_bad` makes it red;
`<field>_href` makes it a link that keeps the page's history.
"""

from __future__ import annotations

from typing import Any

import dash_ag_grid as dag

from dashboard.components.format import duration, missing, percent, rate
from dashboard.source import Row

Column = dict[str, Any]
Cell = dict[str, Any]

_THEME = (
    "themeBalham.withParams({backgroundColor: '#161c23', foregroundColor: '#e8eaed', headerBackgroundColor: '#1d252e',"
    " headerTextColor: '#9aa4b0', borderColor: '#2a333d', rowHoverColor: '#222c36', oddRowBackgroundColor: '#161c23',"
    " accentColor: '#56b4e9', selectedRowBackgroundColor: '#24384a', browserColorScheme: 'dark',"
    " fontFamily: 'system-ui, sans-serif', fontSize: 13, spacing: 4, wrapperBorder: false,"
    " headerColumnBorder: false, columnBorder: false})"
)

_BAD = "params.data && params.data[params.colDef.field + '_bad']"
_DIM = "params.data && params.data[params.colDef.field + '_dim']"
_MAIN = "params.data && params.data[params.colDef.field + '_main']"


def text(field: str, header: str, width: int = 0, tip: str = "", **more: Any) -> Column:
    """A column of text; `width` 0 takes what is left."""
    column: Column = {
        "field": field,
        "headerName": header,
        "headerTooltip": tip or None,
        "tooltipField": field,
        "cellClassRules": {"bad": _BAD, "dim": _DIM, "main": _MAIN},
    }
    column |= {"width": width} if width else {"flex": 1, "minWidth": 110}
    return column | more


def link(field: str, header: str, width: int = 0, **more: Any) -> Column:
    """A column of links, to `<field>_href`."""
    return text(field, header, width, cellRenderer="SondeLink", **more)


def number(field: str, header: str, width: int = 96, tip: str = "", **more: Any) -> Column:
    """A column of figures, right-aligned, shown as `<field>_text`."""
    return {
        "field": field,
        "headerName": header,
        "headerTooltip": tip or None,
        "type": "rightAligned",
        "width": width,
        "sortingOrder": ["desc", "asc", None],
        "cellClassRules": {"bad": _BAD, "dim": _DIM, "main": _MAIN},
        "valueFormatter": {
            "function": "params.data && params.data[params.colDef.field + '_text'] != null ? "
            "params.data[params.colDef.field + '_text'] : params.value"
        },
    } | more


def spark(field: str, header: str, width: int = 130) -> Column:
    """A column of small line charts; the cell is a list of figures."""
    return {
        "field": field,
        "headerName": header,
        "width": width,
        "sortable": False,
        "cellRenderer": "SondeSpark",
        "cellDataType": False,
    }


def grid(name: str, columns: list[Column], empty: str, select: bool = False, height: str | None = None) -> dag.AgGrid:
    """A table with id `name`; `empty` is what it says without rows. Without `height` it is as tall as its rows."""
    options: dict[str, Any] = {
        "theme": {"function": _THEME},
        "tooltipShowDelay": 300,
        "suppressColumnVirtualisation": True,
        "enableCellTextSelection": True,
        "animateRows": False,
        "noRowsOverlayComponent": "SondeEmpty",
        "noRowsOverlayComponentParams": {"text": empty},
        "rowHeight": 27,
        "headerHeight": 28,
        "suppressCellFocus": not select,
    }
    if select:
        options["rowSelection"] = {"mode": "singleRow", "checkboxes": False, "enableClickSelection": True}
    if height is None:
        options["domLayout"] = "autoHeight"
    return dag.AgGrid(
        id=name,
        columnDefs=columns,
        defaultColDef={"sortable": True, "resizable": True, "suppressHeaderMenuButton": True},
        rowData=None,
        getRowId="params.data.key",
        dashGridOptions=options,
        className="grid" if height else "grid grid-auto",
        style={"height": height, "width": "100%"},
    )


def cell(field: str, figure: Any, shown: str, bad: bool = False, dim: bool = False) -> Cell:
    """The fields of one figure of a row."""
    made: Cell = {field: figure, f"{field}_text": shown}
    if bad:
        made[f"{field}_bad"] = True
    if dim:
        made[f"{field}_dim"] = True
    return made


def figures(row: Row, seconds: float) -> Cell:
    """The cells that every table of totals has: rate, errors, client errors, percentiles as far as `row` has them."""
    total = row["total"]
    made = cell("rate", total / seconds, rate(total / seconds, bool(row["is_estimated"])))
    for name in ("errors", "client_errors"):
        if name in row:
            part = row[name]
            shown = percent(part, total)
            made |= cell(name, part / max(total, 1), shown, bad=name == "errors" and part > 0, dim=not part)
    for name in ("p50_ns", "p95_ns", "p99_ns"):
        if name in row:
            # NaN, of an empty sketch, is not JSON.
            made |= cell(name, None if missing(row[name]) else row[name], duration(row[name]))
    return made
