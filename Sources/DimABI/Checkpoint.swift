import DimArchitecture
import CDim
import DimModel
import DimRuntime
import DimFiles

/// What a checkpoint holds beside the weights, in the file's group `checkpoint`: enough to go on bit for bit.
///
///     kind              "objective", "classifier" or "encoder and classifier": which networks are trained
///     version           1; a reader refuses what is newer than it knows
///     options           float64, in the order of the options struct in dim.h
///     step              int64
///     first_moment      float32, Adam's, of all trained parameters one after another in schema order
///     second_moment
///
/// and for the objective alone
///
///     seed              int64
///     noise_state       uint32 (624), the generator of the prior noise
///     noise_position    int64
enum Checkpoint {
    private static let version: Int64 = 1
    private static let objective = "objective"
    private static let classifier = "classifier"
    private static let endToEnd = "encoder and classifier"

    // MARK: The objective

    static func save(_ trainer: Trainer, path: FilePath) throws {
        guard trainer.step.waiting == 0 else {
            throw DimError(
                .invalidArgument,
                "\(trainer.step.waiting) micro-batches wait for an update; a checkpoint cannot hold them")
        }
        let o = dim_trainer_options(trainer.options)
        var extra = common(objective, trainer.step)
        extra["options"] = .float64(
            [
                Double(o.prior.rawValue), o.alpha, o.beta, o.gamma, o.encoder_learning_rate,
                o.discriminator_learning_rate,
                o.adam_beta1, o.adam_beta2, o.epsilon, o.weight_decay,
            ], shape: [10])
        extra["seed"] = .int64([Int64(bitPattern: o.seed)], shape: [])
        extra["noise_state"] = .uint32(trainer.noise.state, shape: [MersenneTwister.stateSize])
        extra["noise_position"] = .int64([Int64(trainer.noise.position)], shape: [])
        try WeightsFile.write(trainer.model.stateDict(), path: path, extra: extra)
    }

    static func resumeTrainer(path: FilePath, by reader: WeightsFile.Reader) throws -> Trainer {
        let (state, arrays) = try WeightsFile.readCheckpoint(
            path: path, kind: objective, arrays: trainerArrays(path), by: reader)
        let values = arrays.doubles("options")
        var o = dim_trainer_options(TrainerOptions())
        o.prior = dim_prior(rawValue: enumeration(values[0]))
        o.seed = UInt64(bitPattern: arrays.integer("seed"))
        (o.alpha, o.beta, o.gamma) = (values[1], values[2], values[3])
        (o.encoder_learning_rate, o.discriminator_learning_rate) = (values[4], values[5])
        (o.adam_beta1, o.adam_beta2, o.epsilon, o.weight_decay) = (values[6], values[7], values[8], values[9])
        let options = try inFile(path) { try o.checked() }
        guard case .uint32(let words, _)? = arrays["noise_state"],
            let position = Int(exactly: arrays.integer("noise_position")),
            let noise = MersenneTwister(state: words, position: position)
        else {
            throw DimError(
                .fileContent,
                "\(path): checkpoint/noise_position is \(arrays.integer("noise_position")); expected 0 to 624")
        }
        return try Trainer(resuming: Model(state), options, noise: noise, try progress(arrays, path))
    }

    // MARK: The classifier

    static func save(_ trainer: ClassifierTrainer, path: FilePath) throws {
        let o = dim_classifier_options(trainer.options)
        var extra = common(trainer.options.encoder == .trained ? endToEnd : classifier, trainer.step)
        extra["options"] = .float64(
            [
                Double(o.encoder.rawValue), Double(o.loss.rawValue), o.learning_rate, o.adam_beta1, o.adam_beta2,
                o.epsilon,
                o.weight_decay,
            ],
            shape: [7])
        try WeightsFile.write(trainer.model.stateDict(), path: path, extra: extra)
    }

    static func resumeClassifierTrainer(path: FilePath, by reader: WeightsFile.Reader) throws -> ClassifierTrainer {
        let (state, arrays) = try WeightsFile.readCheckpoint(
            path: path, kind: classifier, arrays: classifierTrainerArrays(path), by: reader)
        let values = arrays.doubles("options")
        var o = dim_classifier_options()
        o.struct_size = MemoryLayout<dim_classifier_options>.size
        o.encoder = dim_encoder_use(rawValue: enumeration(values[0]))
        o.loss = dim_classifier_loss(rawValue: enumeration(values[1]))
        o.learning_rate = values[2]
        (o.adam_beta1, o.adam_beta2, o.epsilon, o.weight_decay) = (values[3], values[4], values[5], values[6])
        let options = try inFile(path) { try o.checked() }
        guard (options.encoder == .trained) == (arrays.text("kind") == endToEnd) else {
            throw DimError(
                .fileContent,
                "\(path): checkpoint/kind is \"\(arrays.text("kind"))\", but its options say that the encoder is "
                    + (options.encoder == .trained ? "trained" : "frozen"))
        }
        return try ClassifierTrainer(resuming: Model(state), options, try progress(arrays, path))
    }

    // MARK: Common parts

    private static func common(_ kind: String, _ step: TrainingStep) -> [String: NamedArray] {
        let progress = step.progress
        return [
            "kind": .text(kind),
            "version": .int64([version], shape: []),
            "step": .int64([Int64(progress.count)], shape: []),
            "first_moment": .float32(progress.firstMoment, shape: [progress.firstMoment.count]),
            "second_moment": .float32(progress.secondMoment, shape: [progress.secondMoment.count]),
        ]
    }

    private static func progress(_ arrays: [String: NamedArray], _ path: FilePath) throws -> TrainingStep.Progress {
        guard case .float32(let first, _)? = arrays["first_moment"],
            case .float32(let second, _)? = arrays["second_moment"],
            let count = Int(exactly: arrays.integer("step")), count >= 0
        else {
            throw DimError(.fileContent, "\(path): checkpoint/step is \(arrays.integer("step")); expected 0 or more")
        }
        if let i = (0..<second.count).first(where: { second.pointer[$0] < 0 }) {
            throw DimError(
                .fileContent,
                "\(path): checkpoint/second_moment[\(i)] is \(second.pointer[i]); a mean square is not negative")
        }
        return TrainingStep.Progress(count: count, firstMoment: first, secondMoment: second)
    }

    // MARK: What is read

    /// What the isolated reader is to read of a checkpoint of this kind; nil for a kind that there is not.
    static func arrays(kind: String, path: FilePath) -> CheckpointArrays? {
        switch kind {
        case objective: trainerArrays(path)
        case classifier: classifierTrainerArrays(path)
        default: nil
        }
    }

    private static func trainerArrays(_ path: FilePath) -> CheckpointArrays {
        arrays(
            path, [objective], "dim_trainer_resume",
            [
                ArraySpec("options", .float64, [10]), ArraySpec("seed", .int64),
                ArraySpec("noise_state", .uint32, [MersenneTwister.stateSize]), ArraySpec("noise_position", .int64),
            ])
    }

    private static func classifierTrainerArrays(_ path: FilePath) -> CheckpointArrays {
        arrays(
            path, [classifier, endToEnd], "dim_classifier_trainer_resume", [ArraySpec("options", .float64, [7])])
    }

    /// Of a checkpoint of one of `kinds`; `function` is what reads those, `own` what they have beside what all have.
    private static func arrays(
        _ path: FilePath, _ kinds: [String], _ function: String, _ own: [ArraySpec]
    ) -> CheckpointArrays {
        CheckpointArrays(header: [ArraySpec("kind", .text(most: 64)), ArraySpec("version", .int64)]) {
            networks, header in
            guard header.integer("version") <= version, header.integer("version") > 0 else {
                throw DimError(
                    .fileContent,
                    "\(path): the checkpoint has version \(header.integer("version")), written by a newer libdim; "
                        + "this one reads version \(version)")
            }
            let kind = header.text("kind")
            guard kinds.contains(kind) else {
                throw DimError(
                    .fileContent,
                    "\(path): the checkpoint is of kind \"\(kind)\"; \(function) reads "
                        + kinds.map { "\"\($0)\"" }.joined(separator: " and "))
            }
            let trained =
                kind == objective
                ? Trainer.linkedNetworks : kind == classifier ? [.classifier] : [.encoder, .classifier]
            let needed = kind == objective ? trained : [.encoder, .classifier]
            for network in needed where !networks.contains(network) {
                throw DimError(.fileContent, "\(path): the checkpoint holds no weights of \(network.prefix)")
            }
            let moments = Schema.parameters(of: trained).filter(\.isTrainable).reduce(0) { $0 + $1.count }
            return own + [
                ArraySpec("step", .int64), ArraySpec("first_moment", .float32, [moments]),
                ArraySpec("second_moment", .float32, [moments]),
            ]
        }
    }

    /// An options value that stands for an enumeration.
    private static func enumeration(_ value: Double) -> UInt32 { UInt32(exactly: value) ?? .max }

    /// A caller's mistake becomes the file's.
    private static func inFile<T>(_ path: FilePath, _ body: () throws -> T) throws -> T {
        do {
            return try body()
        } catch let error as DimError where error.code == .invalidArgument {
            throw DimError(.fileContent, "\(path): checkpoint/options: \(error.message)")
        }
    }
}

/// Scalars whose presence and type the reader has checked.
extension [String: NamedArray] {
    fileprivate func integer(_ name: String) -> Int64 {
        if case .int64(let values, _)? = self[name], let first = values.first { return first }
        return -1
    }

    fileprivate func text(_ name: String) -> String {
        if case .text(let text)? = self[name] { return text }
        return ""
    }

    fileprivate func doubles(_ name: String) -> [Double] {
        if case .float64(let values, _)? = self[name] { return values }
        return []
    }
}
