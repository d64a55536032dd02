"""A folder as a service: it sees its own files, and nothing beside the folder."""

from __future__ import annotations

import pytest
from support.services import Services

INDEXES = {
    "index.mjs": "import { word } from './lib/words.js'; import fs from 'fs';\n"
    "export default () => word + fs.readdirSync('/srv').join();",
    "index.py": "import os\nfrom lib import words\n"
    "def handler():\n    return words.word + ''.join(os.listdir('/srv'))",
    "index": '#!/bin/sh\nprintf %s "$(cat "$(dirname "$0")/lib/words.txt")$(ls /srv)"',
}


def folder(services: Services, index: str, text: str) -> str:
    for name in ("my.app", "my.app/lib"):
        (services.place / name).mkdir(exist_ok=True)
        (services.place / name).chmod(0o755)
    services.write("beside.txt", "secret")
    services.write("my.app/lib/words.js", "exports.word = 'word ';")
    services.write("my.app/lib/words.py", "word = 'word '")
    services.write("my.app/lib/words.txt", "word ")
    services.write("my.app/index.html", "no service")
    services.write(f"my.app/{index}", text, 0o755 if text.startswith("#!") else 0o644)
    return str(services.place / "my.app")


@pytest.mark.parametrize("index", INDEXES)
def test_it_loads_files_of_its_own(services: Services, index: str) -> None:
    answer = services.answer(folder(services, index, INDEXES[index]))
    assert (answer.body, answer.kind) == (b"word my.app", ""), answer.log


def test_its_folder_is_read_only_and_its_settings_are_beside_it(services: Services) -> None:
    place = folder(services, "index.sh", 'printf "$A"; : > /srv/my.app/new')
    services.write("my.app.toml", 'env = ["A=b"]')
    answer = services.answer(place)
    assert (answer.body, answer.kind) == (b"b", "exit")
    assert "Read-only" in answer.log
    assert not (services.place / "my.app/new").exists()


def test_one_index_alone(services: Services) -> None:
    place = folder(services, "index.sh", "printf x")
    services.write("my.app/index.py", "def handler():\n    return 'x'")
    refused = services.answer(place, protocol="none")
    assert refused.status == 125
    assert "index.py and index.sh" in refused.log
    for name in ("index.py", "index.sh"):
        (services.place / "my.app" / name).unlink()
    assert "has none" in services.answer(place, protocol="none").log
    (services.place / "my.app/index.sh").symlink_to("/bin/true")
    assert "has none" in services.answer(place, protocol="none").log
