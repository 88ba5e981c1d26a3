// See arrays.h. C's part of each is done first, without the GIL; Python's objects are made of it afterwards.
#include "core/arrays.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "checks/batches.h"
#include "convert/memory.h"
#include "convert/values.h"
#include "core/errors.h"
#include "core/own_calls.h"
#include "engine/metadata.h"

namespace llamacffi {

namespace {

PyObject *decoded(const std::string &text) {
    return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace");
}

// ---------------------------------------------------------------- pieces

// The pieces in one text, and which of them each token has. What came lately is not made again: texts repeat their
// tokens.
class joined_pieces {
  public:
    void add_all(const llama_vocab *vocab, const llama_token *tokens, size_t count, bool special) {
        std::vector<std::pair<llama_token, size_t>> latest(n_latest, {0, none});
        text_.resize((count + 1) * usual_size);
        which_.reserve(count);
        for (size_t i = 0; i < count; ++i) {
            const llama_token now = tokens[i];  // another thread may write there
            auto &[token, piece] = latest[static_cast<size_t>(now) % n_latest];
            if (token != now || piece == none) piece = add(vocab, token = now, special);
            which_.push_back(piece);
        }
        objects_.resize(pieces_.size());
    }

    PyObject *as_list() {
        PyObject *list = PyList_New(static_cast<Py_ssize_t>(which_.size()));
        for (size_t i = 0; list && i < which_.size(); ++i) {
            PyObject *item = object(which_[i]);
            if (!item || PyList_SetItem(list, static_cast<Py_ssize_t>(i), item) < 0) Py_CLEAR(list);
        }
        for (PyObject *one : objects_) Py_XDECREF(one);
        return list;
    }

  private:
    struct piece {
        size_t start, size;
    };

    size_t add(const llama_vocab *vocab, llama_token token, bool special) {
        for (;;) {
            const int32_t room = static_cast<int32_t>(std::min(text_.size() - end_, static_cast<size_t>(INT32_MAX)));
            const int32_t size = llama_token_to_piece(vocab, token, text_.data() + end_, room, 0, special);
            if (size >= 0) {
                pieces_.push_back({end_, static_cast<size_t>(size)});
                end_ += static_cast<size_t>(size);
                return pieces_.size() - 1;
            }
            text_.resize(2 * text_.size() + static_cast<size_t>(-size));
        }
    }

    // Another reference, or nullptr with an exception.
    PyObject *object(size_t piece) {
        PyObject *&own = objects_[piece];
        if (!own)
            own = PyBytes_FromStringAndSize(text_.data() + pieces_[piece].start,
                                            static_cast<Py_ssize_t>(pieces_[piece].size));
        Py_XINCREF(own);
        return own;
    }

    static constexpr size_t usual_size = 8, n_latest = 1024, none = SIZE_MAX;
    std::vector<char> text_;
    size_t end_ = 0;
    std::vector<piece> pieces_;
    std::vector<size_t> which_;
    std::vector<PyObject *> objects_;  // of the pieces that have been asked for
};

}  // namespace

PyObject *pieces(PyObject *, PyObject *arguments) {
    static constexpr function_row row = renamed(row_of("llama_detokenize"), "pieces");
    PyObject *given[2], *type;
    int special;
    if (!PyArg_ParseTuple(arguments, "OOOp", &given[0], &type, &given[1], &special)) return nullptr;
    call c(row, given);
    char *memory = nullptr;
    // The handle last: converting the tokens may run the caller's code, or let another thread go on.
    if (!convert_memory(c, c.parameters()[1], nullptr, given[1], &memory) || !take_handle(c, 0, type)) return nullptr;
    const auto *tokens = reinterpret_cast<const llama_token *>(memory);
    const size_t count = tokens ? c.sizes[1] / sizeof(llama_token) : 0;
    c.numbers[bound_rows[row.first_bound].length] = static_cast<long long>(count);
    if (!check_tokens(c, 1)) return nullptr;
    joined_pieces all;
    const bool done = act_in_c(c, [&] { all.add_all(handle_at<llama_vocab>(c, 0), tokens, count, special); });
    return done ? all.as_list() : nullptr;
}

// ---------------------------------------------------------------- metadata

namespace {

PyObject *as_dict(const texts &all) {
    PyObject *dict = PyDict_New();
    for (const auto &[key, value] : all) {
        PyObject *name = decoded(key), *text = decoded(value);
        if (dict && (!name || !text || PyDict_SetItem(dict, name, text) < 0)) Py_CLEAR(dict);
        Py_XDECREF(name);
        Py_XDECREF(text);
    }
    return dict;
}

}  // namespace

PyObject *metadata(PyObject *, PyObject *arguments) {
    static constexpr function_row row = renamed(row_of("llama_model_meta_count"), "metadata");
    PyObject *model, *type;
    if (!PyArg_ParseTuple(arguments, "OO", &model, &type)) return nullptr;
    call c(row, &model);
    texts all;
    if (!take_handle(c, 0, type) || !act_in_c(c, [&] { all = metadata_of(handle_at<llama_model>(c, 0)); }))
        return nullptr;
    return as_dict(all);
}

// ---------------------------------------------------------------- batches

namespace {

// A contiguous buffer, held as long as this lives.
struct buffer : Py_buffer {
    buffer() : Py_buffer() {}
    buffer(const buffer &) = delete;
    buffer &operator=(const buffer &) = delete;
    ~buffer() { PyBuffer_Release(this); }

    template <typename T>
    const T *items() const {
        return static_cast<const T *>(buf);
    }

    template <typename T>
    size_t count() const {
        return static_cast<size_t>(len) / sizeof(T);
    }
};

bool refuse_lengths() {
    PyErr_SetString(LlamaValueError, "fill_batch(): pos, seq_ids and logits must have as many items as tokens");
    return false;
}

bool fill_from(const call &c, const buffer &tokens, const buffer &pos, const buffer &seq_ids, const buffer &logits) {
    const size_t count = tokens.count<llama_token>(), ids = seq_ids.count<llama_seq_id>();
    const size_t per_token = count ? ids / count : 0;
    if (pos.count<llama_pos>() != count || ids != per_token * count || logits.count<int8_t>() != count)
        return refuse_lengths();
    return fill_made_batch(c, {count, per_token, tokens.items<llama_token>(), pos.items<llama_pos>(),
                               seq_ids.items<llama_seq_id>(), logits.items<int8_t>()});
}

}  // namespace

PyObject *fill_batch(PyObject *, PyObject *arguments) {
    static constexpr function_row row = renamed(row_of("llama_batch_free"), "fill_batch");
    PyObject *given, *type;
    buffer tokens, pos, seq_ids, logits;
    if (!PyArg_ParseTuple(arguments, "OOy*y*y*y*", &given, &type, &tokens, &pos, &seq_ids, &logits)) return nullptr;
    call c(row, &given);
    llama_batch batch;
    void *slot = type;
    if (!convert_value(c, c.parameters()[0], &slot, given, reinterpret_cast<char *>(&batch))) return nullptr;
    return fill_from(c, tokens, pos, seq_ids, logits) ? Py_NewRef(Py_None) : nullptr;
}

}  // namespace llamacffi
