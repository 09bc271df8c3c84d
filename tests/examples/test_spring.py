"""examples/spring keeps the promises of its README: its filter and its controller, in the Spring MVC that Debian has.

Spring Boot comes from Maven Central alone. So what runs here is the example's own source with one change, the name of the
servlet API, in Spring MVC 4.3 and Jetty 9; `pom.xml`, the settings and `Application.java`, which are Boot's, are only looked at.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.conftest import ROOT, blocks
from tests.examples.orders import Desk, Promises, standing, starting

pytestmark = [pytest.mark.process, pytest.mark.tool("java", "javac")]

EXAMPLE = ROOT / "examples" / "spring"
SOURCE = EXAMPLE / "src" / "main" / "java" / "org" / "example" / "orders"
JARS = [
    *(f"spring3-{name}" for name in ("aop", "beans", "context", "core", "expression", "web", "web.servlet")),
    *(f"jetty9-{name}" for name in ("http", "io", "security", "server", "servlet", "util")),
    *(f"jackson-{name}" for name in ("annotations", "core", "databind")),
    "commons-logging",
    "servlet-api",
]
POM = "{http://maven.apache.org/POM/4.0.0}"


@pytest.fixture(scope="module")
def classpath() -> str:
    """Debian's libspring-web-servlet-java, libjetty9-java and libjackson2-databind-java."""
    found = [Path("/usr/share/java") / f"{name}.jar" for name in JARS]
    missing = [path.name for path in found if not path.exists()]
    if missing:
        reason = f"{missing} are not installed; .ci/run names their packages"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and CI must not skip this")
        pytest.skip(reason)
    return os.pathsep.join(map(str, found))


@pytest.fixture(scope="module")
def desk(classpath: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    place = tmp_path_factory.mktemp("spring")
    for name in ("LockFilter", "Orders"):
        text = (SOURCE / f"{name}.java").read_text()
        (place / f"{name}.java").write_text(text.replace("import jakarta.servlet.", "import javax.servlet."))
    compiling = [
        "javac",
        "--release",
        "17",
        "-Xlint:all,-classfile,-path,-processing",
        "-Werror",
        "-cp",
        classpath,
        "-d",
        str(place),
    ]
    sources = [place / "LockFilter.java", place / "Orders.java", Path(__file__).parent / "spring" / "Standing.java"]
    done = subprocess.run([*compiling, *map(str, sources)], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    command = ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", f"{place}{os.pathsep}{classpath}", "Standing"]
    (place / "served").mkdir()
    with starting(command, place) as start, standing(place / "served", start) as found:
        yield found


class TestSpring(Promises):
    """All of them."""


def test_what_is_not_run_is_of_one_piece():
    """pom.xml asks for Spring Boot and Java 17; each setting that the filter reads is in the settings, and the other way round."""
    pom = ElementTree.parse(EXAMPLE / "pom.xml").getroot()
    assert pom.findtext(f"{POM}parent/{POM}artifactId") == "spring-boot-starter-parent"
    assert pom.findtext(f"{POM}properties/{POM}java.version") == "17"
    assert [one.text for one in pom.iter(f"{POM}artifactId")].count("spring-boot-starter-web") == 1
    settings = (EXAMPLE / "src" / "main" / "resources" / "application.properties").read_text()
    known = {line.partition("=")[0] for line in settings.splitlines()}
    read = set(re.findall(r'@Value\("\$\{([a-z.-]+)', (SOURCE / "LockFilter.java").read_text()))
    assert read == {name for name in known if name.startswith("holdfast.")}
    for path in SOURCE.glob("*.java"):
        assert path.read_text().startswith("package org.example.orders;\n")


def test_the_page_shows_what_the_example_has():
    """docs/frameworks/spring.md: its class is of no more than ten lines, and compiles where the controller does."""
    [text] = [block.text for block in blocks(ROOT / "docs" / "frameworks" / "spring.md") if block.language == "java"]
    written = [line for line in text.splitlines() if line.strip(" {}") and not line.startswith("import")]
    assert len(written) <= 10
    assert "LockFilter" in (ROOT / "docs" / "frameworks" / "spring.md").read_text()
