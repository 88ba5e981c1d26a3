"""What llama-cpp-python's high-level package does on a real model, as facts that two engines can be compared by.

A program: `scenarios.py MODEL FOLDER [NAME …]` runs the scenarios with whichever `llama_cpp` it finds, and prints one
line of JSON for each. It knows nothing of llamacffi. Texts and tokens are given as they are; arrays of floats as their
hash, which one engine on one CPU must share with itself, and their first values, for whom a difference shows.

What a scenario claims by itself must hold on every CPU. A prompt that is evaluated at once gets other sums than one
evaluated in parts: other kernels round otherwise, activations are quantized to 8 bits, and logits differ by percents,
so that a near tie of two tokens falls otherwise. Only what was evaluated in the same parts is the same.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import os
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from llama_cpp import _internals as internals
from llama_cpp import llama_cpp as low_level
from llama_cpp.llama_cache import LlamaDiskCache, LlamaRAMCache
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

MODEL = Path(sys.argv[1])
FOLDER = Path(sys.argv[2])
PROMPT = "The capital of France is"
REPEATING = "one two three four one two three four one two three"
MESSAGES = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "What is two plus two?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "big": {"type": "boolean"}},
    "required": ["city", "big"],
}

SCENARIOS: dict[str, Callable[[], Any]] = {}


def scenario(function: Callable[[], Any]) -> Callable[[], Any]:
    SCENARIOS[function.__name__] = function
    return function


def made(**options: Any) -> Any:
    """Load the model, with a small context; on one thread, since two wait for each other where CPUs are busy."""
    given = {"n_ctx": 256, "n_threads": 1, "n_threads_batch": 1, "seed": 7, "verbose": False, **options}
    return llama_cpp.Llama(given.pop("model_path", str(MODEL)), **given)


def greedy(llama: Any, prompt: Any = PROMPT, tokens: int = 16, **options: Any) -> Any:
    return facts(llama.create_completion(prompt, max_tokens=tokens, temperature=0.0, **options))


def facts(answer: Any) -> Any:
    """Drop what differs from run to run."""
    return {key: value for key, value in answer.items() if key not in ("id", "created", "model")}


def floats(values: Any) -> dict[str, Any]:
    array = np.ascontiguousarray(values)
    first = [float(value) for value in array.reshape(-1)[:8]]
    return {"shape": list(array.shape), "hash": hashlib.sha256(array.tobytes()).hexdigest(), "first": first}


def logits(llama: Any) -> dict[str, Any]:
    """Return the logits that the last decode left."""
    pointer = low_level.llama_get_logits_ith(llama.ctx, -1)
    return floats(np.ctypeslib.as_array(pointer, (llama.n_vocab(),)))


def said(token: int) -> bytes:
    return SHARED.detokenize([token])


@scenario
def features() -> Any:
    """What the engine was compiled to use of the CPU: where it is the same, so are all floats."""
    return low_level.llama_print_system_info().decode()


# ---------------------------------------------------------------- generating


@scenario
def completion() -> Any:
    return greedy(SHARED, tokens=24)


@scenario
def completion_of_tokens() -> Any:
    prompt = SHARED.tokenize(PROMPT.encode())
    return [prompt, greedy(SHARED, prompt), greedy(SHARED, PROMPT, suffix=".", echo=True)]


@scenario
def generate() -> Any:
    SHARED.reset()
    tokens = SHARED.generate(SHARED.tokenize(PROMPT.encode()), temp=0.0)
    return [[token for token, _ in zip(tokens, range(16), strict=False)], logits(SHARED)]


@scenario
def streaming() -> Any:
    chunks = SHARED.create_completion(PROMPT, max_tokens=16, temperature=0.0, stream=True)
    return [facts(chunk) for chunk in chunks]


@scenario
def chat() -> Any:
    """The model's own template, which is in its file, formats the messages."""
    return [SHARED.chat_format, facts(SHARED.create_chat_completion(MESSAGES, max_tokens=16, temperature=0.0))]


@scenario
def streaming_chat() -> Any:
    chunks = SHARED.create_chat_completion(MESSAGES, max_tokens=16, temperature=0.0, stream=True)
    return [facts(chunk) for chunk in chunks]


@scenario
def seeds() -> Any:
    """A seed's text is the same again, and another seed's is not."""
    texts = [of_seed(seed) for seed in (42, 42, 43)]
    return {"texts": texts, "again": texts[0] == texts[1], "another": texts[0] != texts[2]}


def of_seed(seed: int) -> Any:
    """Evaluate the whole prompt, which is kept otherwise, and let unlikely tokens in."""
    SHARED.reset()
    return SHARED.create_completion(PROMPT, max_tokens=16, seed=seed, temperature=2.0)["choices"][0]["text"]


@scenario
def samplers() -> Any:
    """Every sampler that the package adds by an option."""
    options: list[dict[str, Any]] = [
        {"mirostat_mode": 1},
        {"mirostat_mode": 2},
        {"top_k": 5, "top_p": 0.9, "min_p": 0.1, "typical_p": 0.9},
        {"repeat_penalty": 1.3, "frequency_penalty": 0.2, "presence_penalty": 0.2},
        {"temperature": -1.0},
    ]
    return [facts(SHARED.create_completion(PROMPT, max_tokens=8, seed=1, **given)) for given in options]


@scenario
def stop_words() -> Any:
    return [greedy(SHARED, stop=[word]) for word in ("Paris", "\n", "never said")]


@scenario
def logits_processors() -> Any:
    """One that forbids what would be said, and a criterion that stops after four tokens."""
    forbidden = SHARED.tokenize(b" Paris", add_bos=False)

    def forbid(_ids: Any, scores: Any) -> Any:
        scores[forbidden] = -np.inf
        return scores

    count = len(SHARED.tokenize(PROMPT.encode()))
    stop = llama_cpp.StoppingCriteriaList([lambda ids, scores: len(ids) >= count + 4])
    processors = llama_cpp.LogitsProcessorList([forbid])
    return [greedy(SHARED, logits_processor=processors), greedy(SHARED, stopping_criteria=stop)]


@scenario
def grammar() -> Any:
    yes_or_no = llama_cpp.LlamaGrammar.from_string('root ::= " yes" | " no"', verbose=False)
    return greedy(SHARED, "Is the sky blue? Answer:", grammar=yes_or_no)


@scenario
def json_schema() -> Any:
    answer = SHARED.create_chat_completion(
        [{"role": "user", "content": "Name a city, and say whether it is big, as JSON."}],
        response_format={"type": "json_object", "schema": SCHEMA},
        max_tokens=128,  # with room for spaces, which the grammar allows
        temperature=0.0,
    )
    return {"answer": facts(answer), "keys": sorted(json.loads(answer["choices"][0]["message"]["content"]))}


@scenario
def logit_bias() -> Any:
    paris, berlin = (SHARED.tokenize(word, add_bos=False)[0] for word in (b" Paris", b" Berlin"))
    return [greedy(SHARED, logit_bias={paris: -100.0}), greedy(SHARED, logit_bias={berlin: 100.0}, tokens=3)]


@scenario
def logprobs() -> Any:
    llama = made(logits_all=True, n_ctx=64)
    answers = [greedy(llama, logprobs=3, tokens=6), greedy(llama, logprobs=2, tokens=2, echo=True)]
    llama.close()
    return answers


# ---------------------------------------------------------------- state


@scenario
def state() -> Any:
    """Go on from a state, and from it again when other tokens have been in its place."""
    SHARED.reset()
    SHARED.eval(SHARED.tokenize(PROMPT.encode()))
    saved = SHARED.save_state()
    first = from_the_last_token_on(SHARED)
    SHARED.reset()
    SHARED.eval(SHARED.tokenize(REPEATING.encode()))
    SHARED.load_state(saved)
    again = from_the_last_token_on(SHARED)
    return {"size": saved.llama_state_size, "first": first, "again": again}


def from_the_last_token_on(llama: Any) -> Any:
    """Evaluate the last token once more, by itself, and go on."""
    llama.n_tokens -= 1
    tokens = llama.generate([int(llama.input_ids[llama.n_tokens])], temp=0.0, reset=False)
    return [[token for token, _ in zip(tokens, range(8), strict=False)], logits(llama)]


@scenario
def state_into_another() -> Any:
    """A state that one Llama saved, loaded into a new one."""
    SHARED.reset()
    SHARED.eval(SHARED.tokenize(b"The sun rises in the east and sets in the"))
    saved = SHARED.save_state()
    other = made()
    other.load_state(saved)
    other.n_tokens -= 1
    tokens = other.generate([int(saved.input_ids[saved.n_tokens - 1])], temp=0.0, reset=False)
    told = [said(token).decode() for token, _ in zip(tokens, range(4), strict=False)]
    other.close()
    return told


def asked(prompts: list[str], cache: Any = None) -> Any:
    """Complete each prompt; tell its answer, how many tokens each evaluation had, and the last logits."""
    llama = made()
    llama.set_cache(cache)
    evaluate, sizes = llama.eval, []

    def count(tokens: Any) -> None:
        sizes.append(len(tokens))
        evaluate(tokens)

    llama.eval = count
    told = []
    for prompt in prompts:
        sizes.clear()
        told.append({"answer": greedy(llama, prompt), "evaluated": list(sizes), "logits": logits(llama)})
    llama.close()
    return told


@scenario
def kept_context() -> Any:
    """Ask again what the context has in its memory."""
    return asked([REPEATING, REPEATING])


def cached(cache: Any) -> Any:
    """Ask again what the context has in its memory no more, but the cache has."""
    return asked([REPEATING, PROMPT, REPEATING], cache)


@scenario
def cache_in_memory() -> Any:
    return cached(LlamaRAMCache(capacity_bytes=1 << 28))


@scenario
def cache_on_disk() -> Any:
    return cached(LlamaDiskCache(str(FOLDER / "cache"), capacity_bytes=1 << 28))


@scenario
def speculative_decoding() -> Any:
    llama = made(draft_model=LlamaPromptLookupDecoding(num_pred_tokens=4))
    answers = [greedy(llama, REPEATING), greedy(llama, PROMPT)]
    llama.close()
    return answers


# ---------------------------------------------------------------- models


@scenario
def embeddings() -> Any:
    llama = made(embedding=True, pooling_type=low_level.LLAMA_POOLING_TYPE_MEAN)
    several, total = llama.embed(["hello world", "good bye"], normalize=True, return_count=True)
    answer = llama.create_embedding("hello world")
    llama.close()
    return [floats(several), total, floats(answer["data"][0]["embedding"]), answer["usage"]]


@scenario
def embeddings_of_tokens() -> Any:
    llama = made(embedding=True, pooling_type=low_level.LLAMA_POOLING_TYPE_NONE)
    of_tokens = llama.embed("hello world")
    llama.close()
    return floats(of_tokens)


def write_adapter(path: Path) -> Path:
    """Write a LoRA adapter of rank 4 for the first layer's queries, whose matrix is square."""
    name, size = "blk.0.attn_q.weight", SHARED.n_embd()
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 8.0)
    writer.add_tensor(f"{name}.lora_a", random.normal(0, 0.3, (4, size)).astype(np.float32))
    writer.add_tensor(f"{name}.lora_b", random.normal(0, 0.3, (size, 4)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@scenario
def lora() -> Any:
    llama = made(lora_path=str(write_adapter(FOLDER / "adapter.gguf")), lora_scale=0.5)
    told = {"answer": greedy(llama), "with": logits_of_prompt(llama), "without": logits_of_prompt(SHARED)}
    llama.close()
    return told


def logits_of_prompt(llama: Any) -> dict[str, Any]:
    llama.reset()
    llama.eval(llama.tokenize(PROMPT.encode()))
    return logits(llama)


OVERRIDES: dict[str, bool | int | float | str] = {
    "tokenizer.ggml.add_bos_token": True,
    "llama.context_length": 1234,
    "llama.attention.layer_norm_rms_epsilon": 0.01,
    "tokenizer.ggml.pre": "qwen2",
}


@scenario
def kv_overrides() -> Any:
    """Each type by itself, and all at once."""
    told = []
    for given in (*({key: value} for key, value in OVERRIDES.items()), OVERRIDES):
        llama = made(kv_overrides=given, n_ctx=64)
        tokens = llama.tokenize(b"it's  a   test\n\n\nDon'T")
        llama.eval(tokens)
        told.append([list(given), llama._model.n_ctx_train(), tokens, logits(llama)])
        llama.close()
    return told


@scenario
def vocab_only() -> Any:
    llama = made(vocab_only=True)
    tokens = llama.tokenize("Grüße, 世界!".encode(), special=True)
    told = [tokens, llama.detokenize(tokens).decode(), llama.n_vocab(), llama.token_eos(), llama.token_bos()]
    llama.close()
    return told


@scenario
def from_pretrained() -> Any:
    """The part behind the download: the file stands in `local_dir`."""
    hub = types.ModuleType("huggingface_hub")
    hub.utils = types.ModuleType("huggingface_hub.utils")  # type: ignore[attr-defined]
    hub.utils.validate_repo_id = lambda name: None  # type: ignore[attr-defined]
    hub.hf_hub_download = lambda **given: None  # type: ignore[attr-defined]
    hub.HfFileSystem = lambda: types.SimpleNamespace(ls=lambda repo, recursive: [f"{repo}/{MODEL.name}"])  # type: ignore[attr-defined]
    sys.modules |= {"huggingface_hub": hub, "huggingface_hub.utils": hub.utils}  # type: ignore[attr-defined]
    options: dict[str, Any] = {"n_ctx": 128, "n_threads": 1, "n_threads_batch": 1, "verbose": False}
    llama = llama_cpp.Llama.from_pretrained("someone/something", "*.gguf", local_dir=MODEL.parent, **options)
    told = [Path(llama.model_path) == MODEL, greedy(llama, tokens=4)]
    llama.close()
    return told


@scenario
def pickling() -> Any:
    llama = pickle.loads(pickle.dumps(SHARED))
    told = [llama.n_ctx(), llama._seed, greedy(llama), greedy(SHARED)]
    llama.close()
    return told


@scenario
def two_models() -> Any:
    """Two models, generating in turns."""
    other = made(n_ctx=128)
    streams = [
        llama.create_completion(prompt, max_tokens=8, temperature=0.0, stream=True)
        for llama, prompt in ((SHARED, PROMPT), (other, REPEATING))
    ]
    told = [[chunk["choices"][0]["text"] for chunk in pair] for pair in zip(*streams, strict=False)]
    other.close()
    return told


@scenario
def reopening() -> Any:
    """Open and close the model 30 times, and tell by how many bytes the process has grown in the last 20."""
    sizes = []
    for turn in range(30):
        llama = made(n_ctx=32, n_batch=32)
        llama.create_completion("Hello", max_tokens=1, temperature=0.0)
        llama.close()
        del llama
        gc.collect()
        if turn in (9, 29):
            sizes.append(resident())
    return sizes[1] - sizes[0]


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# ---------------------------------------------------------------- the low-level module by itself


def batches(context: Any) -> list[Any]:
    """Batches of NumPy's tokens, of arrays of one's own, and of llama.cpp's, changed and copied."""
    tokens = np.array([504, 3575, 282], np.int32)
    pointer = tokens.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
    told = [low_level.llama_decode(context, low_level.llama_batch_get_one(pointer, 3))]
    sequence = (low_level.llama_seq_id * 1)(1)
    sequences = (ctypes.POINTER(low_level.llama_seq_id) * 3)(*[ctypes.cast(sequence, low_level.llama_token_p)] * 3)
    own = low_level.llama_batch(
        n_tokens=3,
        token=(low_level.llama_token * 3)(*tokens.tolist()),
        pos=(low_level.llama_pos * 3)(0, 1, 2),
        n_seq_id=(ctypes.c_int32 * 3)(1, 1, 1),
        seq_id=sequences,
        logits=(ctypes.c_int8 * 3)(0, 0, 1),
    )
    told.append(low_level.llama_decode(context, own))
    made = low_level.llama_batch_init(8, 0, 2)
    made.n_tokens, made.token[0], made.pos[0], made.n_seq_id[0], made.logits[0] = 1, 504, 3, 1, True
    made.seq_id[0][0] = 0
    told.append(low_level.llama_decode(context, made))
    low_level.llama_batch_free(low_level.llama_batch.from_buffer_copy(made))
    return told


def samplers_of_a_chain(context: Any) -> list[Any]:
    """A sampler by what was returned, by its chain, by reference and by a pointer to what it points to."""
    chain = low_level.llama_sampler_chain_init(low_level.llama_sampler_chain_default_params())
    low_level.llama_sampler_chain_add(chain, low_level.llama_sampler_init_greedy())
    first = low_level.llama_sampler_chain_get(chain, 0)
    given = (chain, first, ctypes.byref(chain.contents), ctypes.pointer(first.contents))
    told = [low_level.llama_sampler_name(sampler).decode() for sampler in given]
    told.append(low_level.llama_sampler_sample(chain, context, -1))
    low_level.llama_sampler_free(low_level.llama_sampler_chain_remove(chain, 0))
    low_level.llama_sampler_free(chain)
    return told


def states(context: Any) -> list[Any]:
    """The state by a cast pointer, and a session file with the tokens beside it."""
    size = low_level.llama_state_get_size(context)
    buffer = (ctypes.c_uint8 * size)()
    written = low_level.llama_state_get_data(context, ctypes.cast(buffer, ctypes.POINTER(ctypes.c_uint8)), size)
    read = low_level.llama_state_set_data(context, buffer, written)
    path, tokens, count = os.fsencode(FOLDER / "session"), (low_level.llama_token * 64)(5, 6, 7), ctypes.c_size_t()
    saved = low_level.llama_state_save_file(context, path, tokens, 3)
    loaded = low_level.llama_state_load_file(context, path, tokens, 64, ctypes.byref(count))
    return [written == read, saved, loaded, count.value, tokens[:3]]


def texts(model: Any, vocab: Any) -> list[Any]:
    """Buffers with room, and none, where C answers the room that it needs."""
    buffer = ctypes.create_string_buffer(256)
    messages = (low_level.llama_chat_message * 1)(low_level.llama_chat_message(b"user", b"hello"))
    tokens = (low_level.llama_token * 2)(504, 3575)
    names = (ctypes.c_char_p * 4)()
    return [
        low_level.llama_model_desc(model, buffer, ctypes.sizeof(buffer)),
        low_level.llama_model_meta_val_str(model, b"general.architecture", buffer, 256),
        buffer.value.decode(),
        low_level.llama_model_meta_val_str(model, b"no such key", buffer, 256),
        low_level.llama_chat_apply_template(b"chatml", messages, 1, True, None, 0),
        low_level.llama_chat_apply_template(b"chatml", messages, 1, True, buffer, 256),
        low_level.llama_chat_builtin_templates(names, 4) > 4,
        low_level.llama_tokenize(vocab, b"hi there", 8, None, 0, True, True),
        low_level.llama_detokenize(vocab, tokens, 2, buffer, 256, False, False),
    ]


@scenario
def low_level_calls() -> Any:
    """What code for ctypes may write, in the ways in which it is written."""
    model = low_level.llama_model_load_from_file(os.fsencode(MODEL), low_level.llama_model_default_params())
    params = low_level.llama_context_default_params()
    params.n_ctx, params.n_seq_max, params.n_threads, params.n_threads_batch = 64, 2, 1, 1
    context = low_level.llama_init_from_model(model, params)
    told = [
        low_level.llama_n_ctx(ctypes.c_void_p(context)),
        batches(context),
        samplers_of_a_chain(context),
        states(context),
        texts(model, low_level.llama_model_get_vocab(model)),
        low_level.llama_set_adapters_lora(context, None, 0, None),
        low_level.llama_memory_seq_rm(low_level.llama_get_memory(context), 0, -1, -1),
    ]
    low_level.llama_set_abort_callback(context, low_level.ggml_abort_callback(0), None)
    low_level.llama_free(context)
    low_level.llama_model_free(model)
    return told


# ---------------------------------------------------------------- samplers of one's own


@scenario
def custom_sampler_in_a_chain() -> Any:
    """`LlamaSampler.add_custom`: a `llama_sampler_i` whose functions are Python's."""
    seen: list[int] = []
    allowed = SHARED.tokenize(b" London", add_bos=False)[0]

    def choose(candidates: Any) -> None:
        array = candidates.contents
        seen.append(array.size)
        for index in range(array.size):
            if array.data[index].id != allowed:
                array.data[index].logit = -float("inf")

    SHARED.reset()
    SHARED.eval(SHARED.tokenize(PROMPT.encode()))
    sampler = internals.LlamaSampler()
    sampler.add_custom(choose)
    sampler.add_greedy()
    token = sampler.sample(SHARED._ctx)
    sampler.close()
    return [said(token).decode(), seen]


@scenario
def sampler_of_the_interface() -> Any:
    """A sampler that is nobody's, applied to an array of one's own, with every function set."""
    calls: list[str] = []
    interface = low_level.llama_sampler_i()
    interface.name = low_level.llama_sampler_i_name(lambda sampler: b"mine")
    interface.accept = low_level.llama_sampler_i_accept(lambda sampler, token: calls.append(f"accept {token}"))
    interface.apply = low_level.llama_sampler_i_apply(lambda sampler, candidates: select(candidates))
    interface.reset = low_level.llama_sampler_i_reset(lambda sampler: calls.append("reset"))
    interface.free = low_level.llama_sampler_i_free(lambda sampler: calls.append("free"))

    def select(candidates: Any) -> None:
        calls.append(f"apply {candidates.contents.size}")
        candidates.contents.selected = candidates.contents.size - 1

    sampler = low_level.llama_sampler_init(ctypes.pointer(interface), None)
    data = (low_level.llama_token_data * 3)(*[(token, 0.5, 0.0) for token in (5, 6, 7)])
    array = low_level.llama_token_data_array(data=data, size=3, selected=-1, sorted=False)
    low_level.llama_sampler_apply(sampler, ctypes.byref(array))
    low_level.llama_sampler_accept(sampler, data[array.selected].id)
    low_level.llama_sampler_reset(sampler)
    name = low_level.llama_sampler_name(sampler).decode()
    low_level.llama_sampler_free(sampler)
    return [name, calls, array.selected]


def run(names: list[str]) -> Iterator[str]:
    for name in names or SCENARIOS:
        SHARED.reset()
        yield json.dumps({"scenario": name, "facts": SCENARIOS[name]()}, default=float)  # NumPy's numbers


if __name__ == "__main__":
    SHARED = made()
    for line in run(sys.argv[3:]):
        print(line, flush=True)
