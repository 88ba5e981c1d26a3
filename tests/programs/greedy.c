// Complete a prompt greedily in C: what the binding must give, token for token and bit for bit.
//
// usage: greedy MODEL PROMPT COUNT THREADS LOGITS: prints one token id a line, and writes the last logits to LOGITS.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama.h"

int main(int argc, char ** argv) {
    if (argc != 6) return 2;
    llama_backend_init();
    struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return 3;
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = 512;
    params.n_threads = params.n_threads_batch = atoi(argv[4]);
    struct llama_context * ctx = llama_init_from_model(model, params);
    if (!ctx) return 4;
    const struct llama_vocab * vocab = llama_model_get_vocab(model);

    llama_token tokens[256];
    int n_tokens = llama_tokenize(vocab, argv[2], strlen(argv[2]), tokens, 256, true, true);
    if (n_tokens < 1) return 5;
    for (int i = 0; i < atoi(argv[3]); ++i) {
        if (llama_decode(ctx, llama_batch_get_one(tokens, n_tokens)) != 0) return 6;
        const float * logits = llama_get_logits_ith(ctx, -1);
        llama_token best = 0;
        for (llama_token id = 1; id < llama_vocab_n_tokens(vocab); ++id) {
            if (logits[id] > logits[best]) best = id;
        }
        printf("%d\n", best);
        tokens[0] = best;
        n_tokens = 1;
    }

    FILE * file = fopen(argv[5], "wb");
    if (!file) return 7;
    fwrite(llama_get_logits_ith(ctx, -1), sizeof(float), llama_vocab_n_tokens(vocab), file);
    fclose(file);
    llama_free(ctx);
    llama_model_free(model);
    llama_backend_free();
    return 0;
}
