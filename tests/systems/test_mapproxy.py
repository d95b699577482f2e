# SPDX-License-Identifier: Apache-2.0
"""MapProxy, a proxy and cache for map servers, as its deployment guide sets it up.

mapproxy-util makes the WSGI script and the configuration. The layer's source is exchanged for
one that draws on the spot, so that nothing is asked of the network; cache and services stay.
"""

import struct
import xml.etree.ElementTree as xml
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest

from harness.client import Response
from harness.server import Server
from systems.deployment import (
    Environments,
    Servers,
    account,
    make_writable_folder,
    mode_that_loaded,
)

WMTS = "{http://www.opengis.net/wmts/1.0}"
OWS = "{http://www.opengis.net/ows/1.1}"
WHOLE_WORLD = (-20037508.34, -20037508.34, 20037508.34, 20037508.34)

EMBEDDED = """
WSGIScriptAlias /mapproxy ${{ROOT}}/mapproxy/config.py
WSGIPythonHome {venv}
# numpy, which MapProxy imports, cannot be loaded into a sub-interpreter of every Python.
WSGIApplicationGroup %{{GLOBAL}}

<Directory ${{ROOT}}/mapproxy/>
    Require all granted
</Directory>
"""

DAEMON = """
WSGIScriptAlias /mapproxy ${{ROOT}}/mapproxy/config.py
WSGIDaemonProcess mapproxy {account} processes=8 threads=25
WSGIProcessGroup mapproxy
WSGIPythonHome {venv}
WSGIApplicationGroup %{{GLOBAL}}

<Directory ${{ROOT}}/mapproxy/>
    Require all granted
</Directory>
"""

REMOTE_SOURCE = """\
  osm_wms:
    type: wms
    req:
      url: http://${server}/service?
      layers: $layer
"""
LOCAL_SOURCE = """\
  osm_wms:
    type: debug
"""


@pytest.fixture(scope="module")
def server(mode: str, module_server_factory: Servers, venv: Environments) -> Server:
    environment = venv("mapproxy", ["MapProxy==7.0.0"])
    server = module_server_factory(start=False)
    folder = server.root / "mapproxy"
    tool = environment.path / "bin/mapproxy-util"
    environment.run(tool, "create", "-t", "base-config", folder)
    environment.run(
        tool, "create", "-t", "wsgi-app", "-f", folder / "mapproxy.yaml", folder / "config.py"
    )
    settings = (folder / "mapproxy.yaml").read_text()
    assert REMOTE_SOURCE in settings
    server.write("mapproxy/mapproxy.yaml", settings.replace(REMOTE_SOURCE, LOCAL_SOURCE))
    folder.chmod(0o755)
    make_writable_folder(server, "mapproxy/cache_data")
    text = DAEMON if mode == "daemon" else EMBEDDED
    server.configure(text.format(account=account(), venv=environment.path))
    return server.start()


@pytest.fixture
def maps(server: Server) -> Server:
    """The server, with what MapProxy writes to stderr when a process loads it."""
    # Which test meets a process first is a matter of timing.
    server.tolerate_log("Application has demo page enabled")
    # Python's warning, as it is written: with its place before and a line of code after it.
    server.tolerate_log("NumPy was imported from a Python sub-interpreter|NumPy roadmap")
    server.tolerate_log("  from shapely.lib import ")
    return server


def png_size(response: Response) -> tuple[int, int]:
    """Width and height of a response that must be a whole PNG image."""
    assert response.status == 200, response.text
    assert response.header("content-type") == "image/png"
    signature, _length, kind, width, height = struct.unpack(">8sI4sII", response.body[:24])
    assert (signature, kind) == (b"\x89PNG\r\n\x1a\n", b"IHDR")
    assert response.body[-8:-4] == b"IEND"
    return width, height


def get_map(server: Server, size: tuple[int, int], bbox=WHOLE_WORLD) -> Response:
    query = {
        "SERVICE": "WMS",
        "VERSION": "1.1.1",
        "REQUEST": "GetMap",
        "LAYERS": "osm",
        "STYLES": "",
        "SRS": "EPSG:3857",
        "FORMAT": "image/png",
        "BBOX": ",".join(map(str, bbox)),
        "WIDTH": size[0],
        "HEIGHT": size[1],
    }
    return server.get(f"/mapproxy/service?{urlencode(query)}")


def test_welcome_page_knows_where_it_is_mounted(maps):
    response = maps.get("/mapproxy/")
    assert response.status == 200
    assert "Welcome to MapProxy" in response.text
    assert f"http://127.0.0.1:{maps.port}/mapproxy/demo/" in response.text


def test_mode(maps, mode):
    assert maps.get("/mapproxy/").status == 200
    assert mode_that_loaded(maps, "/site-packages/rpds/") == mode
    assert len(maps.daemon_processes) == (8 if mode == "daemon" else 0)


def test_wms_capabilities(maps):
    response = maps.get("/mapproxy/service?REQUEST=GetCapabilities&SERVICE=WMS&VERSION=1.1.1")
    assert response.status == 200
    root = xml.fromstring(response.body)
    assert root.tag == "WMT_MS_Capabilities"
    assert root.findtext("Service/Title") == "MapProxy WMS Proxy"
    assert root.findtext("Capability/Layer/Name") == "osm"
    resource = root.find("Service/OnlineResource").get("{http://www.w3.org/1999/xlink}href")
    assert resource == f"http://127.0.0.1:{maps.port}/mapproxy/service"


def test_wmts_capabilities(maps):
    response = maps.get("/mapproxy/wmts/1.0.0/WMTSCapabilities.xml")
    assert response.status == 200
    contents = xml.fromstring(response.body).find(f"{WMTS}Contents")
    assert contents.findtext(f"{WMTS}Layer/{OWS}Identifier") == "osm"


def test_map_image(maps):
    world = get_map(maps, (300, 200))
    assert png_size(world) == (300, 200)
    corner = get_map(maps, (300, 200), (0, 0, 1000, 1000))
    assert png_size(corner) == (300, 200)
    assert world.body != corner.body


def test_tiles_at_once(maps):
    tiles = [(2, x, y) for x in range(4) for y in range(4)]

    def get(tile: tuple[int, int, int]) -> Response:
        return maps.get("/mapproxy/tiles/osm/webmercator/{}/{}/{}.png".format(*tile))

    with ThreadPoolExecutor(8) as pool:
        fresh = list(pool.map(get, tiles))
    assert [png_size(response) for response in fresh] == [(256, 256)] * len(tiles)
    # The source draws its extent on each tile, so no two are alike.
    assert len({response.body for response in fresh}) == len(tiles)
    cached = list((maps.root / "mapproxy/cache_data").rglob("*.png"))
    assert len(cached) >= len(tiles)
    assert [get(tile).body for tile in tiles] == [response.body for response in fresh]


def test_tile_answers_a_conditional_request(maps):
    path = "/mapproxy/tiles/osm/webmercator/0/0/0.png"
    # A tile drawn just now is tagged with the time, one from the cache with its file's.
    assert png_size(maps.get(path)) == (256, 256)
    tile = maps.get(path)
    again = maps.get(path, headers={"If-None-Match": tile.header("etag")})
    assert (again.status, again.body) == (304, b"")


def test_error_is_mapproxys(maps):
    response = maps.get("/mapproxy/tiles/nothing/webmercator/0/0/0.png")
    assert response.status == 404
    assert "unknown layer: nothing" in response.text
