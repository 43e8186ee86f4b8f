/* dim.hpp against dim.h: the same numbers, the same errors, one owner for each handle. */
#include <dim.hpp>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

namespace {

int passed = 0, failed = 0;

void check(bool holds, const char *what, int line) {
    if (holds) {
        ++passed;
    } else {
        ++failed;
        std::fprintf(stderr, "wrapper.cpp:%d: not so: %s\n", line, what);
    }
}
#define CHECK(condition) check((condition), #condition, __LINE__)

/* Runs what must throw dim::error, of this status and with this text. */
template <class Body> void throws(dim_status status, const char *text, int line, Body body) {
    try {
        body();
        check(false, "an error was thrown", line);
    } catch (const dim::error &error) {
        if (error.status() != status || std::strstr(error.what(), text) == nullptr)
            std::fprintf(stderr, "found %s: %s\n", dim_status_name(error.status()), error.what());
        check(error.status() == status, dim_status_name(status), line);
        check(std::strstr(error.what(), text) != nullptr, text, line);
    }
}
#define THROWS(status, text, ...) throws(status, text, __LINE__, [&] { __VA_ARGS__; })

std::vector<float> some_images(std::size_t n, unsigned seed = 1) {
    std::vector<float> images(n * DIM_NOTEBOOK_IMAGE_SIZE);
    for (float &value : images) {
        seed = seed * 1664525u + 1013904223u;
        value = static_cast<float>(seed >> 8) / 16777216.0f;
    }
    return images;
}

std::string scratch(const char *name) {
    static const std::string folder = [] {
        char pattern[] = "/tmp/dim-cpp-XXXXXX";
        return std::string(mkdtemp(pattern));
    }();
    return folder + "/" + name;
}

void types() {
    CHECK(!std::is_copy_constructible_v<dim::Model> && !std::is_copy_assignable_v<dim::Model>);
    CHECK(!std::is_copy_constructible_v<dim::Trainer> && !std::is_copy_constructible_v<dim::ClassifierTrainer>);
    CHECK(std::is_nothrow_move_constructible_v<dim::Model> && std::is_nothrow_move_assignable_v<dim::Model>);
    CHECK(std::is_nothrow_move_constructible_v<dim::Trainer> && std::is_nothrow_move_assignable_v<dim::Trainer>);
    CHECK((!std::is_convertible_v<int, dim::Model>));
    CHECK((std::is_base_of_v<std::runtime_error, dim::error>));
    CHECK((std::is_convertible_v<std::vector<float> &, dim::span<float>>));
    CHECK((std::is_convertible_v<const std::vector<float> &, dim::span<const float>>));
    CHECK((std::is_convertible_v<dim::span<float>, dim::span<const float>>));
    CHECK((!std::is_convertible_v<const std::vector<float> &, dim::span<float>>));
    CHECK((!std::is_convertible_v<std::vector<double> &, dim::span<float>>));
    CHECK((!std::is_convertible_v<dim::span<const float>, dim::span<float>>));
    float array[3] = {1, 2, 3};
    std::array<float, 2> other{4, 5};
    CHECK(dim::span<const float>(array).size() == 3 && dim::span<const float>(array)[2] == 3);
    CHECK(dim::span<float>(other).data() == other.data() && dim::span<float>().empty());
}

void library() {
    CHECK(dim::version() == std::to_string(DIM_VERSION_MAJOR) + "." + std::to_string(DIM_VERSION_MINOR) + "." +
                                std::to_string(DIM_VERSION_PATCH));
    CHECK(dim::build_info().find(dim::version()) != std::string::npos);
    const int before = dim::num_threads();
    dim::set_num_threads(1);
    CHECK(dim::num_threads() == 1);
    dim::set_num_threads(before);
    CHECK(dim::max_images() == dim_max_images());
    THROWS(DIM_INVALID_ARGUMENT, "-1", dim::set_num_threads(-1));
    CHECK(dim::trainer_options().alpha == 0.5 && dim::classifier_options().encoder == DIM_ENCODER_FROZEN);
}

void owners() {
    dim::Model first(3);
    dim_model *handle = first.get();
    dim::Model second = std::move(first);
    CHECK(first.get() == nullptr && second.get() == handle && second.networks() == DIM_NETWORK_ALL);
    THROWS(DIM_INVALID_HANDLE, "", first.encode(some_images(1)));
    first = dim::Model(4);
    CHECK(first.has(DIM_NETWORK_ENCODER | DIM_NETWORK_PRIOR_D));
    dim_model *replaced = first.get();
    first = std::move(second);
    CHECK(first.get() == handle && dim_model_networks(replaced) == 0);
    dim_model *loose = first.release();
    CHECK(first.get() == nullptr && dim_model_networks(loose) == DIM_NETWORK_ALL);
    {
        const dim::Model owner = dim::Model::adopt(loose);
        CHECK(owner.networks() == DIM_NETWORK_ALL);
    }
    CHECK(dim_model_networks(loose) == 0);
    dim_model *passing = nullptr;
    try {
        dim::Model unlucky(5);
        passing = unlucky.get();
        unlucky.load(scratch("missing.h5"));
        CHECK(false);
    } catch (const dim::error &error) {
        CHECK(error.status() == DIM_IO && std::strstr(error.what(), "missing.h5"));
    }
    CHECK(dim_model_networks(passing) == 0);

    /* 0 is a seed here, and no handle; a C string that is NULL is no path. */
    const char *nothing = nullptr;
    THROWS(DIM_INVALID_ARGUMENT, "null pointer", first.save(nothing));
    THROWS(DIM_INVALID_ARGUMENT, "has a NUL inside: keep.h5\\0", first.save(std::string("keep.h5\0.new", 12)));
    THROWS(DIM_INVALID_ARGUMENT, "has a NUL inside", dim::Architecture::preset(std::string("basic32\0zz", 10)));
    const std::vector<std::string> cut(10, std::string("a\0x", 3));
    THROWS(DIM_INVALID_ARGUMENT, "has a NUL inside", first.set_class_names(cut));
    THROWS(DIM_INVALID_ARGUMENT, "null pointer", dim::Model::open(nothing));
    dim_model *seeded = nullptr;
    CHECK(dim_model_create(0, &seeded) == DIM_OK);
    CHECK(dim::Model(0).parameter("classifier.l1.weight") == dim::Model::adopt(seeded).parameter("classifier.l1.weight"));
}

/* get() of what was moved from is nullptr, which several calls of dim.h take for none: any architecture, no networks, no steps.
 * Arguments are right, so that nothing else is the fault. */
void moved_from() {
    const auto images = some_images(2);
    const std::vector<float> y(2 * DIM_NOTEBOOK_ENCODED_SIZE), m(2 * DIM_NOTEBOOK_FEATURES_SIZE);
    const std::vector<std::int64_t> labels{1, 2}, counter{0};
    std::vector<float> out(2 * DIM_NOTEBOOK_ENCODED_SIZE);
    const std::string file = scratch("moved.h5");

    dim::Architecture architecture = dim::Architecture::preset("basic32");
    dim::Model model(7), given(8);
    dim::Trainer trainer(model);
    dim::ClassifierTrainer classifier(model);
    dim::OpenOptions options;
    options.architecture = &architecture;
    const dim::Architecture architecture_now = std::move(architecture);
    const dim::Trainer trainer_now = std::move(trainer);
    const dim::ClassifierTrainer classifier_now = std::move(classifier);
    dim::Model model_now = std::move(model);
    trainer_now.save(scratch("run.h5"));
    classifier_now.save(scratch("classifier.h5"));
    model_now.save(scratch("weights.h5"));
    CHECK(!architecture.get() && !model.get() && !trainer.get() && !classifier.get());
#define MOVED(kind, ...) THROWS(DIM_INVALID_HANDLE, "expected a dim::" kind ", found one that was moved from", __VA_ARGS__)

    MOVED("Architecture", architecture.json());
    MOVED("Architecture", architecture.summary());
    MOVED("Architecture", dim::Model(architecture, 1));
    MOVED("Architecture", options.c());
    MOVED("Architecture", dim::Model::open(scratch("weights.h5"), options));
    MOVED("Architecture", model_now.load(scratch("weights.h5"), options));
    MOVED("Architecture", dim::Trainer::resume(scratch("run.h5"), options));
    MOVED("Architecture", dim::ClassifierTrainer::resume(scratch("classifier.h5"), options));

    MOVED("Model", model.release());
    MOVED("Model", model.load(scratch("weights.h5")));
    MOVED("Model", model.save(file));
    MOVED("Model", model.save(file, DIM_FORMAT_SAFETENSORS));
    MOVED("Model", model.architecture());
    MOVED("Model", model.sizes());
    MOVED("Model", model.image_size());
    MOVED("Model", model.encoded_size());
    MOVED("Model", model.features_size());
    MOVED("Model", model.local_size());
    MOVED("Model", model.global_map_size());
    MOVED("Model", model.classes());
    MOVED("Model", model.class_names());
    MOVED("Model", model.set_class_names({}));
    MOVED("Model", model.set_training(true));
    MOVED("Model", model.is_training());
    MOVED("Model", model.networks());
    MOVED("Model", model.has(DIM_NETWORK_ENCODER));
    MOVED("Model", model.has(0));
    MOVED("Model", model.parameters());
    MOVED("Model", model.parameter_info("encoder.c0.weight"));
    MOVED("Model", model.parameter("encoder.c0.weight"));
    MOVED("Model", model.set_parameter("encoder.c0.weight", y));
    MOVED("Model", model.set_parameter("encoder.b1.num_batches_tracked", counter));
    MOVED("Model", model.encode(images));
    MOVED("Model", model.encode(images, out));
    MOVED("Model", model.score_global(y, m));
    MOVED("Model", model.score_global(y, m, out));
    MOVED("Model", model.score_local(y, m));
    MOVED("Model", model.score_local(y, m, out));
    MOVED("Model", model.score_prior(y));
    MOVED("Model", model.score_prior(y, out));
    MOVED("Model", model.classify(y));
    MOVED("Model", model.classify(y, out));
    MOVED("Model", dim::trainer_options(model));
    MOVED("Model", dim::Trainer other(model));
    MOVED("Model", dim::Trainer(model, dim::trainer_options()));
    MOVED("Model", dim::ClassifierTrainer other(model));

    MOVED("Trainer", trainer.step(images));
    MOVED("Trainer", trainer.accumulate(images));
    MOVED("Trainer", trainer.skip(2));
    MOVED("Trainer", trainer.drop());
    MOVED("Trainer", trainer.update());
    MOVED("Trainer", trainer.evaluate(images));
    MOVED("Trainer", trainer.report());
    MOVED("Trainer", trainer.get_gradient("encoder.c0.weight", out));
    MOVED("Trainer", trainer.gradient("encoder.c0.weight"));
    MOVED("Trainer", trainer.set_gradient_callback(nullptr));
    MOVED("Trainer", trainer.set_learning_rates(1, 1));
    MOVED("Trainer", trainer.options());
    MOVED("Trainer", trainer.step_count());
    MOVED("Trainer", trainer.model());
    MOVED("Trainer", trainer.save(file));

    MOVED("ClassifierTrainer", classifier.step(images, labels));
    MOVED("ClassifierTrainer", classifier.step_encoded(y, labels));
    MOVED("ClassifierTrainer", classifier.evaluate(images, labels));
    MOVED("ClassifierTrainer", classifier.set_learning_rate(1));
    MOVED("ClassifierTrainer", classifier.options());
    MOVED("ClassifierTrainer", classifier.step_count());
    MOVED("ClassifierTrainer", classifier.model());
    MOVED("ClassifierTrainer", classifier.save(file));
#undef MOVED
    CHECK(!std::ifstream(file) && out == std::vector<float>(out.size()));

    // What was released is as what was moved from; either is of use again once it is assigned to.
    dim::Model released(9);
    dim_model_free(released.release());
    THROWS(DIM_INVALID_HANDLE, "", released.networks());
    released = std::move(given);
    model = std::move(model_now);
    CHECK(released.networks() == DIM_NETWORK_ALL && model.networks() == DIM_NETWORK_ALL && !given.get() && !model_now.get());
    given = std::move(model_now); // Of nothing, to nothing.
    CHECK(!given.get());
}

/* The same call of dim.h, byte for byte. */
void forward() {
    const std::size_t n = 3;
    dim::Model model(7);
    const auto images = some_images(n);
    std::vector<float> encoded(n * DIM_NOTEBOOK_ENCODED_SIZE), features(n * DIM_NOTEBOOK_FEATURES_SIZE);
    std::vector<float> expected(n * DIM_NOTEBOOK_LOCAL_SIZE);
    model.encode(images, encoded, features);
    std::vector<float> y(encoded.size()), m(features.size());
    CHECK(dim_encode(model.get(), images.data(), n, y.data(), m.data()) == DIM_OK);
    CHECK(y == encoded && m == features);
    CHECK(model.encode(images) == encoded);
    CHECK(model.encode(dim::span<const float>(images.data(), DIM_NOTEBOOK_IMAGE_SIZE)).size() == DIM_NOTEBOOK_ENCODED_SIZE);

    CHECK(dim_score_local(model.get(), y.data(), m.data(), n, expected.data()) == DIM_OK);
    CHECK(model.score_local(encoded, features) == expected);
    expected.resize(n);
    CHECK(dim_score_global(model.get(), y.data(), m.data(), n, expected.data()) == DIM_OK);
    CHECK(model.score_global(encoded, features) == expected);
    CHECK(dim_score_prior(model.get(), y.data(), n, expected.data()) == DIM_OK);
    CHECK(model.score_prior(encoded) == expected);
    expected.resize(n * DIM_NOTEBOOK_CLASSES);
    CHECK(dim_classify(model.get(), y.data(), n, expected.data()) == DIM_OK);
    CHECK(model.classify(encoded) == expected);

    model.set_training(true);
    CHECK(model.is_training());
    CHECK(model.encode(images) != encoded);
    model.set_training(false);
    CHECK(!model.is_training());
}

/* Shapes are refused before the library is called, and outputs stay as they were. */
void shapes() {
    dim::Model model(7);
    const auto images = some_images(2);
    std::vector<float> encoded(2 * DIM_NOTEBOOK_ENCODED_SIZE, -1), features(2 * DIM_NOTEBOOK_FEATURES_SIZE, -1), one(1);
    const dim::span<const float> torn(images.data(), images.size() - 1), first(encoded.data(), DIM_NOTEBOOK_ENCODED_SIZE);
    THROWS(DIM_SIZE_MISMATCH, "images has 6143 elements; expected n times 3072", model.encode(torn));
    THROWS(DIM_SIZE_MISMATCH, "images has 0 elements", model.encode(dim::span<const float>()));
    THROWS(DIM_SIZE_MISMATCH, "encoded has 1 elements; expected 2 times 64", model.encode(images, one));
    THROWS(DIM_SIZE_MISMATCH, "features has 1 elements", model.encode(images, encoded, one));
    THROWS(DIM_SIZE_MISMATCH, "features has 173056 elements; expected 1 times 86528", model.score_global(first, features));
    THROWS(DIM_SIZE_MISMATCH, "logits has 1 elements; expected 2 times 676", model.score_local(encoded, features, one));
    THROWS(DIM_SIZE_MISMATCH, "logits has 1 elements; expected 2 times 1", model.score_global(encoded, features, one));
    THROWS(DIM_SIZE_MISMATCH, "probabilities has 1 elements", model.score_prior(encoded, one));
    THROWS(DIM_SIZE_MISMATCH, "probabilities has 1 elements; expected 2 times 10", model.classify(encoded, one));
    THROWS(DIM_SIZE_MISMATCH, "encoded has 1 elements", model.classify(one));
    CHECK(encoded == std::vector<float>(encoded.size(), -1) && one[0] == 0);
    const std::size_t huge = (dim::max_images() + 1) * DIM_NOTEBOOK_IMAGE_SIZE;
    THROWS(DIM_TOO_LARGE, "expected at most", model.encode(dim::span<const float>(images.data(), huge)));
}

void parameters() {
    dim::Model model(7);
    const auto all = model.parameters();
    CHECK(all.size() == dim_model_parameter_count(model.get()) && std::strcmp(all[0].name, "encoder.c0.weight") == 0);
    const auto info = model.parameter_info("encoder.c0.weight");
    CHECK(info.ndim == 4 && info.shape[0] == 64 && info.bytes == all[0].bytes);
    auto weight = model.parameter("encoder.c0.weight");
    CHECK(weight.size() * sizeof(float) == info.bytes);
    weight[5] = 0.25f;
    model.set_parameter("encoder.c0.weight", weight);
    CHECK(model.parameter("encoder.c0.weight")[5] == 0.25f);
    const char *counter = "encoder.b1.num_batches_tracked";
    const std::int64_t forty[] = {40};
    model.set_parameter(counter, forty);
    CHECK(model.parameter<std::int64_t>(counter) == std::vector<std::int64_t>{40});
    THROWS(DIM_UNKNOWN_NAME, "encoder.c9", model.parameter("encoder.c9.weight"));
    THROWS(DIM_INVALID_ARGUMENT, "holds int64", model.parameter(counter));
    THROWS(DIM_INVALID_ARGUMENT, "holds float32", model.set_parameter("encoder.c0.weight", forty));
    const std::vector<float> two(2);
    THROWS(DIM_INVALID_ARGUMENT, "holds int64", model.set_parameter(counter, two));
    THROWS(DIM_SIZE_MISMATCH, "has 2 elements; expected 1 times", model.set_parameter("encoder.c0.weight", two));
    THROWS(DIM_SIZE_MISMATCH, "has 0 elements", model.set_parameter("encoder.c0.weight", std::vector<float>()));
    weight[0] = std::numeric_limits<float>::quiet_NaN();
    THROWS(DIM_INVALID_ARGUMENT, "encoder.c0.weight", model.set_parameter("encoder.c0.weight", weight));
}

void files() {
    dim::Model model(7), other(8);
    model.save(scratch("weights.h5"));
    CHECK(dim::Model::open(scratch("weights.h5")).parameter("encoder.c0.weight") == model.parameter("encoder.c0.weight"));
    CHECK(other.parameter("encoder.c0.weight") != model.parameter("encoder.c0.weight"));
    other.load(scratch("weights.h5"));
    CHECK(other.parameter("encoder.c0.weight") == model.parameter("encoder.c0.weight"));
    std::ofstream(scratch("text.h5")) << "no weights";
    THROWS(DIM_FILE_FORMAT, "text.h5", dim::Model::open(scratch("text.h5")));
    dim::OpenOptions untrusted;
    untrusted.untrusted = true;
    dim::Model opened = dim::Model::open(scratch("weights.h5"), untrusted);
    CHECK(opened.parameter("encoder.c0.weight") == model.parameter("encoder.c0.weight"));
    opened.load(scratch("weights.h5"), untrusted);
    THROWS(DIM_FILE_FORMAT, "text.h5", dim::Model::open(scratch("text.h5"), untrusted));
    THROWS(DIM_IO, "", model.save(scratch("no/such/folder.h5")));
}

/* Arrays have the model's sizes, whatever its architecture; files keep it. */
void architectures() {
    const char json[] = R"({"preset":"basic32","image":{"channels":1,"height":12,"width":16},"encoder":{"layers":[
        {"op":"conv","name":"c0","out":8,"kernel":4,"stride":2,"norm":"batch","activation":"relu"},{"op":"flatten"},
        {"op":"linear","name":"l0","out":6}],"features":"c0","conv":"c0","fc":null},
        "local":{"score":"dot","net":"light","units":8},"prior":{"hidden":[7]},"classifier":{"hidden":[5],"classes":3}})";
    const dim::Architecture small = dim::Architecture::parse(json);
    CHECK(dim::Architecture::parse(small.json()).json() == small.json() && small.summary().find("c0_norm") == std::string::npos);
    THROWS(DIM_UNKNOWN_NAME, "basic32", dim::Architecture::preset("basic33"));
    THROWS(DIM_INVALID_ARGUMENT, "found a null pointer", dim::Architecture::parse(static_cast<const char *>(nullptr)));
    THROWS(DIM_INVALID_ARGUMENT, "image.heigth", dim::Architecture::parse(R"({"preset":"basic32","image":{"heigth":3}})"));

    dim::Model model(small, 3);
    CHECK(model.image_size() == 12 * 16 && model.encoded_size() == 6 && model.features_size() == 8 * 5 * 7);
    CHECK(model.local_size() == 35 && model.global_map_size() == 0 && model.classes() == 3);
    const std::vector<float> images(2 * 12 * 16, 0.5F);
    std::vector<float> features(2 * model.features_size()), encoded = model.encode(images);
    model.encode(images, encoded, features);
    CHECK(encoded.size() == 12 && model.score_local(encoded, features).size() == 70 && model.classify(encoded).size() == 6);
    THROWS(DIM_SIZE_MISMATCH, "images has 100", model.encode(std::vector<float>(100)));
    THROWS(DIM_SIZE_MISMATCH, "features", model.encode(images, encoded, encoded));
    THROWS(DIM_MISSING_NETWORK, "the model's architecture has no global_d", model.score_global(encoded, features));
    std::string others(json);
    others.replace(others.find("local"), 5, "global");
    others.replace(others.find(R"("classifier":{"hidden":[5],"classes":3})"), 39, R"("classifier":null,"local":null)");
    dim::Model without(dim::Architecture::parse(others), 3);
    THROWS(DIM_MISSING_NETWORK, "the model's architecture has no local_d", without.score_local(encoded, features));
    THROWS(DIM_MISSING_NETWORK, "the model's architecture has no classifier", without.classify(encoded));

    const std::vector<std::string> names = {"cat", "dog", "\xc3\xa9l\xc3\xa9phant"};
    CHECK(model.class_names().empty());
    model.set_class_names(names);
    model.save(scratch("small.h5"));
    dim::Model opened = dim::Model::open(scratch("small.h5"));
    CHECK(opened.class_names() == names && opened.architecture().json() == small.json() && opened.encode(images) == model.encode(images));

    // What dim_model_open does: the notebook's alone.
    dim::OpenOptions strict;
    strict.any_architecture = false;
    THROWS(DIM_FILE_CONTENT, "dim_model_open_with", dim::Model::open(scratch("small.h5"), strict));
    const dim::Architecture basic = dim::Architecture::preset("basic32");
    dim::OpenOptions another;
    another.architecture = &basic;
    THROWS(DIM_FILE_CONTENT, "differ in", dim::Model::open(scratch("small.h5"), another));
    dim::OpenOptions part;
    part.networks = DIM_NETWORK_ENCODER;
    CHECK(dim::Model::open(scratch("small.h5"), part).networks() == DIM_NETWORK_ENCODER);

    dim::Trainer trainer(model);
    trainer.step(images);
    trainer.save(scratch("small-run.h5"));
    dim::Trainer resumed = dim::Trainer::resume(scratch("small-run.h5"));
    CHECK(resumed.options().measure == DIM_MEASURE_NCE && resumed.step(images).total == trainer.step(images).total);
    THROWS(DIM_FILE_CONTENT, "notebook", dim::Trainer::resume(scratch("small-run.h5"), strict));
    CHECK(dim::trainer_options(model).measure == DIM_MEASURE_NCE && dim::trainer_options().measure == DIM_MEASURE_GAN);
}

void training() {
    dim::Model model(7), twin(7);
    const auto images = some_images(3);
    auto options = dim::trainer_options();
    options.prior = DIM_PRIOR_ADVERSARIAL;
    options.seed = 5;
    dim::Trainer trainer(model, options), parts(twin, options);
    const dim_losses before = trainer.evaluate(images);
    const dim_losses losses = trainer.step(images);
    parts.accumulate(images);
    const auto gradient = parts.gradient("encoder.c0.weight");
    std::vector<float> none;
    THROWS(DIM_SIZE_MISMATCH, "", parts.get_gradient("encoder.c0.weight", none));
    CHECK(gradient.size() == model.parameter("encoder.c0.weight").size());
    parts.update();
    CHECK(model.parameter("encoder.c0.weight") == twin.parameter("encoder.c0.weight"));
    CHECK(before.total != losses.total && losses.total > 0);
    CHECK(trainer.step_count() == 1 && trainer.options().prior == DIM_PRIOR_ADVERSARIAL && trainer.options().seed == 5);
    CHECK(trainer.model().parameter("encoder.c0.weight") == model.parameter("encoder.c0.weight"));
    trainer.set_learning_rates(1e-3, 2e-3);
    CHECK(trainer.options().encoder_learning_rate == 1e-3 && trainer.options().discriminator_learning_rate == 2e-3);

    trainer.save(scratch("run.h5"));
    dim::Trainer resumed = dim::Trainer::resume(scratch("run.h5"));
    dim::OpenOptions untrusted;
    untrusted.untrusted = true;
    CHECK(dim::Trainer::resume(scratch("run.h5"), untrusted).step_count() == resumed.step_count());
    CHECK(resumed.step(images).total == trainer.step(images).total && resumed.step_count() == 2);

    THROWS(DIM_INVALID_ARGUMENT, "", trainer.step(dim::span<const float>(images.data(), DIM_NOTEBOOK_IMAGE_SIZE)));
    THROWS(DIM_SIZE_MISMATCH, "images has 1", trainer.step(dim::span<const float>(images.data(), 1)));
    THROWS(DIM_INVALID_ARGUMENT, "", trainer.update());
    options.adam_beta1 = 2;
    THROWS(DIM_INVALID_ARGUMENT, "adam_beta1", dim::Trainer(model, options));
}

void callbacks() {
    dim::Model model(7);
    const auto images = some_images(2);
    dim::Trainer first(model);
    std::size_t seen = 0;
    first.set_gradient_callback([&seen](dim::span<float> values) { return (seen = values.size()) > 0; });
    dim::Trainer trainer = std::move(first); // The callback goes along.
    trainer.step(images);
    CHECK(seen > 1000000 && trainer.step_count() == 1);

    trainer.set_gradient_callback([](dim::span<float>) { return false; });
    THROWS(DIM_CANCELLED, "", trainer.step(images));
    CHECK(trainer.step_count() == 1);
    trainer.set_gradient_callback([](dim::span<float>) -> bool { throw std::logic_error("the network is down"); });
    try {
        trainer.step(images);
        CHECK(false);
    } catch (const std::logic_error &error) {
        CHECK(std::string(error.what()) == "the network is down");
    }
    CHECK(trainer.step_count() == 1);
    CHECK(dim_trainer_step(trainer.get(), images.data(), 2, nullptr) == DIM_CANCELLED);
    dim::Trainer other(model);
    other.step(images); // What the other's callback threw is not of this step.
    CHECK(other.step_count() == 1);
    seen = 0;
    trainer.set_gradient_callback(nullptr);
    trainer.step(images);
    CHECK(seen == 0 && trainer.step_count() == 2);
}

/* Tells when what a callback has captured is destroyed. */
struct Witness {
    explicit Witness(bool &flag) : gone(&flag) {}
    ~Witness() { *gone = true; }
    bool *gone;
};

/* The function is in use until it returns, whatever it does with its trainer. */
void callbacks_that_end_themselves() {
    dim::Model model(7);
    const auto images = some_images(2);
    bool gone = false, early = false;
    auto witness = std::make_shared<Witness>(gone);
    dim::Trainer trainer(model);
    trainer.set_gradient_callback([&trainer, &gone, &early, witness](dim::span<float>) {
        { const dim::Trainer ended = std::move(trainer); }
        early = gone;
        return true;
    });
    witness.reset();
    trainer.step(images);
    CHECK(gone && !early);
}

void classifier() {
    dim::Model model(7);
    const auto images = some_images(4);
    const std::vector<std::int64_t> labels{0, 3, 9, 3};
    dim::ClassifierTrainer trainer(model);
    const auto result = trainer.step(images, labels);
    CHECK(result.count == 4 && result.loss > 0 && trainer.step_count() == 1);
    CHECK(trainer.step_encoded(model.encode(images), labels).loss != result.loss);
    std::vector<std::uint64_t> confusion(DIM_NOTEBOOK_CLASSES * DIM_NOTEBOOK_CLASSES);
    std::vector<std::uint64_t> small(3);
    const auto scored = trainer.evaluate(images, labels, confusion);
    THROWS(DIM_SIZE_MISMATCH, "confusion", trainer.evaluate(images, labels, small));
    std::uint64_t sum = 0, diagonal = 0, threes = 0;
    for (std::size_t row = 0; row < DIM_NOTEBOOK_CLASSES; ++row) {
        diagonal += confusion[row * DIM_NOTEBOOK_CLASSES + row];
        for (std::size_t column = 0; column < DIM_NOTEBOOK_CLASSES; ++column) sum += confusion[row * DIM_NOTEBOOK_CLASSES + column];
    }
    for (std::size_t column = 0; column < DIM_NOTEBOOK_CLASSES; ++column) threes += confusion[3 * DIM_NOTEBOOK_CLASSES + column];
    CHECK(sum == 4 && threes == 2 && diagonal == scored.correct);
    CHECK(trainer.evaluate(images, labels).loss == scored.loss);
    trainer.set_learning_rate(0.5);
    CHECK(trainer.options().learning_rate == 0.5 && trainer.model().networks() == DIM_NETWORK_ALL);
    trainer.save(scratch("classifier.h5"));
    CHECK(dim::ClassifierTrainer::resume(scratch("classifier.h5")).step_count() == 2);
    dim::OpenOptions untrusted;
    untrusted.untrusted = true;
    CHECK(dim::ClassifierTrainer::resume(scratch("classifier.h5"), untrusted).step_count() == 2);
    THROWS(DIM_SIZE_MISMATCH, "labels has 3 elements; expected 4 times 1",
           trainer.step(images, dim::span<const std::int64_t>(labels.data(), 3)));
    const std::vector<std::int64_t> wrong{0, 3, 10, 3};
    THROWS(DIM_INVALID_ARGUMENT, "10", trainer.step(images, wrong));
}

} // namespace

int main() {
    types();
    library();
    owners();
    moved_from();
    forward();
    shapes();
    parameters();
    files();
    architectures();
    training();
    callbacks();
    callbacks_that_end_themselves();
    classifier();
    for (const char *name : {"weights.h5", "text.h5", "run.h5", "classifier.h5"}) std::remove(scratch(name).c_str());
    std::remove(scratch("").c_str());
    std::printf("wrapper (C++%ld): %d passed, %d failed\n", __cplusplus / 100 % 100, passed, failed);
    return failed != 0;
}
