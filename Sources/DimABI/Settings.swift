import CDim
import DimArchitecture
import DimFiles
import DimOperators
import DimRuntime
import DimTraining

/// The settings of a training run as text: a JSON object of named values, as in a checkpoint. Doubles are written with
/// enough digits to read the same double.
struct Settings {
    /// Bytes of the text.
    static let most = 8 * 1024

    enum Value {
        case number(Double)
        case integer(Int)
        case text(String)

        /// In a message.
        var found: String {
            switch self {
            case .number(let number): "\(number)"
            case .integer(let integer): "\(integer)"
            case .text(let text): quoted(text)
            }
        }
    }

    private(set) var values: [String: Value]

    // MARK: Text

    var json: String {
        let members = values.sorted { $0.key < $1.key }.map { name, value in
            switch value {
            case .number(let number): "\"\(name)\":\(number)"
            case .integer(let integer): "\"\(name)\":\(integer)"
            case .text(let text): "\"\(name)\":\"\(text)\""
            }
        }
        return "{" + members.joined(separator: ",") + "}"
    }

    /// From a checkpoint's text.
    init(_ json: String, path: FilePath) throws {
        let bytes = Array(json.utf8)
        let parsed: JSON
        do {
            parsed = try JSON.parse(bytes, limits: JSON.Limits(bytes: Settings.most, depth: 1))
        } catch let failure as JSON.Failure {
            throw Settings.wrong(path, failure.description)
        }
        guard case .object(let members) = parsed.value else {
            throw Settings.wrong(path, "expected a JSON object, found \(parsed.found(in: bytes))")
        }
        values = [:]
        for (key, member) in members {
            let name = key.knownName
            switch member.value {
            case .number(let number): values[name] = .number(number)
            case .integer(let integer): values[name] = .integer(integer)
            case .string(let text): values[name] = .text(text.knownName)
            default:
                throw Settings.wrong(
                    path, "\(quoted(name)): expected a number or a text, found \(member.found(in: bytes))")
            }
        }
    }

    private static func wrong(_ path: FilePath, _ what: String) -> DimError {
        DimError(.fileContent, "\(path): checkpoint/settings: \(what)")
    }

    // MARK: Reading them one by one

    /// Takes values by their names, notes what is wrong, and what is left.
    private final class Taker {
        private var values: [String: Value]
        private var faults: [String] = []

        init(_ values: [String: Value]) { self.values = values }

        func number(_ name: String, absent: Double? = nil) -> Double {
            switch values.removeValue(forKey: name) {
            case .number(let number): return number
            case .integer(let integer): return Double(integer)
            case .text(let text): fault("\(name): expected a number, found \(quoted(text))")
            case nil:
                if let absent { return absent }
                fault("\(name) is missing")
            }
            return 0
        }

        func integer(_ name: String, absent: Int, _ range: ClosedRange<Int>) -> Int {
            guard let value = values.removeValue(forKey: name) else { return absent }
            if case .integer(let integer) = value, range.contains(integer) { return integer }
            fault(name, "expected a whole number from \(range.lowerBound) to \(range.upperBound)", value)
            return absent
        }

        /// One of several names.
        func choice<Choice>(
            _ name: String, _ choices: [(name: String, choice: Choice)], absent: Choice? = nil
        ) -> Choice {
            let value = values.removeValue(forKey: name)
            if value == nil, let absent { return absent }
            if case .text(let text) = value, let found = choices.first(where: { $0.name == text }) {
                return found.choice
            }
            let known = choices.map { quoted($0.name) }.joined(separator: ", ")
            fault(name, "expected one of \(known)", value)
            return choices[0].choice
        }

        func take(_ name: String) -> Value? { values.removeValue(forKey: name) }
        func fault(_ text: String) { faults.append(text) }
        func fault(_ name: String, _ expected: String, _ value: Value?) {
            fault(value.map { "\(name): \(expected), found \($0.found)" } ?? "\(name) is missing")
        }

        /// Throws all that is wrong.
        func finish(_ path: FilePath) throws {
            for name in values.keys.sorted() {
                fault("\(quoted(name)) is not a setting of this version; a newer version may have written the file")
            }
            guard faults.isEmpty else { throw Settings.wrong(path, faults.joined(separator: "; ")) }
        }
    }

    // MARK: The objective

    private static let priors: [(name: String, choice: dim_prior)] = [
        ("monolithic", DIM_PRIOR_MONOLITHIC), ("adversarial", DIM_PRIOR_ADVERSARIAL), ("none", DIM_PRIOR_NONE),
    ]

    private static let precisions: [(name: String, choice: dim_precision)] = [
        ("float32", DIM_PRECISION_FLOAT32), ("mixed", DIM_PRECISION_MIXED),
    ]

    init(_ options: TrainerOptions) {
        let o = dim_trainer_options(options)
        let negatives: Value =
            switch options.negatives {
            case .all: .text("all")
            case .rotation: .text("rotation")
            case .drawn(let k): .integer(k)
            }
        values = [
            "measure": .text(options.measure.name), "negatives": negatives,
            "prior": .text(Settings.priors.first { $0.choice == o.prior }?.name ?? ""),
            "gradient_penalty": .number(o.gradient_penalty), "gradient_clip": .number(o.gradient_clip),
            "coordinates": .text(options.coordinates.name), "coordinates_weight": .number(o.coordinates_weight),
            "locations": .integer(options.locations), "occlusion": .integer(Int(o.occlusion)),
            "alpha": .number(o.alpha), "beta": .number(o.beta), "gamma": .number(o.gamma),
            "encoder_learning_rate": .number(o.encoder_learning_rate),
            "discriminator_learning_rate": .number(o.discriminator_learning_rate),
            "adam_beta1": .number(o.adam_beta1), "adam_beta2": .number(o.adam_beta2),
            "epsilon": .number(o.epsilon), "weight_decay": .number(o.weight_decay),
            // Of all 64 bits, which no JSON number need have.
            "seed": .text(String(o.seed)),
        ]
        if options.microBatches > 1 { values["micro_batches"] = .integer(options.microBatches) }
        if options.precision == .mixed { values["precision"] = .text("mixed") }
    }

    /// With the checks that a caller's options go through.
    func trainerOptions(_ path: FilePath) throws -> TrainerOptions {
        let taker = Taker(values)
        var o = dim_trainer_options()
        o.struct_size = MemoryLayout<dim_trainer_options>.size
        o.measure = dim_measure(
            rawValue: taker.choice("measure", Measure.allCases.map { ($0.name, $0.rawValue) }))
        switch taker.take("negatives") {
        case .text("all"): o.negatives = Int32(DIM_NEGATIVES_ALL)
        case .text("rotation"): o.negatives = Int32(DIM_NEGATIVES_ROTATION)
        case .integer(let k) where (1...Int(Int32.max)).contains(k): o.negatives = Int32(k)
        case let other:
            taker.fault("negatives", "expected \"all\", \"rotation\" or how many to draw, below 2^31", other)
        }
        o.prior = taker.choice("prior", Settings.priors)
        o.gradient_penalty = taker.number("gradient_penalty", absent: 0)
        o.gradient_clip = taker.number("gradient_clip", absent: 0)
        o.coordinates = dim_coordinates(
            rawValue: taker.choice(
                "coordinates", Coordinates.allCases.map { ($0.name, $0.rawValue) }, absent: Coordinates.none.rawValue))
        o.coordinates_weight = taker.number("coordinates_weight", absent: 1)
        o.locations = UInt32(taker.integer("locations", absent: 0, 0...Int(UInt32.max)))
        o.occlusion = Int32(taker.integer("occlusion", absent: 0, 0...1))
        switch taker.take("micro_batches") {
        case nil: o.micro_batches = 1
        case .integer(let k): o.micro_batches = k
        case let other: taker.fault("micro_batches", "expected a whole number", other)
        }
        o.precision = taker.choice("precision", Settings.precisions, absent: DIM_PRECISION_FLOAT32)
        (o.alpha, o.beta, o.gamma) = (taker.number("alpha"), taker.number("beta"), taker.number("gamma"))
        o.encoder_learning_rate = taker.number("encoder_learning_rate")
        o.discriminator_learning_rate = taker.number("discriminator_learning_rate")
        (o.adam_beta1, o.adam_beta2) = (taker.number("adam_beta1"), taker.number("adam_beta2"))
        (o.epsilon, o.weight_decay) = (taker.number("epsilon"), taker.number("weight_decay"))
        let seed = taker.take("seed")
        if case .text(let digits) = seed, let number = UInt64(digits) {
            o.seed = number
        } else {
            taker.fault("seed", "expected a whole number of 64 bits, as text", seed)
        }
        try taker.finish(path)
        return try Settings.inFile(path) { try o.checked() }
    }

    // MARK: The classifier

    private static let encoders: [(name: String, choice: dim_encoder_use)] = [
        ("frozen", DIM_ENCODER_FROZEN), ("frozen_batch_statistics", DIM_ENCODER_FROZEN_BATCH_STATISTICS),
        ("trained", DIM_ENCODER_TRAINED),
    ]
    private static let losses: [(name: String, choice: dim_classifier_loss)] = [
        ("logits", DIM_LOSS_LOGITS), ("softmax_twice", DIM_LOSS_SOFTMAX_TWICE),
    ]

    init(_ options: ClassifierOptions) {
        let o = dim_classifier_options(options)
        values = [
            "encoder": .text(Settings.encoders.first { $0.choice == o.encoder }?.name ?? ""),
            "loss": .text(Settings.losses.first { $0.choice == o.loss }?.name ?? ""),
            "learning_rate": .number(o.learning_rate), "adam_beta1": .number(o.adam_beta1),
            "adam_beta2": .number(o.adam_beta2), "epsilon": .number(o.epsilon),
            "weight_decay": .number(o.weight_decay),
        ]
    }

    func classifierOptions(_ path: FilePath) throws -> ClassifierOptions {
        let taker = Taker(values)
        var o = dim_classifier_options()
        o.struct_size = MemoryLayout<dim_classifier_options>.size
        o.encoder = taker.choice("encoder", Settings.encoders)
        o.loss = taker.choice("loss", Settings.losses)
        o.learning_rate = taker.number("learning_rate")
        (o.adam_beta1, o.adam_beta2) = (taker.number("adam_beta1"), taker.number("adam_beta2"))
        (o.epsilon, o.weight_decay) = (taker.number("epsilon"), taker.number("weight_decay"))
        try taker.finish(path)
        return try Settings.inFile(path) { try o.checked() }
    }

    /// A caller's mistake becomes the file's.
    static func inFile<T>(_ path: FilePath, _ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch let error as DimError where error.code == .invalidArgument {
            throw Settings.wrong(path, error.message)
        }
    }
}
