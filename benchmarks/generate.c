/* What benchmarks/threads.py measures without Python: generation by llama.cpp alone, with upstream's own waits.
 *
 * generate MODEL N_THREADS SECONDS: says "ready", waits for a line, and prints the tokens a second.
 */
#include <stdio.h>
#include <stdlib.h>

#include "llama.h"

static void quiet(enum ggml_log_level level, const char *text, void *data) { (void)level, (void)text, (void)data; }

static double decode_for(struct llama_context *ctx, double seconds) {
    llama_token token = 5;
    const int64_t started = llama_time_us();
    int64_t now = started;
    int count = 0;
    while (now - started < seconds * 1e6) {
        if (count % 400 == 0) llama_memory_clear(llama_get_memory(ctx), true);
        if (llama_decode(ctx, llama_batch_get_one(&token, 1)) != 0) exit(1);
        ++count;
        now = llama_time_us();
    }
    return count * 1e6 / (double)(now - started);
}

int main(int count, char **given) {
    if (count != 4) return 2;
    llama_log_set(quiet, NULL);
    struct llama_model *model = llama_model_load_from_file(given[1], llama_model_default_params());
    struct llama_context_params params = llama_context_default_params();
    params.n_threads = params.n_threads_batch = atoi(given[2]);
    struct llama_context *ctx = model ? llama_init_from_model(model, params) : NULL;
    if (!ctx) return 1;
    decode_for(ctx, 0.2);
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF) return 1;
    printf("%f\n", decode_for(ctx, atof(given[3])));
    llama_free(ctx);
    llama_model_free(model);
    return 0;
}
