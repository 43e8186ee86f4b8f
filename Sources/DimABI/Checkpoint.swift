import CDim
import DimArchitecture
import DimFiles
import DimModel
import DimRuntime
import DimTraining

/// The state of a run that a checkpoint has beside the weights, in the file's group `checkpoint`: enough to continue
/// bit for bit.
///
///     kind              "objective", "classifier" or "encoder and classifier": which networks are trained
///     version           2; a reader refuses a newer one
///     settings          JSON: the options by their names in dim.h (Settings.swift)
///     step              int64
///     first_moment      float32, Adam's, of all trained parameters one after another in state_dict order
///     second_moment
///     noise_state       uint32 (624), the generator of prior noise, drawn negatives and dropout
///     noise_position    int64
enum Checkpoint {
    private static let version: Int64 = 2
    private static let objective = "objective"
    private static let classifier = "classifier"
    private static let endToEnd = "encoder and classifier"

    // MARK: The objective

    static func save(_ trainer: Trainer, path: FilePath) throws {
        guard trainer.step.waiting == 0 else {
            throw DimError(
                .invalidArgument,
                "accumulated gradients: expected none, found \(trainer.step.waitingText); a checkpoint cannot hold them: "
                    + "call dim_trainer_update or dim_trainer_drop first")
        }
        let extra = arrays(objective, Settings(trainer.options), trainer.step, trainer.noise)
        try WeightsFile.write(trainer.model.stateDict(), path: path, extra: extra)
    }

    static func resumeTrainer(path: FilePath, _ open: OpenOptions) throws -> Trainer {
        let (state, arrays) = try WeightsFile.readCheckpoint(
            path: path, kind: objective, arrays: trainerArrays(path), open.expected, by: open.reader)
        let options = try Settings(arrays.text("settings"), path: path).trainerOptions(path)
        return try Settings.inFile(path) {
            try Trainer(
                resuming: Model(state), options, noise: try random(arrays, path), try progress(arrays, path))
        }
    }

    // MARK: The classifier

    static func save(_ trainer: ClassifierTrainer, path: FilePath) throws {
        let kind = trainer.options.encoder == .trained ? endToEnd : classifier
        let extra = arrays(kind, Settings(trainer.options), trainer.step, trainer.random)
        try WeightsFile.write(trainer.model.stateDict(), path: path, extra: extra)
    }

    static func resumeClassifierTrainer(path: FilePath, _ open: OpenOptions) throws -> ClassifierTrainer {
        let (state, arrays) = try WeightsFile.readCheckpoint(
            path: path, kind: classifier, arrays: classifierTrainerArrays(path), open.expected, by: open.reader)
        let options = try Settings(arrays.text("settings"), path: path).classifierOptions(path)
        let random = try random(arrays, path)
        let trainer = try ClassifierTrainer(resuming: Model(state), options, try progress(arrays, path))
        trainer.random = random
        return trainer
    }

    // MARK: Common parts

    private static func arrays(
        _ kind: String, _ settings: Settings, _ step: TrainingStep, _ random: MersenneTwister
    ) -> [String: NamedArray] {
        let progress = step.progress
        return [
            "kind": .text(kind),
            "version": .int64([version], shape: []),
            "settings": .text(settings.json),
            "step": .int64([Int64(progress.count)], shape: []),
            "first_moment": .float32(progress.firstMoment, shape: [progress.firstMoment.count]),
            "second_moment": .float32(progress.secondMoment, shape: [progress.secondMoment.count]),
            "noise_state": .uint32(random.state, shape: [MersenneTwister.stateSize]),
            "noise_position": .int64([Int64(random.position)], shape: []),
        ]
    }

    private static func random(_ arrays: [String: NamedArray], _ path: FilePath) throws -> MersenneTwister {
        guard case .uint32(let words, _)? = arrays["noise_state"],
            let position = Int(exactly: arrays.integer("noise_position")),
            let random = MersenneTwister(state: words, position: position)
        else {
            throw DimError(
                .fileContent,
                "\(path): checkpoint/noise_position is \(arrays.integer("noise_position")); expected 0 to 624")
        }
        return random
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

    /// What the isolated reader reads of a checkpoint of this kind; nil for an unknown kind.
    static func arrays(kind: String, path: FilePath) -> CheckpointArrays? {
        switch kind {
        case objective: trainerArrays(path)
        case classifier: classifierTrainerArrays(path)
        default: nil
        }
    }

    private static func trainerArrays(_ path: FilePath) -> CheckpointArrays {
        arrays(path, [objective], "dim_trainer_resume") { architecture, _, settings in
            let options = try settings.trainerOptions(path)
            let trained = try Settings.inFile(path) { try Trainer.networks(architecture, options) }
            return (trained, needed: trained)
        }
    }

    private static func classifierTrainerArrays(_ path: FilePath) -> CheckpointArrays {
        arrays(path, [classifier, endToEnd], "dim_classifier_trainer_resume") { _, kind, settings in
            let options = try settings.classifierOptions(path)
            guard (options.encoder == .trained) == (kind == endToEnd) else {
                throw DimError(
                    .fileContent,
                    "\(path): checkpoint/kind is \"\(kind)\", but its settings say that the encoder is "
                        + (options.encoder == .trained ? "trained" : "frozen"))
            }
            return (kind == endToEnd ? [.encoder, .classifier] : [.classifier], needed: [.encoder, .classifier])
        }
    }

    /// Of a checkpoint of one of `kinds`; `function` is what reads those, `networks` which are trained and which must be there.
    private static func arrays(
        _ path: FilePath, _ kinds: [String], _ function: String,
        networks: @escaping (Architecture, _ kind: String, Settings) throws -> ([Network], needed: [Network])
    ) -> CheckpointArrays {
        let header = [ArraySpec("kind", .text(most: 64)), ArraySpec("version", .int64)]
        let settings = ArraySpec("settings", .text(most: Settings.most))
        return CheckpointArrays(header: header) { header in
            let found = header.integer("version")
            guard found == version else {
                throw DimError(
                    .fileContent,
                    "\(path): the checkpoint has version \(found), "
                        + (found > version ? "written by a newer libdim; " : "of before libdim's first release; ")
                        + "this one reads version \(version); its weights alone can be opened as a model")
            }
            guard kinds.contains(header.text("kind").knownName) else {
                throw DimError(
                    .fileContent,
                    "\(path): the checkpoint is of kind \(quoted(header.text("kind"))); \(function) reads "
                        + kinds.map { "\"\($0)\"" }.joined(separator: " and "))
            }
            return [settings]
        } others: { architecture, held, header in
            let settings = try Settings(header.text("settings"), path: path)
            let (trained, needed) = try networks(architecture, header.text("kind"), settings)
            for network in needed where !held.contains(network) {
                throw DimError(.fileContent, "\(path): the checkpoint holds no weights of \(network.prefix)")
            }
            let moments = trained.flatMap(architecture.parameters(of:)).filter(\.isTrainable).reduce(0) {
                $0 + $1.count
            }
            return [
                ArraySpec("step", .int64), ArraySpec("first_moment", .float32, [moments]),
                ArraySpec("second_moment", .float32, [moments]),
                ArraySpec("noise_state", .uint32, [MersenneTwister.stateSize]), ArraySpec("noise_position", .int64),
            ]
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
}
