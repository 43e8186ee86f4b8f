/*
 * dim.hpp - libdim for C++17 and newer: dim.h with owners, exceptions and checked shapes. Header only; link with -ldim.
 *
 *     dim::Model model = dim::Model::open("weights.h5");
 *     std::vector<float> encoded = model.encode(images);        // the notebook's: (n,3,32,32) -> (n,64)
 *
 * dim.h describes what each call computes, the order of arrays and the rules for threads. This header adds:
 *
 * Owners. Architecture, Model, Trainer and ClassifierTrainer own a handle and free it in their destructor; they can be
 *   moved, not copied. A moved-from object may be assigned to or destroyed, and its get() is nullptr; any other use, also
 *   as an argument or in OpenOptions, throws DIM_INVALID_HANDLE.
 * Errors. A failing call throws dim::error, which carries the dim_status and the library's message. Outputs are
 *   then untouched. A std::vector that this header allocates throws std::bad_alloc, as everywhere.
 * Shapes. n is taken from the first array: its size must be a whole number of the model's images, and every other array must
 *   have the size that follows from n and the model (Model::sizes), else the call throws DIM_SIZE_MISMATCH before the
 *   library is called. So a model of any architecture may be opened: no array is written past its end.
 * Spans. dim::span is std::span in C++20, and a small class with the same use before. Vectors, arrays and C arrays
 *   convert implicitly; for other memory write dim::span<const float>(pointer, count).
 */
#ifndef DIM_HPP
#define DIM_HPP

#include <dim.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>
#if __cplusplus >= 202002L && __has_include(<span>)
#include <span>
#endif

namespace dim {

/* ---- Errors ------------------------------------------------------------------------------------------ */

/* What a failed call throws. what() is dim_last_error()'s text. */
class error : public std::runtime_error {
public:
    error(dim_status status, const std::string &message) : std::runtime_error(message), status_(status) {}
    dim_status status() const noexcept { return status_; }

private:
    dim_status status_;
};

/* Throws unless status is DIM_OK: for calls of dim.h that this header does not wrap. */
inline void check(dim_status status) {
    if (status != DIM_OK) throw error(status, dim_last_error());
}

/* ---- Spans and shapes -------------------------------------------------------------------------------- */

#if defined(__cpp_lib_span)
template <class T> using span = std::span<T>;
#else
/* A pointer and a count; owns nothing. */
template <class T> class span {
    // The element type of what has data() and size(); a const container's is const.
    template <class C> using element = std::remove_pointer_t<decltype(std::declval<C &>().data())>;
    template <class C> using if_fits = std::enable_if_t<std::is_convertible_v<element<C> (*)[], T (*)[]> &&
        std::is_convertible_v<decltype(std::declval<C &>().size()), std::size_t>>;

public:
    constexpr span() noexcept = default;
    constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    template <std::size_t N> constexpr span(T (&array)[N]) noexcept : data_(array), size_(N) {}
    template <class C, class = if_fits<C>> constexpr span(C &container) : data_(container.data()), size_(container.size()) {}
    template <class C, class = if_fits<const C>> constexpr span(const C &container)
        : data_(container.data()), size_(container.size()) {}
    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr bool empty() const noexcept { return size_ == 0; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t index) const { return data_[index]; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};
#endif

namespace detail {

/* A size of 0 tells that something is not there. The message is that of dim.h's calls, which are not reached: no array fits. */
inline void present(const char *name, std::size_t each) {
    if (each == 0) throw error(DIM_MISSING_NETWORK, std::string("the model's architecture has no ") + name);
}

/* How many entries of `each` elements an array holds. */
inline std::size_t count(const char *name, std::size_t size, std::size_t each) {
    present(name, each);
    if (size == 0 || size % each != 0)
        throw error(DIM_SIZE_MISMATCH, std::string(name) + " has " + std::to_string(size) +
                    " elements; expected n times " + std::to_string(each) + ", n at least 1");
    return size / each;
}

/* An array that goes with n images. */
inline void expect(const char *name, std::size_t size, std::size_t n, std::size_t each) {
    present(name, each);
    if (size / each != n || size % each != 0)
        throw error(DIM_SIZE_MISMATCH, std::string(name) + " has " + std::to_string(size) + " elements; expected " +
                    std::to_string(n) + " times " + std::to_string(each));
}

/* Memory for the results of n images; n is checked before the allocation. */
inline std::vector<float> results(std::size_t n, std::size_t each) {
    if (n > dim_max_images())
        throw error(DIM_TOO_LARGE, "n is " + std::to_string(n) + "; expected at most " + std::to_string(dim_max_images()));
    return std::vector<float>(n * each);
}

/* The text that a call of dim.h writes: `call(out, capacity, &needed)`. */
template <class Call> std::string text(Call call) {
    std::size_t needed = 0;
    char small[256];
    dim_status status = call(small, sizeof small, &needed);
    if (status == DIM_OK) return small;
    if (status != DIM_SIZE_MISMATCH) check(status);
    std::string large(needed, '\0');
    check(call(&large[0], large.size(), nullptr));
    large.resize(needed - 1);
    return large;
}

template <class Handle, void (*release)(Handle *)> struct Free {
    void operator()(Handle *handle) const noexcept { release(handle); }
};
template <class Handle, void (*release)(Handle *)> using Owner = std::unique_ptr<Handle, Free<Handle, release>>;

inline const char *kind(const dim_architecture *) noexcept { return "Architecture"; }
inline const char *kind(const dim_model *) noexcept { return "Model"; }
inline const char *kind(const dim_trainer *) noexcept { return "Trainer"; }
inline const char *kind(const dim_classifier_trainer *) noexcept { return "ClassifierTrainer"; }

/* The handle of an object in use: every call of dim.h takes it from here. Several of them accept NULL, which means none there:
 * any architecture, no networks, no steps. */
template <class Object> auto live(const Object &object) {
    const auto handle = object.get();
    if (handle == nullptr)
        throw error(DIM_INVALID_HANDLE, std::string("expected a dim::") + kind(handle) + ", found one that was moved from");
    return handle;
}

/* C ends a text at its first NUL: what follows would be left out without a word. */
inline void check_whole(const std::string &text) {
    if (text.find('\0') != std::string::npos)
        throw error(DIM_INVALID_ARGUMENT, "a path or a name has a NUL inside: " + std::string(text.c_str()) + "\\0...");
}

/* A path or a name: std::string, a C string, std::filesystem::path. 0 and nullptr do not compile; a pointer that is
 * null at run time is an error. */
class Text {
public:
    template <class S, class = std::enable_if_t<std::is_convertible_v<const S &, std::string> && !std::is_same_v<S, std::nullptr_t>>>
    Text(const S &text) : text_(checked(text)) { check_whole(text_); }
    const char *c_str() const noexcept { return text_.c_str(); }

private:
    template <class S> static const S &checked(const S &text) {
        if constexpr (std::is_pointer_v<S>)
            if (text == nullptr) throw error(DIM_INVALID_ARGUMENT, "a path or a name is a null pointer");
        return text;
    }

    std::string text_;
};

/* Marks a constructor that takes a handle: without it 0 would convert. */
struct Adopted {};

} // namespace detail

/* ---- Library ----------------------------------------------------------------------------------------- */

inline std::string version() { return dim_version(); }
inline std::string build_info() { return dim_build_info(); }
inline void set_num_threads(int n) { check(dim_set_num_threads(n)); }
inline int num_threads() noexcept { return dim_num_threads(); }
inline std::size_t max_images() noexcept { return dim_max_images(); }

/* The notebook's defaults, to change some: auto o = dim::trainer_options(); o.prior = DIM_PRIOR_ADVERSARIAL; */
inline dim_trainer_options trainer_options() {
    dim_trainer_options options;
    check(dim_trainer_options_init(&options, sizeof options));
    return options;
}
inline dim_classifier_options classifier_options() {
    dim_classifier_options options;
    check(dim_classifier_options_init(&options, sizeof options));
    return options;
}

/* ---- Architectures ----------------------------------------------------------------------------------- */

/* dim_architecture: which networks. A value that never changes. */
class Architecture {
public:
    /* "notebook", "basic32": docs/architecture.md has all. */
    static Architecture preset(const detail::Text &name) {
        dim_architecture *handle = nullptr;
        check(dim_architecture_preset(name.c_str(), &handle));
        return adopt(handle);
    }
    /* A description in JSON; the error lists all its faults. */
    static Architecture parse(const std::string &json) {
        dim_architecture *handle = nullptr;
        check(dim_architecture_parse(json.data(), json.size(), &handle));
        return adopt(handle);
    }
    static Architecture parse(const char *json) {
        if (json == nullptr) throw error(DIM_INVALID_ARGUMENT, "json: expected a description, found a null pointer");
        return parse(std::string(json));
    }
    static Architecture parse(std::nullptr_t) = delete;
    static Architecture adopt(dim_architecture *handle) noexcept { return Architecture(detail::Adopted{}, handle); }
    dim_architecture *get() const noexcept { return handle_.get(); }

    /* The canonical description. */
    std::string json() const {
        return detail::text([this](char *out, std::size_t capacity, std::size_t *needed) {
            return dim_architecture_json(detail::live(*this), out, capacity, needed);
        });
    }
    /* A table of the layers, as JSON. */
    std::string summary() const {
        return detail::text([this](char *out, std::size_t capacity, std::size_t *needed) {
            return dim_architecture_summary(detail::live(*this), out, capacity, needed);
        });
    }

private:
    Architecture(detail::Adopted, dim_architecture *handle) noexcept : handle_(handle) {}

    detail::Owner<dim_architecture, dim_architecture_free> handle_;
};

/* ---- Model ------------------------------------------------------------------------------------------- */

/* dim_open_options: how a file is opened. */
struct OpenOptions {
    /* A child process without privileges reads the file. */
    bool untrusted = false;
    /* Accept any architecture: safe here, since arrays are compared with the model's sizes. */
    bool any_architecture = true;
    /* Seconds to read an untrusted file; 0: 60 s. */
    double timeout = 0;
    /* The architecture required, assumed if the file names none; used during the call only. */
    const Architecture *architecture = nullptr;
    /* The networks to read, a mask of DIM_NETWORK_*; others are not checked; 0: all. */
    std::uint32_t networks = 0;

    dim_open_options c() const {
        dim_open_options options{};
        options.struct_size = sizeof options;
        options.untrusted = untrusted;
        options.any_architecture = any_architecture;
        options.timeout = timeout;
        options.architecture = architecture == nullptr ? nullptr : detail::live(*architecture);
        options.networks = networks;
        return options;
    }
};

/* dim_model: the networks and their weights. */
class Model {
public:
    /* The notebook's five networks, initialised as after torch.manual_seed(seed). */
    explicit Model(std::uint64_t seed) {
        dim_model *handle = nullptr;
        check(dim_model_create(seed, &handle));
        handle_.reset(handle);
    }
    /* All networks of an architecture. */
    Model(const Architecture &architecture, std::uint64_t seed) {
        dim_model *handle = nullptr;
        check(dim_model_create_with(detail::live(architecture), seed, &handle));
        handle_.reset(handle);
    }
    /* A file of any architecture, unless the options say which. */
    static Model open(const detail::Text &path, const OpenOptions &options = {}) {
        const dim_open_options c = options.c();
        dim_model *handle = nullptr;
        check(dim_model_open_with(path.c_str(), &c, &handle));
        return adopt(handle);
    }
    /* Takes over a handle that a call of dim.h made; it is freed with this object. */
    static Model adopt(dim_model *handle) noexcept { return Model(detail::Adopted{}, handle); }

    /* For calls of dim.h; nullptr after a move. */
    dim_model *get() const noexcept { return handle_.get(); }
    /* Gives the handle away; to be freed with dim_model_free. This object is then as after a move. */
    dim_model *release() {
        detail::live(*this);
        return handle_.release();
    }

    /* The networks in options.networks must be of the model's architecture. */
    void load(const detail::Text &path, const OpenOptions &options = {}) {
        const dim_open_options c = options.c();
        check(dim_model_load_with(detail::live(*this), path.c_str(), &c));
    }
    void save(const detail::Text &path) const { check(dim_model_save(detail::live(*this), path.c_str())); }
    void save(const detail::Text &path, dim_format format) const {
        dim_save_options options{};
        options.struct_size = sizeof options;
        options.format = format;
        check(dim_model_save_with(detail::live(*this), path.c_str(), &options));
    }

    Architecture architecture() const {
        dim_architecture *handle = nullptr;
        check(dim_model_architecture(detail::live(*this), &handle));
        return Architecture::adopt(handle);
    }
    /* Of the model's arrays. */
    dim_sizes sizes() const {
        dim_sizes sizes{};
        sizes.struct_size = sizeof sizes;
        check(dim_model_sizes(detail::live(*this), &sizes));
        return sizes;
    }
    /* Floats an image of each array; 0 for what the architecture does not have. */
    std::size_t image_size() const { const dim_sizes s = sizes(); return s.image_channels * s.image_height * s.image_width; }
    std::size_t encoded_size() const { return sizes().encoded; }
    std::size_t features_size() const {
        const dim_sizes s = sizes();
        return s.features_channels * s.features_height * s.features_width;
    }
    std::size_t local_size() const { const dim_sizes s = sizes(); return s.local_height * s.local_width; }
    /* Of the map that score_global reads. */
    std::size_t global_map_size() const {
        const dim_sizes s = sizes();
        return s.global_channels * s.global_height * s.global_width;
    }
    std::size_t classes() const { return sizes().classes; }

    /* One for each class, or none at all. */
    std::vector<std::string> class_names() const {
        std::vector<std::string> names(classes());
        for (std::size_t index = 0; index < names.size(); ++index) {
            names[index] = detail::text([this, index](char *out, std::size_t capacity, std::size_t *needed) {
                return dim_model_class_name(detail::live(*this), index, out, capacity, needed);
            });
            if (names[index].empty()) return {};
        }
        return names;
    }
    void set_class_names(const std::vector<std::string> &names) {
        std::vector<const char *> pointers;
        for (const std::string &name : names) {
            detail::check_whole(name);
            pointers.push_back(name.c_str());
        }
        check(dim_model_set_class_names(detail::live(*this), pointers.size(), pointers.data()));
    }

    void set_training(bool training) { check(dim_model_set_training(detail::live(*this), training)); }
    bool is_training() const {
        bool training = false;
        check(dim_model_is_training(detail::live(*this), &training));
        return training;
    }
    /* A mask of DIM_NETWORK_*. */
    std::uint32_t networks() const { return dim_model_networks(detail::live(*this)); }
    bool has(std::uint32_t mask) const { return (networks() & mask) == mask; }

    /* Parameters, in state_dict order. */
    std::vector<dim_parameter_info> parameters() const {
        std::vector<dim_parameter_info> all(dim_model_parameter_count(detail::live(*this)));
        for (std::size_t index = 0; index < all.size(); ++index) {
            all[index].struct_size = sizeof(dim_parameter_info);
            check(dim_model_parameter_info(detail::live(*this), index, &all[index]));
        }
        return all;
    }
    dim_parameter_info parameter_info(const detail::Text &name) const {
        std::size_t index = 0;
        dim_parameter_info info{};
        info.struct_size = sizeof info;
        check(dim_model_find_parameter(detail::live(*this), name.c_str(), &index));
        check(dim_model_parameter_info(detail::live(*this), index, &info));
        return info;
    }
    /* T is float, or std::int64_t for num_batches_tracked: DIM_INVALID_ARGUMENT for the other. */
    template <class T = float> std::vector<T> parameter(const detail::Text &name) const {
        std::vector<T> values(typed<T>(name).bytes / sizeof(T));
        check(dim_model_get_parameter(detail::live(*this), name.c_str(), values.data(), values.size() * sizeof(T)));
        return values;
    }
    void set_parameter(const detail::Text &name, span<const float> values) { set(name, values); }
    void set_parameter(const detail::Text &name, span<const std::int64_t> values) { set(name, values); }

    /* Encoder. images (n,c,h,w) -> encoded (n,encoded), and features (n,c,h,w) unless left out. */
    void encode(span<const float> images, span<float> encoded, span<float> features = {}) {
        const std::size_t n = detail::count("images", images.size(), image_size());
        detail::expect("encoded", encoded.size(), n, encoded_size());
        if (!features.empty()) detail::expect("features", features.size(), n, features_size());
        check(dim_encode(detail::live(*this), images.data(), n, encoded.data(), features.empty() ? nullptr : features.data()));
    }
    std::vector<float> encode(span<const float> images) {
        auto encoded = detail::results(detail::count("images", images.size(), image_size()), encoded_size());
        encode(images, encoded);
        return encoded;
    }

    /* encoded (n,encoded), the map that the head reads (n,global c,h,w) -> logits (n,1). */
    void score_global(span<const float> encoded, span<const float> map, span<float> logits) {
        const std::size_t n = pairs(encoded, map, "global_d", global_map_size());
        detail::expect("logits", logits.size(), n, 1);
        check(dim_score_global(detail::live(*this), encoded.data(), map.data(), n, logits.data()));
    }
    std::vector<float> score_global(span<const float> encoded, span<const float> map) {
        auto logits = detail::results(pairs(encoded, map, "global_d", global_map_size()), 1);
        score_global(encoded, map, logits);
        return logits;
    }

    /* encoded (n,encoded), features (n,c,h,w) -> logits (n,1,h,w). */
    void score_local(span<const float> encoded, span<const float> features, span<float> logits) {
        const std::size_t n = pairs(encoded, features, "local_d", local_size() == 0 ? 0 : features_size());
        detail::expect("logits", logits.size(), n, local_size());
        check(dim_score_local(detail::live(*this), encoded.data(), features.data(), n, logits.data()));
    }
    std::vector<float> score_local(span<const float> encoded, span<const float> features) {
        auto logits = detail::results(pairs(encoded, features, "local_d", local_size() == 0 ? 0 : features_size()), local_size());
        score_local(encoded, features, logits);
        return logits;
    }

    /* encoded (n,encoded) -> probabilities (n,1) that it comes from the uniform prior. */
    void score_prior(span<const float> encoded, span<float> probabilities) {
        const std::size_t n = detail::count("encoded", encoded.size(), encoded_size());
        detail::expect("probabilities", probabilities.size(), n, 1);
        check(dim_score_prior(detail::live(*this), encoded.data(), n, probabilities.data()));
    }
    std::vector<float> score_prior(span<const float> encoded) {
        auto probabilities = detail::results(detail::count("encoded", encoded.size(), encoded_size()), 1);
        score_prior(encoded, probabilities);
        return probabilities;
    }

    /* Classifier. encoded (n,encoded) -> probabilities (n,classes). */
    void classify(span<const float> encoded, span<float> probabilities) {
        detail::present("classifier", classes());
        const std::size_t n = detail::count("encoded", encoded.size(), encoded_size());
        detail::expect("probabilities", probabilities.size(), n, classes());
        check(dim_classify(detail::live(*this), encoded.data(), n, probabilities.data()));
    }
    std::vector<float> classify(span<const float> encoded) {
        auto probabilities = detail::results(detail::count("encoded", encoded.size(), encoded_size()), classes());
        classify(encoded, probabilities);
        return probabilities;
    }

private:
    Model(detail::Adopted, dim_model *handle) noexcept : handle_(handle) {}

    std::size_t pairs(span<const float> encoded, span<const float> map, const char *network, std::size_t each) const {
        detail::present(network, each);
        const std::size_t n = detail::count("encoded", encoded.size(), encoded_size());
        detail::expect("features", map.size(), n, each);
        return n;
    }
    /* The library sees only sizes: it would read a float array as half as many integers. */
    template <class T> dim_parameter_info typed(const detail::Text &name) const {
        static_assert(std::is_same_v<T, float> || std::is_same_v<T, std::int64_t>, "parameters are float or std::int64_t");
        const dim_parameter_info info = parameter_info(name);
        if ((info.dtype == DIM_INT64) != std::is_same_v<T, std::int64_t>)
            throw error(DIM_INVALID_ARGUMENT, std::string(name.c_str()) + " holds " + (info.dtype == DIM_INT64 ? "int64" : "float32") +
                        "; the array is of the other type");
        return info;
    }
    template <class T> void set(const detail::Text &name, span<const T> values) {
        detail::expect(name.c_str(), values.size(), 1, typed<T>(name).bytes / sizeof(T));
        check(dim_model_set_parameter(detail::live(*this), name.c_str(), values.data(), values.size() * sizeof(T)));
    }

    detail::Owner<dim_model, dim_model_free> handle_;
};

/* The settings of the model's architecture, to change some. */
inline dim_trainer_options trainer_options(const Model &model) {
    dim_trainer_options options;
    check(dim_trainer_options_for(detail::live(model), &options, sizeof options));
    return options;
}

/* ---- Training ---------------------------------------------------------------------------------------- */

/* dim_trainer: a run of the Deep InfoMax objective on a model, which it keeps alive. */
class Trainer {
public:
    /* Receives all gradients of a step; returns true to continue, false to drop the step (DIM_CANCELLED). An exception
     * drops the step and is rethrown by step() or update(). */
    using GradientCallback = std::function<bool(span<float>)>;

    /* With the settings of the model's architecture. */
    explicit Trainer(const Model &model) {
        dim_trainer *handle = nullptr;
        check(dim_trainer_create(detail::live(model), nullptr, &handle));
        handle_.reset(handle);
    }
    Trainer(const Model &model, const dim_trainer_options &options) {
        dim_trainer *handle = nullptr;
        check(dim_trainer_create(detail::live(model), &options, &handle));
        handle_.reset(handle);
    }
    /* Of any architecture, unless the options say which. */
    static Trainer resume(const detail::Text &path, const OpenOptions &options = {}) {
        const dim_open_options c = options.c();
        dim_trainer *handle = nullptr;
        check(dim_trainer_resume_with(path.c_str(), &c, &handle));
        return adopt(handle);
    }
    static Trainer adopt(dim_trainer *handle) noexcept { return Trainer(detail::Adopted{}, handle); }
    dim_trainer *get() const noexcept { return handle_.get(); }

    /* images (n,c,h,w), n >= 2. The losses are those before the update. */
    dim_losses step(span<const float> images) { return run(dim_trainer_step, images); }
    dim_losses accumulate(span<const float> images) { return run(dim_trainer_accumulate, images); }
    /* Another process computes the next micro-batch, of n images. */
    void skip(std::size_t n) { check(dim_trainer_skip(detail::live(*this), n)); }
    /* Drops the accumulated gradients. */
    void drop() { check(dim_trainer_drop(detail::live(*this))); }
    void update() { finish(dim_trainer_update(detail::live(*this))); }
    dim_losses evaluate(span<const float> images) { return run(dim_trainer_evaluate, images); }

    /* What the last of these computed: every term, estimate and norm. */
    dim_report report() const {
        dim_report report{};
        report.struct_size = sizeof report;
        check(dim_trainer_report(detail::live(*this), &report));
        return report;
    }

    /* The accumulated gradient, of the parameter's size. */
    void get_gradient(const detail::Text &name, span<float> out) const {
        float none = 0; // dim.h takes NULL, which an empty vector may have, for another mistake.
        check(dim_trainer_get_gradient(detail::live(*this), name.c_str(), out.empty() ? &none : out.data(),
                                       out.size() * sizeof(float)));
    }
    std::vector<float> gradient(const detail::Text &name) const {
        std::vector<float> values(model().parameter_info(name).bytes / sizeof(float));
        get_gradient(name, values);
        return values;
    }

    /* An empty function removes the callback. */
    void set_gradient_callback(GradientCallback callback) {
        std::shared_ptr<HeldCallback> next;
        if (callback) next = std::make_shared<HeldCallback>(std::move(callback));
        check(dim_trainer_set_gradient_callback(detail::live(*this), next ? forward_gradients : nullptr, next.get()));
        callback_ = std::move(next);
    }

    void set_learning_rates(double encoder, double discriminator) {
        check(dim_trainer_set_learning_rates(detail::live(*this), encoder, discriminator));
    }
    dim_trainer_options options() const {
        dim_trainer_options options = trainer_options();
        check(dim_trainer_get_options(detail::live(*this), &options));
        return options;
    }
    std::uint64_t step_count() const { return dim_trainer_step_count(detail::live(*this)); }
    /* The model of the run: another owner of the same weights. */
    Model model() const {
        dim_model *handle = nullptr;
        check(dim_trainer_model(detail::live(*this), &handle));
        return Model::adopt(handle);
    }
    void save(const detail::Text &path) const { check(dim_trainer_save(detail::live(*this), path.c_str())); }

private:
    Trainer(detail::Adopted, dim_trainer *handle) noexcept : handle_(handle) {}

    template <class Call> dim_losses run(Call call, span<const float> images) {
        const std::size_t n = detail::count("images", images.size(), model().image_size());
        dim_losses losses{};
        finish(call(detail::live(*this), images.data(), n, &losses));
        return losses;
    }

    /* Keeps itself alive while it runs: a callback that ends its trainer, or replaces itself, is still in use then. */
    struct HeldCallback : std::enable_shared_from_this<HeldCallback> {
        explicit HeldCallback(GradientCallback callback) : function(std::move(callback)) {}
        GradientCallback function;
    };

    /* The callback runs in the thread that steps: its exception is kept here until the step returns. */
    static std::exception_ptr &thrown() {
        thread_local std::exception_ptr exception;
        return exception;
    }
    static int forward_gradients(float *values, std::size_t count, void *context) {
        try {
            const std::shared_ptr<HeldCallback> held = static_cast<HeldCallback *>(context)->shared_from_this();
            return held->function(span<float>(values, count)) ? 0 : 1;
        } catch (...) {
            thrown() = std::current_exception();
            return 1;
        }
    }
    static void finish(dim_status status) {
        /* One that stayed behind is of a step by dim.h's functions: what this one did is not undone. */
        const std::exception_ptr exception = std::exchange(thrown(), nullptr);
        if (exception && status == DIM_CANCELLED) std::rethrow_exception(exception);
        check(status);
    }

    /* Declared before the handle, so that it is destroyed after it. */
    std::shared_ptr<HeldCallback> callback_;
    detail::Owner<dim_trainer, dim_trainer_free> handle_;
};

/* dim_classifier_trainer: trains the model's classifier, alone or with the encoder. */
class ClassifierTrainer {
public:
    explicit ClassifierTrainer(const Model &model, const dim_classifier_options &options = classifier_options()) {
        dim_classifier_trainer *handle = nullptr;
        check(dim_classifier_trainer_create(detail::live(model), &options, &handle));
        handle_.reset(handle);
    }
    /* Of any architecture, unless the options say which. */
    static ClassifierTrainer resume(const detail::Text &path, const OpenOptions &options = {}) {
        const dim_open_options c = options.c();
        dim_classifier_trainer *handle = nullptr;
        check(dim_classifier_trainer_resume_with(path.c_str(), &c, &handle));
        return adopt(handle);
    }
    static ClassifierTrainer adopt(dim_classifier_trainer *handle) noexcept { return ClassifierTrainer(detail::Adopted{}, handle); }
    dim_classifier_trainer *get() const noexcept { return handle_.get(); }

    /* images (n,c,h,w), labels (n) less than the classes, n >= 2. */
    dim_classifier_result step(span<const float> images, span<const std::int64_t> labels) {
        const std::size_t n = counted("images", images, model().image_size(), labels);
        dim_classifier_result result{};
        check(dim_classifier_trainer_step(detail::live(*this), images.data(), labels.data(), n, &result));
        return result;
    }
    /* encoded (n,encoded) instead of images; the encoder must be frozen. */
    dim_classifier_result step_encoded(span<const float> encoded, span<const std::int64_t> labels) {
        const std::size_t n = counted("encoded", encoded, model().encoded_size(), labels);
        dim_classifier_result result{};
        check(dim_classifier_trainer_step_encoded(detail::live(*this), encoded.data(), labels.data(), n, &result));
        return result;
    }
    /* Adds to confusion (classes,classes) unless that is left out: row = label, column = prediction. */
    dim_classifier_result evaluate(span<const float> images, span<const std::int64_t> labels,
                                   span<std::uint64_t> confusion = {}) {
        const std::size_t n = counted("images", images, model().image_size(), labels);
        if (!confusion.empty()) detail::expect("confusion", confusion.size(), model().classes(), model().classes());
        dim_classifier_result result{};
        check(dim_classifier_trainer_evaluate(detail::live(*this), images.data(), labels.data(), n, &result,
                                              confusion.empty() ? nullptr : confusion.data()));
        return result;
    }

    void set_learning_rate(double rate) { check(dim_classifier_trainer_set_learning_rate(detail::live(*this), rate)); }
    dim_classifier_options options() const {
        dim_classifier_options options = classifier_options();
        check(dim_classifier_trainer_get_options(detail::live(*this), &options));
        return options;
    }
    std::uint64_t step_count() const { return dim_classifier_trainer_step_count(detail::live(*this)); }
    Model model() const {
        dim_model *handle = nullptr;
        check(dim_classifier_trainer_model(detail::live(*this), &handle));
        return Model::adopt(handle);
    }
    void save(const detail::Text &path) const { check(dim_classifier_trainer_save(detail::live(*this), path.c_str())); }

private:
    ClassifierTrainer(detail::Adopted, dim_classifier_trainer *handle) noexcept : handle_(handle) {}

    static std::size_t counted(const char *name, span<const float> values, std::size_t each, span<const std::int64_t> labels) {
        const std::size_t n = detail::count(name, values.size(), each);
        detail::expect("labels", labels.size(), n, 1);
        return n;
    }

    detail::Owner<dim_classifier_trainer, dim_classifier_trainer_free> handle_;
};

} // namespace dim

#endif /* DIM_HPP */
