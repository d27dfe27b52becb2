"""The embedded image is a real one, the same every time, and runs."""

from __future__ import annotations

import io
import json
import os
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from fs import descriptor
from fs.digest import Digest
from rootless.config import Settings
from rootless.errors import NotFound
from rootless.image import hello, local, pull, reference
from rootless.image.progress import Quiet
from rootless.image.unpack_plan import Unpacker
from rootless.paths import Paths

REF = reference.parse("rl/hello")


def test_it_is_made_the_same_every_time() -> None:
    """Whoever changes the image changes this digest knowingly."""
    again = subprocess.run(
        (sys.executable, "-c", ("from rootless.image import hello, reference as r;"
                               "print(hello.Embedded().manifest(r.parse('rl/hello')).digest)")),
        capture_output=True, text=True, check=True, cwd=os.getcwd(),
    )  # fmt: skip
    assert again.stdout.strip() == str(hello.Embedded().manifest(REF).digest)


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_every_document_and_layer_is_what_its_digest_says(architecture: str) -> None:
    source = hello.Embedded()
    index = descriptor.parse_index(source.manifest(REF).data)
    (entry,) = [d for d in index.manifests if d.platform and d.platform.architecture == architecture]
    served = source.manifest(REF, entry.digest)
    assert entry.digest.matches(served.data)
    manifest = descriptor.parse_manifest(served.data)
    config = descriptor.parse_config(source.small_blob(REF, manifest.config, 1 << 20))
    assert config.architecture == architecture
    ((layer, diff_id),) = descriptor.layers_of(manifest, config)
    data = source.blob(REF, layer).read(1 << 20)
    assert diff_id == layer.digest == Digest.of(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {m.name: m.mode for m in tar}["hello"] == 0o755
        assert {m.name: m.mode for m in tar}["tmp"] == 0o1777


@pytest.fixture
def program(paths: Paths, unpacker: Unpacker) -> str:
    """Pull the image and return its program."""
    pulled = pull.pull(paths, REF, platform=None, unpacker=unpacker, progress=Quiet(), settings=Settings())
    lowers = local.lowers(paths, pulled.manifest, pulled.config, "one")
    assert lowers
    return f"{lowers[0]}/hello"


def test_its_program_runs_and_tells_its_arguments(program: str) -> None:
    if platform.machine() not in ("x86_64", "aarch64"):
        pytest.skip("only on x86_64 and aarch64")
    done = subprocess.run((program, "one", "", "two words"), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Hello from a container that needed no root.\n")
    assert done.stdout.endswith("\none\n\ntwo words\n")
    assert subprocess.run((program,), stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_no_network_is_used(paths: Paths, unpacker: Unpacker, tmp_path: Path) -> None:
    """The libraries for it are not even loaded."""
    code = (
        "import sys; from rootless.image import pull, reference; from rootless.config import Settings\n"
        "pull.sources_of(reference.parse('rl/hello'), Settings())\n"
        "print(json.dumps(sorted(m for m in ('requests', 'ssl', 'rich', 'socket') if m in sys.modules)))\n"
    )
    done = subprocess.run((sys.executable, "-c", f"import json\n{code}"), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_another_tag_does_not_exist() -> None:
    with pytest.raises(NotFound, match="manifest for rl/hello:2 not found"):
        hello.Embedded().manifest(reference.parse("rl/hello:2"))
