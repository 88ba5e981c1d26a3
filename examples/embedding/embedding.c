/* A C program that embeds CPython, generates with llamacffi, and ends: `embedding MODEL PROMPT`.
 *
 * Python is initialized once: llama.cpp's objects belong to the interpreter that imported llamacffi first. */
#include <Python.h>

static const char *const script =
    "import sys, llamacffi\n"
    "from llamacffi import llama_cpp as llama\n"
    "llamacffi.log_to('quiet')\n"
    "model = llama.llama_model_load_from_file(sys.argv[1], llama.llama_model_default_params())\n"
    "vocab = llama.llama_model_get_vocab(model)\n"
    "context = llama.llama_init_from_model(model, llama.llama_context_default_params())\n"
    "prompt = sys.argv[2].encode()\n"
    "tokens = (llama.llama_token * 64)()\n"
    "n = llama.llama_tokenize(vocab, prompt, len(prompt), tokens, 64, True, False)\n"
    "greedy = llama.llama_sampler_init_greedy()\n"
    "piece = bytearray(64)\n"
    "for _ in range(8):\n"
    "    llama.llama_decode(context, llama.llama_batch_get_one(tokens, n))\n"
    "    tokens[0], n = llama.llama_sampler_sample(greedy, context, -1), 1\n"
    "    length = llama.llama_token_to_piece(vocab, tokens[0], piece, 64, 0, False)\n"
    "    print(piece[:length].decode(errors='replace'), end='')\n"
    "print()\n";

int main(int argc, char **argv) {
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.parse_argv = 0;
    PyStatus status = PyConfig_SetBytesArgv(&config, argc, argv);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) Py_ExitStatusException(status);
    const int failed = PyRun_SimpleString(script);
    return Py_FinalizeEx() < 0 || failed ? 1 : 0;
}
