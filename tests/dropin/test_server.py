"""llama-cpp-python's OpenAI-compatible server, started by `llamacffi run -m llama_cpp.server`, and a real client.

Needs the packages of the extra `dropin`: `pip install '.[test,dropin]' && pytest -m long tests/dropin`.
"""

from __future__ import annotations

import json
import queue
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engines import LLAMACFFI, environment, package

pytestmark = pytest.mark.long

READY = "Application startup complete"
HELLO = [{"role": "user", "content": "Say hello."}]


class Server:
    """A server in a process of its own, on a free port of loopback."""

    def __init__(self, model: Path, folder: Path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
        options = {"n_ctx": 512, "n_threads": 1, "n_threads_batch": 1, "verbose": False}
        chats = {"model": str(model), "model_alias": "chats", **options}
        embeds = {"model": str(model), "model_alias": "embeds", "embedding": True, **options}
        config = {"host": "127.0.0.1", "port": self.port, "models": [chats, embeds]}
        path = folder / "config.json"
        path.write_text(json.dumps(config))
        command = [LLAMACFFI, "run", "-m", "llama_cpp.server", "--config_file", path]
        self.process = subprocess.Popen(
            command, env=environment(package()), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        self.log: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        self._wait_until_ready()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.append(line)
            self.lines.put(line)
        self.lines.put(None)

    def _wait_until_ready(self) -> None:
        while (line := self.lines.get(timeout=120)) is not None:
            if READY in line:
                return
        pytest.fail("the server ended:\n" + "".join(self.log))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def server(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(model_path, tmp_path_factory.mktemp("server"))
    yield server
    server.process.kill()


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    import openai

    with openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_it_lists_the_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["chats", "embeds"]


def test_it_completes(client: Any) -> None:
    answer = client.completions.create(model="chats", prompt="The capital of France is", max_tokens=4, temperature=0)
    assert answer.choices[0].text.startswith(" Paris")
    assert answer.usage.completion_tokens == 4


def test_it_chats(client: Any) -> None:
    answer = client.chat.completions.create(model="chats", messages=HELLO, max_tokens=12, temperature=0)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content


def test_a_streamed_chat_is_the_chat_in_pieces(client: Any) -> None:
    given: dict[str, Any] = {"model": "chats", "messages": HELLO, "max_tokens": 12, "temperature": 0}
    whole = client.chat.completions.create(**given).choices[0].message.content
    pieces = [chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(stream=True, **given)]
    assert len(pieces) > 2
    assert "".join(pieces) == whole


def test_it_embeds(client: Any) -> None:
    answer = client.embeddings.create(model="embeds", input=["hello", "good bye"], encoding_format="float")
    first, second = (entry.embedding for entry in answer.data)  # of each token: this model's pooling is none
    assert {len(vector) for vector in [*first, *second]} == {576}
    assert first != second


def test_a_bad_request_is_answered_and_the_server_lives_on(client: Any) -> None:
    import openai

    with pytest.raises(openai.APIStatusError, match="int_parsing"):
        client.completions.create(model="chats", prompt="x", max_tokens="many")
    with pytest.raises(openai.APIStatusError, match="maximum context length is 512 tokens"):
        client.completions.create(model="chats", prompt="word " * 1000, max_tokens=1)
    assert client.completions.create(model="chats", prompt="x", max_tokens=1).choices


def test_it_shuts_down_cleanly(server: Server) -> None:
    """The last test of the file: the server is gone then. uvicorn raises the SIGINT again after it has shut down."""
    assert server.stop() in (0, 130, -signal.SIGINT)
    log = "".join(server.log)
    assert "Application shutdown complete" in log
    assert "Segmentation" not in log
