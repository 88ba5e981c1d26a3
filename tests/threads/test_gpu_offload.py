"""llama_supports_gpu_offload() tells of this machine: upstream's is true wherever the RPC backend is linked in."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamacffi import LlamaError
from llamacffi import llama_cpp as llama
from support.cells import alone, returns
from support.rpc_servers import free_port, rpc_server

pytestmark = alone  # a server that was added stays

GPUS = (llama.GGML_BACKEND_DEVICE_TYPE_GPU, llama.GGML_BACKEND_DEVICE_TYPE_IGPU)


def gpus_in_c() -> int:
    devices = map(llama.ggml_backend_dev_get, range(llama.ggml_backend_dev_count()))
    return sum(llama.ggml_backend_dev_type(device) in GPUS for device in devices)


@returns(True)
def test_it_is_true_where_c_has_a_gpu() -> bool:
    return llama.llama_supports_gpu_offload() is (gpus_in_c() > 0)


@returns(True)
def test_the_rpc_backend_alone_is_no_device() -> bool:
    return llama.llama_supports_rpc() and llama.llama_supports_gpu_offload() is (gpus_in_c() > 0)


@returns((True, True))
def test_an_rpc_server_that_was_added_is_one(folder: Path) -> object:
    with rpc_server(folder) as endpoint:
        added = llama.ggml_backend_rpc_add_server(endpoint)
        return bool(added), llama.llama_supports_gpu_offload()


@returns(True)
def test_an_endpoint_without_a_server_is_none() -> bool:
    with pytest.raises(LlamaError, match=r"the server 127\.0\.0\.1:\d+ of remote backends cannot be reached"):
        llama.ggml_backend_rpc_add_server(f"127.0.0.1:{free_port()}")
    return llama.llama_supports_gpu_offload() is (gpus_in_c() > 0)
