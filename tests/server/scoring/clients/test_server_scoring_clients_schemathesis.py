"""Schemathesis reads the description and asks whatever it allows, and more: nothing is our fault, and answers are as described."""

import subprocess

CHECKS = "not_a_server_error,response_schema_conformance,content_type_conformance"
CONFIG = """
[parameters]
endpoint = "iris"
version = "3"
"""


def test_nothing_that_the_description_allows_is_answered_with_a_500(served, client_of, tmp_path):
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [client_of("schemathesis").parent / "st", "--config-file", config, "run", "--no-color"]
    command += ["--checks", CHECKS, "--max-examples", "15", "--phases", "examples,coverage,fuzzing", "--seed", "7"]
    command += ["--header", "Authorization: Bearer ll_all", "--request-timeout", "10", "--continue-on-failure"]
    command += ["--generation-database", "none", "--warnings", "off"]
    done = subprocess.run(
        [*map(str, command), f"http://127.0.0.1:{served.process.port}/openapi.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with served.process.client() as client:
        metrics = client.get("/metrics").text
    assert 'requests_total{route="/predict/{endpoint}",status="200"}' in metrics  # what is valid is answered
    # all but the route that the description itself was read from
    assert "20 selected / 20 total" in " ".join(done.stdout.split()), done.stdout
